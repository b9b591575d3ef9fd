"""Sinks whose package is not installed say what installs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.page.server import PageSink
from edgecnn.runtime.sinks.mqtt import MqttSink, parse_broker
from edgecnn.runtime.sinks.prometheus import MetricsServer


def test_mqtt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)  # type: ignore[arg-type]
    with pytest.raises(EnvironmentMissing, match="paho-mqtt") as error:
        MqttSink(parse_broker("mqtt://host/topic"), "r", folder=tmp_path)
    assert error.value.hint == "install it with: pip install 'edgecnn[mqtt]'"


def test_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # type: ignore[arg-type]
    with pytest.raises(EnvironmentMissing, match="prometheus-client") as error:
        MetricsServer("127.0.0.1", 0, Metrics())
    assert error.value.hint == "install it with: pip install 'edgecnn[serve]'"


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_the_page(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("edgecnn.runtime.page.server.find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(EnvironmentMissing, match=package) as error:
        PageSink("127.0.0.1", 0, Metrics())
    assert error.value.hint == "install it with: pip install 'edgecnn[serve]'"
