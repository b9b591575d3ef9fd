"""What TensorRT has against graphs that are quantized already: each rule, and whether TensorRT-RTX sees it so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.model import load_model
from edgecnn.graph.opset import TYPED_SCALES, raise_opset
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.network import calibrate_network, quantize_layers
from edgecnn.quantize.schemes import tensorrt_scheme
from edgecnn.quantize.validate import is_quantized, validate

GraphOf = Callable[..., Any]
RtxLayers = Callable[[Any], dict[str, tuple[str, str]] | None]

INT8, FLOAT, REFUSED, NOT_TRIED = ("int8", "int8"), ("float", "float"), "refused", "not tried"
TRT = "10.3.0"
CONV = """net (float[1, 8, 8, 8] x) => (float[1, 16, 6, 6] y) {
    [Q] q = QuantizeLinear(x, s, z)
    [D] d = DequantizeLinear(q, s, z)
    [W] v = DequantizeLinear<axis = 0>(w, t, zs)
    [layer] y = Conv(d, v, b)
}"""
ARRAYS: dict[str, Any] = {
    "s": np.float32(0.05),
    "z": np.int8(0),
    "w": np.random.default_rng(0).integers(-127, 128, (16, 8, 3, 3)).astype(np.int8),
    "t": np.full(16, 0.01, np.float32),
    "zs": np.zeros(16, np.int8),
    "b": np.zeros(16, np.float32),
}
MATMUL = """net (float[4, 16] x) => (float[4, 16] y) {
    [Q] q = QuantizeLinear(x, s, z)
    [D] d = DequantizeLinear(q, s, z)
    [W] v = DequantizeLinear<axis = AXIS>(w, t, zs)
    [layer] y = PRODUCT(d, v)
}"""
SQUARE = {"w": np.ones((16, 16), np.int8), "b": None}
BIAS = CONV.replace("[layer]", "[B] c = DequantizeLinear(b, u, o) [layer]").replace("v, b)", "v, c)")
THROUGH_RELU = CONV.replace("[layer]", "r = Relu(d) [layer]").replace("(d, v, b)", "(r, v, b)")
THROUGH_POOL = THROUGH_RELU.replace("Relu(", "MaxPool<kernel_shape = [1, 1]>(")
READ_TWICE = CONV.replace("float[1, 16, 6, 6] y", "float[1, 8, 8, 8] e, float[1, 16, 6, 6] y")
READ_TWICE = READ_TWICE.replace("[layer]", "e = Sigmoid(d) [layer]")


def grouped(inputs: int, outputs: int) -> tuple[str, dict[str, Any]]:
    text = CONV.replace("Conv(", "Conv<group = 2>(").replace("x)", "x)").replace("[1, 8, 8", f"[1, {2 * inputs}, 8")
    arrays = {"w": np.ones((2 * outputs, inputs, 3, 3), np.int8)}
    for name in ("t", "zs", "b"):
        arrays[name] = np.resize(ARRAYS[name], 2 * outputs)
    return text.replace("[1, 16, 6", f"[1, {2 * outputs}, 6"), arrays


# Text, other arrays, the finding's rule and node, and what TensorRT-RTX makes of the layer.
CASES: dict[str, tuple[str, dict[str, Any], tuple[str, str] | None, Any]] = {
    "symmetric": (CONV, {}, None, INT8),
    "one scale for all weights": (CONV, {"t": np.float32(0.01), "zs": np.int8(0)}, None, INT8),
    "zero point": (CONV, {"z": np.int8(3)}, ("zero-point", "Q"), REFUSED),
    "zero point of weights": (CONV, {"zs": np.eye(16, dtype=np.int8)[5]}, ("zero-point", "W"), REFUSED),
    "too few zero points": (CONV, {"zs": np.zeros(1, np.int8)}, ("zero-point", "W"), REFUSED),
    "UINT8, zero point 0": (CONV, {"z": np.uint8(0)}, ("unsigned", "Q"), INT8),
    "no zero point": (CONV.replace("(x, s, z)", "(x, s)"), {}, ("unsigned", "Q"), INT8),
    "UINT8 weights": (
        CONV,
        {"w": np.ones((16, 8, 3, 3), np.uint8), "zs": ARRAYS["zs"].astype(np.uint8)},
        ("unsigned", "W"),
        REFUSED,
    ),
    "INT16": (CONV, {"z": np.int16(0)}, ("type", "Q"), REFUSED),
    "INT32 bias": (
        BIAS,
        {"b": np.zeros(16, np.int32), "u": np.float32(5e-4), "o": np.int32(0)},
        ("bias", "B"),
        REFUSED,
    ),
    "scale 0": (CONV, {"s": np.float32(0)}, ("scale", "Q"), REFUSED),
    "scale -1": (CONV, {"s": np.float32(-1)}, ("scale", "Q"), REFUSED),
    "scale NaN": (CONV, {"s": np.float32(np.nan)}, ("scale", "Q"), REFUSED),
    "one channel's scale 0": (CONV, {"t": np.arange(16, dtype=np.float32)}, ("scale", "W"), REFUSED),
    "scale infinite": (CONV, {"s": np.float32(np.inf)}, ("scale", "Q"), INT8),
    "blocks": (
        CONV.replace("axis = 0", "axis = 1, block_size = 4"),
        {"t": np.ones((16, 2, 3, 3), np.float32), "zs": np.zeros((16, 2, 3, 3), np.int8)},
        ("block", "W"),
        REFUSED,
    ),
    "channels of an activation": (
        CONV,
        {"s": np.ones(8, np.float32), "z": np.zeros(8, np.int8)},
        ("activation", "Q"),
        FLOAT,
    ),
    "an activation's scale in a list": (
        CONV,
        {"s": np.ones(1, np.float32), "z": np.zeros(1, np.int8)},
        ("activation", "Q"),
        FLOAT,
    ),
    "inputs of a Conv": (
        CONV.replace("axis = 0", "axis = 1"),
        {"t": np.ones(8, np.float32), "zs": np.zeros(8, np.int8)},
        ("axis", "layer"),
        FLOAT,
    ),
    "outputs of a MatMul": (MATMUL.replace("AXIS", "1").replace("PRODUCT", "MatMul"), SQUARE, None, INT8),
    "outputs of a MatMul, from the end": (
        MATMUL.replace("AXIS", "-1").replace("PRODUCT", "MatMul"),
        SQUARE,
        None,
        INT8,
    ),
    "inputs of a MatMul": (MATMUL.replace("AXIS", "0").replace("PRODUCT", "MatMul"), SQUARE, ("axis", "layer"), FLOAT),
    "outputs of a Gemm": (MATMUL.replace("AXIS", "0").replace("PRODUCT", "Gemm<transB = 1>"), SQUARE, None, INT8),
    "inputs of a Gemm": (
        MATMUL.replace("AXIS", "1").replace("PRODUCT", "Gemm<transB = 1>"),
        SQUARE,
        ("axis", "layer"),
        FLOAT,
    ),
    "data only": (
        CONV.replace("(d, v, b)", "(d, f, b)"),
        {"f": np.ones((16, 8, 3, 3), np.float32)},
        ("half", "layer"),
        FLOAT,
    ),
    "weights only": (CONV.replace("(d, v, b)", "(x, v, b)"), {}, ("half", "layer"), FLOAT),
    "Relu before the layer": (THROUGH_RELU, {}, ("half", "layer"), FLOAT),
    "MaxPool before the layer": (THROUGH_POOL, {}, None, INT8),
    "groups of 4": (*grouped(4, 8), None, NOT_TRIED),
    "groups of 6": (*grouped(6, 8), ("groups", "layer"), NOT_TRIED),
    "groups of 3 outputs": (*grouped(4, 3), ("groups", "layer"), NOT_TRIED),
    "other readers": (READ_TWICE, {}, None, INT8),
}


def quantized(graph_of: GraphOf, text: str, changes: dict[str, Any], opset: int = 21) -> Any:
    arrays = {name: array for name, array in (ARRAYS | changes).items() if array is not None}
    return graph_of(text, opset, **arrays)


def found(model: Any, version: str = TRT) -> set[tuple[str, str]]:
    return {(finding.rule.removeprefix("quantization/"), finding.node) for finding in validate(model, version)}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_finds_what_is_wrong_and_where(graph_of: GraphOf, case: str) -> None:
    text, changes, expected, _ = CASES[case]
    model = quantized(graph_of, text, changes)

    findings = found(model)

    # What is said of an activation's QuantizeLinear may be said of its DequantizeLinear too.
    assert {(rule, node) for rule, node in findings if node != "D"} == ({expected} if expected else set())
    assert is_quantized(model)


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case[3] != NOT_TRIED])
def test_tensorrt_rtx_sees_it_so(graph_of: GraphOf, rtx_layers: RtxLayers, case: str) -> None:
    """An error is refused, or has another meaning; an info is computed in float; without a finding it is INT8."""
    text, changes, expected, outcome = CASES[case]
    model = quantized(graph_of, text, changes)

    layers = rtx_layers(model)

    assert layers == (None if outcome == REFUSED else {"layer": outcome})
    severities = {finding.severity for finding in validate(model, TRT) if finding.node in (expected or ())}
    assert severities == (set() if expected is None else {"info"} if outcome == FLOAT else {"error"})


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        ("ConvInteger", "net (uint8[1, 8, 8, 8] x) => (int32[1, 16, 6, 6] y) { [it] y = ConvInteger(x, w) }"),
        ("MatMulInteger", "net (uint8[4, 16] x) => (int32[4, 16] y) { [it] y = MatMulInteger(x, k) }"),
        (
            "DynamicQuantizeLinear",
            "net (float[4] x) => (uint8[4] y) { [it] y, scale, zero = DynamicQuantizeLinear(x) }",
        ),
        ("QLinearMatMul", "net (int8[4, 16] x) => (int8[4, 16] y) { [it] y = QLinearMatMul(x, s, z, k, s, z, s, z) }"),
    ],
)
def test_integer_operators_are_refused(graph_of: GraphOf, rtx_layers: RtxLayers, operator: str, text: str) -> None:
    model = quantized(graph_of, text, {"k": np.ones((16, 16), np.int8)})

    (finding,) = validate(model, TRT)

    assert (finding.rule, finding.severity, finding.node) == ("quantization/operator", "error", "it")
    assert operator in finding.message
    assert is_quantized(model)
    assert rtx_layers(model) is None


def test_a_scale_that_is_computed(graph_of: GraphOf) -> None:
    """TensorRT-RTX crashes with it."""
    text = CONV.replace("[Q]", "m = ReduceMax<keepdims = 0>(x) [Q]").replace("(x, s, z)", "(x, m, z)")

    assert found(quantized(graph_of, text, {})) == {("scale", "Q")}


def test_tensorrt_8_wants_weights_and_scales_in_fp32(graph_of: GraphOf) -> None:
    both = CONV.replace("[W]", "[P] p = QuantizeLinear<axis = 0>(f, t, zs) [W]").replace("(w, t", "(p, t")
    floats = {"f": np.ones((16, 8, 3, 3), np.float32), "w": None}
    halves = {"s": np.float16(0.05), "t": np.full(16, 0.01, np.float16)}
    typed = CONV.replace("float[", "float16[")

    assert found(quantized(graph_of, CONV, {}), "8.6.2") == {("stored", "W")}
    assert found(quantized(graph_of, both, floats), "8.6.2") == set()
    assert found(quantized(graph_of, both, floats), TRT) == set()
    assert {rule for rule, _ in found(quantized(graph_of, typed, halves), "8.6.2")} == {"stored", "fp16"}
    assert found(quantized(graph_of, typed, halves), TRT) == set()
    assert found(quantized(graph_of, typed, halves, opset=17), TRT) == {("fp16", name) for name in "QDW"}


def test_a_float_graph_has_no_findings(graph_of: GraphOf) -> None:
    text = "net (float[1, 8, 8, 8] x) => (float[1, 16, 6, 6] y) { y = Conv(x, w, b) }"
    model = graph_of(text, w=np.ones((16, 8, 3, 3), np.float32), b=ARRAYS["b"])

    assert validate(model, TRT) == ()
    assert not is_quantized(model)


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.integers(-128, 127), min_size=16, max_size=16))
def test_any_zero_point_but_0(graph_of: GraphOf, points: list[int]) -> None:
    findings = found(quantized(graph_of, CONV, {"zs": np.int8(points)}))

    assert findings == ({("zero-point", "W")} if any(points) else set())


@settings(max_examples=60, deadline=None)
@given(scales=st.lists(st.floats(width=32), min_size=16, max_size=16))
def test_any_scale_that_is_not_positive_and_finite(graph_of: GraphOf, scales: list[float]) -> None:
    findings = found(quantized(graph_of, CONV, {"t": np.float32(scales)}))

    assert findings == (set() if all(0 < scale < np.inf for scale in scales) else {("scale", "W")})


@settings(max_examples=30, deadline=None)
@given(inputs=st.integers(1, 9), outputs=st.integers(1, 9))
def test_any_size_of_groups(graph_of: GraphOf, inputs: int, outputs: int) -> None:
    findings = found(quantized(graph_of, *grouped(inputs, outputs)))

    fits = (inputs % 4, outputs % 4) == (0, 0) or (inputs, outputs) == (1, 1)
    assert findings == (set() if fits else {("groups", "layer")})


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), version=st.sampled_from(["8.6.2", "10.3.0", "11.1"]))
def test_what_is_quantized_here_passes(graph_of: GraphOf, seed: int, version: str) -> None:
    """Depthwise, grouped, transposed and fully connected layers, with FP32 and with FP16 around them."""
    draw = np.random.default_rng(seed)
    text = """net (float[1, 8, 8, 8] x) => (float[1, 5] y) {
        [a] a = Conv<group = 8, pads = [1, 1, 1, 1]>(x, wa) r = Relu(a)
        [b] c = Conv<group = 2>(r, wb) [e] e = Conv<group = 4>(c, we)
        [f] f = ConvTranspose(e, wf) g = GlobalAveragePool(f) h = Flatten(g)
        [i] i = MatMul(h, wi) [j] y = Gemm<transB = 1>(i, wj)
    }"""
    shapes = {
        "wa": (8, 1, 3, 3),
        "wb": (8, 4, 1, 1),
        "we": (8, 2, 1, 1),
        "wf": (8, 4, 2, 2),
        "wi": (4, 6),
        "wj": (5, 6),
    }
    model = graph_of(
        text, 17, **{name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    )
    feeds = [{"x": draw.standard_normal((1, 8, 8, 8)).astype(np.float32)} for _ in range(2)]
    calibrated = calibrate_network(model, lambda _, most=None: feeds, QuantizePart())
    chosen = {name for name in calibrated.layers if draw.random() < 0.8}
    scheme = tensorrt_scheme(version)
    made = quantize_layers(calibrated, scheme, chosen).model
    if scheme.rest == "fp16":
        made = raise_opset(made, TYPED_SCALES)
        infer_shapes(made)
        cast_to_fp16(made)
    infer_shapes(made)

    assert validate(made, version) == ()
    assert is_quantized(made) == bool(chosen)


def test_what_onnxruntime_makes_by_default(tmp_path: Path) -> None:
    """Its static quantization as it comes: zero points, and biases in INT32."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    make, kind, draw = onnx.helper, onnx.TensorProto.FLOAT, np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (4, 8, 1, 1), "b2": (4,)}
    weights = [
        onnx.numpy_helper.from_array(draw.standard_normal(s).astype(np.float32), name) for name, s in shapes.items()
    ]
    nodes = [
        make.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first"),
        make.make_node("Relu", ["a"], ["r"], name="middle"),
        make.make_node("Conv", ["r", "w2", "b2"], ["y"], name="second"),
    ]
    ends = [
        make.make_tensor_value_info(name, kind, shape) for name, shape in (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))
    ]
    graph = make.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        frames = iter([{"x": draw.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)])

        def get_next(self) -> Any:
            return next(self.frames, None)

    quantization.quantize_static(tmp_path / "float.onnx", tmp_path / "int8.onnx", Reader())
    model = load_model(tmp_path / "int8.onnx")
    infer_shapes(model)

    findings = validate(model, TRT)

    assert {finding.rule for finding in findings} >= {"quantization/bias", "quantization/zero-point"}
    biases = [finding for finding in findings if finding.rule == "quantization/bias"]
    assert len(biases) == 2
