"""A calibration as a graph that can be trained, and what was trained as a calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.network import Calibrated, calibrate_network, quantize_layers
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, TENSORRT, Scheme
from edgecnn.quantize.trained import trainable, with_trained

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

TEXT = """net (float[1, 3, 8, 8] x) => (float[1, 4] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(x, w0, b0)
    a1 = Clip(a, zero, six)
    [pool] a2 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a1)
    [second] c = Conv<pads = [1, 1, 1, 1]>(a2, w1)
    d = Add(a2, c)
    e = GlobalAveragePool(d)
    f = Flatten(e)
    [classify] y = Gemm<alpha = 2.0, transB = 1>(f, w2, b2)
}"""
# Where weights are rounded on the way: in the graph by QuantizeLinear, or before, to INT8.
SAME = {"rtol": 1e-5, "atol": 1e-6}


def frames() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(7)
    return [{"x": random.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(16)]


def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    return iter(frames())


def calibrated_for(graph_of: GraphOf, scheme: Scheme) -> Calibrated:
    random = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3), "b0": (8,), "w1": (8, 8, 3, 3), "w2": (4, 8), "b2": (4,)}
    weights = {name: random.standard_normal(shape).astype(np.float32) * 0.3 for name, shape in shapes.items()}
    model = graph_of(TEXT, **weights, zero=np.float32(0), six=np.float32(6))
    return calibrate_network(model, feeds, QuantizePart(observer="minmax"), scheme=scheme)


def numbers(model: Any) -> dict[str, np.ndarray]:
    """What training would change: weights, biases and scales."""
    layers = [node for node in model.graph if node.op_type in ("Conv", "Gemm")]
    names = {str(value.name) for node in layers for value in node.inputs[2:]}
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            names |= {str(value.name) for value in node.inputs[:2] if value.const_value is not None}
    return {name: model.graph.initializers[name].const_value.numpy() for name in names}


@pytest.mark.parametrize("scheme", [TENSORRT, ONNXRUNTIME_X86], ids=lambda scheme: scheme.name)
def test_what_was_trained_is_what_is_written(graph_of: GraphOf, outputs_of: OutputsOf, scheme: Scheme) -> None:
    """Other weights, biases and scales of everything: the INT8 graph computes what the trained one does."""
    calibrated = calibrated_for(graph_of, scheme)
    model = trainable(calibrated, scheme)
    random = np.random.default_rng(1)
    learnt: dict[str, np.ndarray] = {}
    for name, array in numbers(model).items():
        # Not beyond the last step: it is 127 for weights that are stored, and 128 for a pair in the graph.
        low = 1.0 if name.endswith(".scale") else 0.7
        changed = array * random.uniform(low, low + 0.3, array.shape)
        changed = changed.astype(np.float16) if name.endswith(".scale") else changed
        learnt[name] = changed.astype(np.float32)
    assert len(learnt) >= 3 + 2 + 3 + 3  # weights, biases, and scales of both kinds
    for name, array in learnt.items():
        constant = model.graph.initializers[name]
        constant.const_value = ir.tensor(array, name=name)

    written = quantize_layers(with_trained(calibrated, scheme, learnt), scheme, calibrated.layers).model

    stored = [value for value in written.graph.initializers.values() if value.const_value.dtype.name == "INT8"]
    assert sum(value.const_value.size > 8 for value in stored) == 3
    for frame in frames()[:4]:
        expected, found = outputs_of(model, **frame)["y"], outputs_of(written, **frame)["y"]
        if scheme.operators:  # integer biases, and an output that is quantized once more
            step = np.abs(expected).max() / 100
            assert np.abs(found - expected).max() <= step
        else:
            np.testing.assert_allclose(found, expected, **SAME)


def test_every_layer_is_quantized_and_begins_where_calibration_ended(graph_of: GraphOf) -> None:
    calibrated = calibrated_for(graph_of, TENSORRT)
    model = trainable(calibrated, TENSORRT)
    made = {node.name: node for node in model.graph}

    for point, rounding in zip(("first", "second", "classify"), calibrated.roundings.values(), strict=True):
        quantizer = made[point].inputs[1].producer().inputs[0].producer()
        assert np.array_equal(quantizer.inputs[1].const_value.numpy(), rounding.scales)
        assert np.allclose(made[point].inputs[2].const_value.numpy(), rounding.bias)
        assert made[point].inputs[0].producer().op_type == "DequantizeLinear"
