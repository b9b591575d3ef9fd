"""The choice of a backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecnn.backends import engines, session, trt
from edgecnn.backends.ort import OrtSession
from edgecnn.backends.session import BackendName, open_session, tensorrt_is_usable
from edgecnn.core.engine import BuildOptions, Control
from edgecnn.errors import EnvironmentMissing


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of packages that seem to be installed."""
    names: set[str] = set()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in names else None)
    return names


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Device nodes that seem to exist."""
    paths: set[str] = set()
    monkeypatch.setattr(Path, "exists", lambda self: str(self) in paths)
    return paths


@pytest.mark.parametrize("backend", ["auto", "ort"])
def test_without_tensorrt_onnx_runtime_runs(averaging_model: Path, installed: set[str], backend: BackendName) -> None:
    opened = open_session(averaging_model, backend, threads=1)
    assert isinstance(opened, OrtSession)
    opened.close()


def test_tensorrt_is_asked_for_and_not_there(averaging_model: Path, installed: set[str]) -> None:
    with pytest.raises(EnvironmentMissing, match="the package tensorrt is not installed") as caught:
        open_session(averaging_model, "tensorrt")
    assert caught.value.exit_code == 3
    assert "python3-libnvinfer" in caught.value.hint
    assert "edgecnn[tensorrt]" in caught.value.hint


def test_tensorrt_rtx_is_asked_for_and_not_there(averaging_model: Path, installed: set[str]) -> None:
    with pytest.raises(EnvironmentMissing, match=r"edgecnn\[preflight\]"):
        open_session(averaging_model, "tensorrt-rtx")


@pytest.mark.parametrize(
    ("package", "node", "usable"),
    [
        ("tensorrt", "/dev/nvidia0", True),
        ("tensorrt", "/dev/nvhost-gpu", True),
        ("tensorrt", "/dev/nvgpu", True),
        ("tensorrt", "/dev/null", False),
        ("numpy", "/dev/nvidia0", False),
    ],
)
def test_tensorrt_is_usable_with_its_package_and_a_gpu(
    installed: set[str], nodes: set[str], package: str, node: str, usable: bool
) -> None:
    installed.add(package)
    nodes.add(node)
    assert tensorrt_is_usable() is usable


@pytest.mark.parametrize(("backend", "usable"), [("auto", True), ("tensorrt", True), ("tensorrt", False)])
def test_tensorrt_where_it_is_usable_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], backend: BackendName, usable: bool
) -> None:
    installed.add("tensorrt")
    monkeypatch.setattr(session, "tensorrt_is_usable", lambda: usable)
    monkeypatch.setattr(trt, "TensorRtSession", lambda engine: SimpleNamespace(engine=engine))
    monkeypatch.setattr(trt, "TensorRtEngine", lambda *arguments: arguments)
    asked: list[tuple[object, ...]] = []

    def fitting_plan(*arguments: object) -> Path:
        asked.append(arguments)
        return Path("e/engine.plan")

    record = SimpleNamespace(options=BuildOptions(dla_core=1), control=Control(kept="fp16"))
    monkeypatch.setattr(engines, "fitting_plan", fitting_plan)
    monkeypatch.setattr(engines, "read_record", {Path("e"): record}.__getitem__)
    opened = open_session(Path("m.onnx"), backend, engine=Path("e"), on_misfit="refuse", control=Path("c.onnx"))
    assert asked == [(Path("m.onnx"), Path("e"), "refuse", None, "tensorrt", Path("c.onnx"))]
    assert opened == SimpleNamespace(engine=(Path("e/engine.plan"), "tensorrt", record.options), runs_control=True)
