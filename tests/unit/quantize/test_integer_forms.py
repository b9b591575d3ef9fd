"""The scheme for ONNX Runtime on x86: what is written, and that its integer kernels take it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.model import constant, model_bytes, name_nodes
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.integer_forms import range_before_gate, suits_gate
from edgecnn.quantize.network import calibrate_network, quantize_layers
from edgecnn.quantize.ranges import UNSIGNED_MAX, Range
from edgecnn.quantize.schemes import ONNXRUNTIME_X86

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

PICTURE = "float[1, 4, 8, 8]"
RANDOM = np.random.default_rng(0)
W, V, D = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((8, 4, 1, 1), (4, 8, 1, 1), (8, 1, 3, 3)))
V, D = V / 4, D / 2
G = RANDOM.standard_normal((10, 4)).astype(np.float32)
FRAMES = [RANDOM.uniform(-2, 3, (1, 4, 8, 8)).astype(np.float32) for _ in range(32)]
CONSTANTS = {
    "w": W, "v": V, "d": D, "g": G, "b": RANDOM.standard_normal(8).astype(np.float32), "c": np.ones(10, np.float32),
    "zero": np.float32(0), "six": np.float32(6), "axes": np.int64([2, 3]), "flat": np.int64([1, 4]),
}  # fmt: skip
HEAD = "p = ReduceMean<keepdims = 1>(s, axes) f = Reshape(p, flat) y = Gemm<transB = 1>(f, g, c)"
# What the middle of a network does between an expansion a and a projection of h; and the kernels that it must become.
BODIES = {
    "relu": ("h = Relu(a)", {}),
    "relu6": ("h = Clip(a, zero, six)", {}),
    "hard-swish": ("h = HardSwish(a)", {"Min": 1, "QLinearMul": 1}),
    "silu": ("t = Sigmoid(a) h = Mul(a, t)", {"QuickGelu": 1}),
    "depthwise": ("r = Relu(a) k = Conv<group = 8, pads = [1, 1, 1, 1]>(r, d, b) h = Relu(k)", {}),
    "squeeze and excite": (
        """r = Relu(a) m = ReduceMean<keepdims = 1>(r, axes) e = Conv(m, v) i = Relu(e) o = Conv(i, w)
           t = HardSigmoid<alpha = 0.16666667, beta = 0.5>(o) h = Mul(r, t)""",
        {"Min": 1, "QLinearMul": 1, "QLinearGlobalAveragePool": 2},
    ),
    "sigmoid gate": (
        """r = Relu(a) m = ReduceMean<keepdims = 1>(r, axes) e = Conv(m, v) i = Relu(e) o = Conv(i, w)
           t = Sigmoid(o) h = Mul(r, t)""",
        {"QLinearSigmoid": 1, "QLinearMul": 1, "QLinearGlobalAveragePool": 2},
    ),
}
# Rounding in ten layers of random weights, with nothing to be redundant; that of one layer alone is near 40 dB.
ENOUGH_DB = 23


def text_of(body: str) -> str:
    middle = f"a = Conv(x, w, b) {BODIES[body][0]} q = Conv(h, v) s = Add(q, x)"
    return f"net ({PICTURE} x) => (float[1, 10] y) {{ {middle} {HEAD} }}"


def quantized(graph_of: GraphOf, body: str, **config: Any) -> tuple[Any, Any]:
    """The FP32 network, and the same in INT8."""
    text = text_of(body)
    used = {name: array for name, array in CONSTANTS.items() if f" {name}," in text or f" {name})" in text}
    model = graph_of(text, **used)
    run_passes(model, (infer_shapes,))
    name_nodes(model)
    fp32 = model_bytes(model)
    feeds = lambda purpose, most=None, /: [{"x": frame} for frame in FRAMES]  # noqa: E731
    calibrated = calibrate_network(model, feeds, QuantizePart(**config), (), ONNXRUNTIME_X86)
    made = quantize_layers(calibrated, ONNXRUNTIME_X86, calibrated.layers.keys()).model
    run_passes(made, (clean_up, infer_shapes))
    return fp32, made


def fused_operators(model: Any, folder: Path) -> list[str]:
    """What ONNX Runtime's optimizer makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model_bytes(model), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def outputs(model: bytes, *, optimize: bool) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": frame})[0] for frame in FRAMES])


@pytest.mark.parametrize("body", BODIES)
def test_every_layer_becomes_an_integer_kernel(graph_of: GraphOf, tmp_path: Path, body: str) -> None:
    _, model = quantized(graph_of, body)
    convolutions = sum(node.op_type == "Conv" for node in model.graph)

    found = fused_operators(model, tmp_path)

    assert found.count("QLinearConv") == convolutions
    assert (found.count("QGemm"), found.count("QLinearAdd")) == (1, 1)
    assert not {"Conv", "FusedConv", "Gemm", "Add", "HardSigmoid", "Clip", "Relu", "ReduceMean"} & set(found)
    for operator, count in BODIES[body][1].items():
        assert found.count(operator) == count


