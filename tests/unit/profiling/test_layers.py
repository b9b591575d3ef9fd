"""Time by layer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.backends.ort import OrtSession
from edgecnn.backends.trt import TensorRtSession
from edgecnn.core.tensors import TensorSpec
from edgecnn.profiling.layers import layer_metadata, layers_from_trace, time_layers


def node(name: str, microseconds: float, kind: str = "Conv") -> dict[str, Any]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": kind}}


def test_times_of_a_trace() -> None:
    session = {"cat": "Session", "name": "model_run", "dur": 999, "args": {}}
    fence = {"cat": "Node", "name": "conv1_fence_before", "dur": 999, "args": {"op_name": "Conv"}}
    rounds = [(500, 700), (10, 30), (20, 30)]  # the first is warm-up
    trace = [
        event for conv, relu in rounds for event in (session, fence, node("conv1", conv), node("relu1", relu, "Relu"))
    ]
    relu, conv = layers_from_trace(trace, warm_up=1)
    assert (relu.name, relu.op_type, relu.calls, relu.mean_ns) == ("relu1", "Relu", 2, 30_000)
    assert (conv.name, conv.op_type, conv.calls, conv.mean_ns) == ("conv1", "Conv", 2, 15_000)
    assert (relu.part, conv.part) == (pytest.approx(60 / 90), pytest.approx(30 / 90))


def test_a_layer_that_ran_in_the_warm_up_only_is_left_out() -> None:
    trace = [node("setup", 9), node("conv", 1), node("conv", 2)]
    assert [layer.name for layer in layers_from_trace(trace, warm_up=1)] == ["conv"]


@pytest.mark.parametrize("trace", [[], [node("conv", 0.0), node("conv", 0.0)]])
def test_no_time_at_all(trace: list[dict[str, Any]]) -> None:
    assert all(layer.part == 0 for layer in layers_from_trace(trace, warm_up=0))


def test_a_real_trace(averaging_model: Path) -> None:
    session = OrtSession(averaging_model)
    layers = time_layers(session, averaging_model, np.zeros((1, 3, 8, 8), np.float32), threads=1)
    session.close()
    assert "GlobalAveragePool" in {layer.op_type for layer in layers}
    assert {layer.calls for layer in layers} == {30}
    assert sum(layer.part for layer in layers) == pytest.approx(1)
    assert [layer.mean_ns for layer in layers] == sorted((layer.mean_ns for layer in layers), reverse=True)


def test_layers_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first runs do not count; names are of what TensorRT joined."""
    session = object.__new__(TensorRtSession)
    session.inputs = (TensorSpec(name="x", dtype="float32", shape=(1,)),)
    frame, asked = np.zeros(1, np.float32), []

    def layer_times(feeds: dict[str, np.ndarray], runs: int) -> dict[str, list[float]]:
        asked.append((feeds["x"] is frame, runs))
        return {"conv1 + relu1": [9.0] * 5 + [0.25] * 30, "pool": [9.0] * 5 + [0.5, 1.0] * 15}

    monkeypatch.setattr(session, "layer_times", layer_times)
    slow, fast = time_layers(session, Path("m.onnx"), frame, threads=0)

    assert asked == [(True, 35)]
    assert (slow.name, slow.calls, slow.mean_ns, slow.part) == ("pool", 30, 750_000, 0.75)
    assert (fast.name, fast.mean_ns, fast.part) == ("conv1 + relu1", 250_000, 0.25)


def test_an_engine_says_where_its_layers_come_from() -> None:
    session = object.__new__(TensorRtSession)
    document = {"Layers": [{"Name": "__myl_Fc", "Metadata": "[ONNX Layer: fc]"}, {"Name": "pool"}], "Bindings": []}
    inspector = SimpleNamespace(get_engine_information=lambda kind: json.dumps(document) if kind == "JSON" else "")
    session.engine = SimpleNamespace(  # type: ignore[assignment]
        engine=SimpleNamespace(create_engine_inspector=lambda: inspector),
        trt=SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="JSON")),
    )
    assert layer_metadata(session) == {"__myl_Fc": "[ONNX Layer: fc]"}


def test_a_backend_that_does_not_tell() -> None:
    session = FakeSession(lambda frame: frame, (1,), (1,))
    assert time_layers(session, Path("m.onnx"), np.zeros(1, np.float32), threads=0) == ()
    assert layer_metadata(session) == {}
