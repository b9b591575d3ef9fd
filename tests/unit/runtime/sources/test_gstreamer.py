"""The pipeline that a CSI address stands for. Pipelines that run are in tests/e2e."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.sources import gstreamer
from edgecnn.runtime.sources.base import open_source


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would be run."""
    made: list[list[str]] = []

    def start(command: list[str], **options: Any) -> object:
        made.append(command)
        return object()

    monkeypatch.setattr(gstreamer.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "Popen", start)
    return made


@pytest.mark.parametrize(
    ("address", "sensor", "size", "fps"),
    [
        ("csi://0", 0, "width=1280,height=720", 30),
        ("csi://1?width=1920&height=1080&fps=60", 1, "width=1920,height=1080", 60),
        ("csi://2?fps=21", 2, "width=1280,height=720", 21),
    ],
)
def test_csi_address(commands: list[list[str]], address: str, sensor: int, size: str, fps: int) -> None:
    source = open_source(address)
    assert (source.name, source.fps, source.live) == (address, float(fps), True)
    (command,) = commands
    assert command[:4] == ["/usr/bin/gst-launch-1.0", "-q", "nvarguscamerasrc", f"sensor-id={sensor}"]
    assert f"video/x-raw(memory:NVMM),{size},framerate={fps}/1" in command
    assert f"video/x-raw,format=BGR,{size}" in command


def test_without_gstreamer_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer.shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentMissing, match=r"source csi://0: .*\nsudo apt install gstreamer1.0-tools"):
        open_source("csi://0")