@pytest.mark.parametrize("body", BODIES)
def test_outputs_stay_and_kernels_compute_what_the_graph_says(graph_of: GraphOf, body: str) -> None:
    fp32, model = quantized(graph_of, body)
    expected = outputs(fp32, optimize=True)

    fused, as_written = (outputs(model_bytes(model), optimize=optimize) for optimize in (True, False))

    for found in (fused, as_written):
        noise = np.square(found - expected).sum()
        assert 10 * np.log10(np.square(expected - expected.mean(axis=0)).sum() / noise) > ENOUGH_DB


@pytest.mark.parametrize("body", BODIES)
def test_types_and_zero_points(graph_of: GraphOf, body: str) -> None:
    _, model = quantized(graph_of, body)

    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            assert node.inputs[2].dtype == ir.DataType.UINT8
        if node.op_type == "Conv":
            kinds = [value.producer().inputs[0].dtype for value in node.inputs]
            assert kinds[:2] == [ir.DataType.UINT8, ir.DataType.INT8]
            assert kinds[2:] == [ir.DataType.INT32] * len(kinds[2:])
            scales = [constant(value.producer().inputs[1]) for value in node.inputs]
            if len(scales) > 2:
                np.testing.assert_allclose(scales[2], scales[0] * scales[1], rtol=1e-6)


@pytest.mark.parametrize("products", [0, 1])
@pytest.mark.parametrize("high", [0.0, 1.0, 3.0, 4.4, 50.0, 1e4])
def test_a_gate_starts_on_a_step(high: float, products: int) -> None:
    data = ir.Value(name="x")
    gate = ir.Node("", "HardSigmoid", [data], [ir.AttrFloat32("alpha", 1 / 6), ir.AttrFloat32("beta", 0.5)])
    if products:
        ir.Node("", "Mul", [data, gate.outputs[0]])

    found = range_before_gate(gate, Range(-20, high))

    assert suits_gate(gate, found)
    grid = found.grid(symmetric=False)

    assert grid.scale * -grid.lowest == pytest.approx(3)
    assert 2 * -grid.lowest <= UNSIGNED_MAX
    wanted = max(high, 3) if products else 3
    assert grid.scale * grid.highest >= min(wanted, 3 * (UNSIGNED_MAX - 1)) * (1 - 1e-9)


def test_a_small_input_keeps_its_digits(graph_of: GraphOf, tmp_path: Path) -> None:
    """Of an input between -0.1 and 0.1, steps that begin at -3 would leave nothing."""
    text = f"net ({PICTURE} x) => ({PICTURE} y) {{ a = Conv(x, w) h = HardSwish(a) q = Conv(h, v) y = Neg(q) }}"
    model = graph_of(text, w=W / 100, v=V)
    run_passes(model, (infer_shapes,))
    name_nodes(model)
    fp32 = model_bytes(model)
    feeds = lambda purpose, most=None, /: [{"x": frame} for frame in FRAMES]  # noqa: E731
    calibrated = calibrate_network(model, feeds, QuantizePart(), (), ONNXRUNTIME_X86)
    made = quantize_layers(calibrated, ONNXRUNTIME_X86, calibrated.layers.keys()).model

    assert "Min" not in fused_operators(made, tmp_path)
    expected = outputs(fp32, optimize=True)
    noise = np.square(outputs(model_bytes(made), optimize=True) - expected).sum()
    assert 10 * np.log10(np.square(expected).sum() / noise) > ENOUGH_DB


def test_a_bias_beyond_int32_coarsens_its_weights_alone(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """Weight decay leaves channels whose weights are nearly 0; their bias must come through all the same."""
    weight = np.float32([[[[1e-12]]], [[[0.5]]]])
    text = "net (float[1, 1, 4, 4] x) => (float[1, 2, 4, 4] y) { a = Conv(x, w, b) y = Neg(a) }"
    model = graph_of(text, w=weight, b=np.float32([5, 1]))
    run_passes(model, (infer_shapes,))
    name_nodes(model)
    frames = [RANDOM.uniform(-1, 1, (1, 1, 4, 4)).astype(np.float32) for _ in range(8)]
    feeds = lambda purpose, most=None, /: [{"x": frame} for frame in frames]  # noqa: E731
    calibrated = calibrate_network(model, feeds, QuantizePart(), (), ONNXRUNTIME_X86)
    made = quantize_layers(calibrated, ONNXRUNTIME_X86, calibrated.layers.keys()).model

    found = -outputs_of(made, x=frames[0])["y"]

    expected = np.concatenate([np.full_like(frames[0], 5), frames[0] * 0.5 + 1], axis=1)
    step = 6 / UNSIGNED_MAX  # of the output, which both share
    np.testing.assert_allclose(found, expected, atol=step)
