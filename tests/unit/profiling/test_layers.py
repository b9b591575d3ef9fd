"""Time by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.profiling.layers import layers_from_trace, time_layers


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
    layers = time_layers(averaging_model, np.zeros((1, 3, 8, 8), np.float32), threads=1)
    assert "GlobalAveragePool" in {layer.op_type for layer in layers}
    assert {layer.calls for layer in layers} == {30}
    assert sum(layer.part for layer in layers) == pytest.approx(1)
    assert [layer.mean_ns for layer in layers] == sorted((layer.mean_ns for layer in layers), reverse=True)
