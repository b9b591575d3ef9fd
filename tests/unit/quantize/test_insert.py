"""Q/DQ pairs in the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.model import constant
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.insert import activation_grid, insert_qdq, quantize, scales_of, weight_scales
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import QUANT_MAX, Scheme, tensorrt_scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

INT8 = Scheme("test", weights_as_int8=True)
FP32 = Scheme("test", weights_as_int8=False)
PICTURE = "float[1, 4, 4, 4]"
# Sums of at most 16 products of values below 3, each off by half of a 127th of its range; two layers.
NEAR = 0.3
X = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 4)).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


def quantized(model: Any, scheme: Scheme, limit: float = 1.0) -> Any:
    """Quantize in place, with one range for every activation, as the INT8 stage does."""
    placement = place(model)
    insert_qdq(model, placement, {str(value.name): Range(-limit, limit) for value in placement.activations}, {}, scheme)
    run_passes(model, (clean_up, infer_shapes))
    return model


BODIES: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "Conv": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ y = Conv(x, w, b) }}",
        {"w": weights(4, 4, 1, 1), "b": weights(4)},
    ),
    "depthwise Conv": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ y = Conv<group = 4>(x, w) }}",
        {"w": weights(4, 1, 1, 1)},
    ),
    "ConvTranspose": (f"net ({PICTURE} x) => ({PICTURE} y) {{ y = ConvTranspose(x, w) }}", {"w": weights(4, 4, 1, 1)}),
    "Gemm": (
        f"net ({PICTURE} x) => (float[4, 8] y) {{ f = Flatten<axis = 2>(x) y = Gemm(f, w) }}",
        {"w": weights(16, 8)},
    ),
    "Gemm transposed": (
        f"net ({PICTURE} x) => (float[4, 8] y) {{ f = Flatten<axis = 2>(x) y = Gemm<transB = 1>(f, w) }}",
        {"w": weights(8, 16)},
    ),
    "MatMul": (f"net ({PICTURE} x) => (float[1, 4, 4, 8] y) {{ y = MatMul(x, w) }}", {"w": weights(4, 8)}),
    "residual block": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ a = Conv(x, w) r = Relu(a) b = Conv(r, v) y = Add(b, x) }}",
        {"w": weights(4, 4, 1, 1), "v": weights(4, 4, 1, 1) * 0.1},
    ),
    "shared weights": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ a = Conv(x, w) y = Conv(a, w) }}",
        {"w": weights(4, 4, 1, 1) * 0.3},
    ),
    "shared along two axes": (
        "net (float[4, 4] x) => (float[4, 4] y) { a = Gemm(x, w) y = Gemm<transB = 1>(a, w) }",
        {"w": weights(4, 4) * 0.3},
    ),
    "unnamed weights in a node": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ k = Identity(w) y = Conv(x, k) }}",
        {"w": weights(4, 4, 1, 1)},
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_both_schemes_compute_the_same(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays = BODIES[case]
    models = [quantized(graph_of(text, **arrays), scheme) for scheme in (INT8, FP32)]
    feed = np.random.default_rng(0).uniform(-1, 1, tuple(models[0].graph.inputs[0].shape)).astype(np.float32)

    as_int8, as_fp32 = (outputs_of(model, x=feed)["y"] for model in models)

    np.testing.assert_array_equal(as_int8, as_fp32)
    expected = outputs_of(graph_of(text, **arrays), x=feed)["y"]
    assert 0 < np.abs(as_int8 - expected).max() < NEAR


@pytest.mark.parametrize("scheme", [INT8, FP32], ids=["int8", "fp32"])
@pytest.mark.parametrize("case", BODIES)
def test_every_zero_point_is_0_and_nothing_is_int32(graph_of: GraphOf, case: str, scheme: Scheme) -> None:
    text, arrays = BODIES[case]
    model = quantized(graph_of(text, **arrays), scheme)

    pairs = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        scale, zero = constant(node.inputs[1]), constant(node.inputs[2])
        assert scale is not None
        assert zero is not None
        assert (scale.dtype, zero.dtype) == (np.float32, np.int8)
        assert scale.shape == zero.shape
        assert (scale > 0).all()
        assert not zero.any()
    values = [*model.graph.initializers.values(), *(value for node in model.graph for value in node.outputs)]
    assert {value.dtype for value in values} <= {ir.DataType.FLOAT, ir.DataType.INT8}


def test_weights_are_stored_as_the_scheme_wants(graph_of: GraphOf) -> None:
    text, arrays = BODIES["Conv"]

    assert operators(quantized(graph_of(text, **arrays), INT8)) == [
        "QuantizeLinear",
        "DequantizeLinear",
        "DequantizeLinear",
        "Conv",
    ]
    assert operators(quantized(graph_of(text, **arrays), FP32)).count("QuantizeLinear") == 2


@pytest.mark.parametrize(
    ("case", "axis", "shape"),
    [
        ("Conv", 0, (4, 1, 1, 1)),
        ("depthwise Conv", 0, (4, 1, 1, 1)),
        ("Gemm", 1, (1, 8)),
        ("Gemm transposed", 0, (8, 1)),
        ("MatMul", 1, (1, 8)),
        ("ConvTranspose", None, ()),
    ],
)
def test_a_scale_covers_its_channels_largest_weight(
    graph_of: GraphOf, case: str, axis: int | None, shape: tuple[int, ...]
) -> None:
    text, arrays = BODIES[case]
    model = quantized(graph_of(text, **arrays), INT8)

    (node,) = [node for node in model.graph if node.op_type == "DequantizeLinear" and node.inputs[0].producer() is None]
    stored, scale = constant(node.inputs[0]), constant(node.inputs[1])

    assert stored is not None
    assert scale is not None
    assert ("axis" in node.attributes) == (axis is not None)
    if axis is not None:
        assert node.attributes["axis"].as_int() == axis
        # Each channel has a weight at the end of the range.
        others = tuple(d for d in range(stored.ndim) if d != axis)
        assert (np.abs(stored.astype(int)).max(axis=others) == QUANT_MAX).all()
    restored = stored.astype(np.float32) * scale.reshape(shape)
    assert np.abs(restored - arrays["w"]).max() <= scale.max() / 2 * (1 + 1e-5)


@pytest.mark.parametrize("scheme", [INT8, FP32], ids=["int8", "fp32"])
def test_weights_that_were_rounded_keep_the_grid_they_are_on(graph_of: GraphOf, scheme: Scheme) -> None:
    """The steps may not reach the end of the range, so that the largest weight does not tell the scale."""
    scales = np.float32([0.5, 0.25, 1, 2])
    steps = np.arange(-8, 8).reshape(4, 4, 1, 1)
    text, arrays = BODIES["Conv"]
    model = graph_of(text, **arrays | {"w": (steps * scales.reshape(4, 1, 1, 1)).astype(np.float32)})

    insert_qdq(model, place(model), {"x": Range(-1, 1)}, {"y": scales}, scheme)

    (node,) = [node for node in model.graph if node.op_type == "Conv"]
    restorer = node.inputs[1].producer()
    assert restorer is not None
    np.testing.assert_array_equal(constant(restorer.inputs[1]), scales)
    if scheme.weights_as_int8:
        np.testing.assert_array_equal(constant(restorer.inputs[0]), steps)


def test_only_the_identity_of_a_residual_block_gets_a_pair(graph_of: GraphOf) -> None:
    text, arrays = BODIES["residual block"]

    model = quantized(graph_of(text, **arrays), INT8)

    add = next(node for node in model.graph if node.op_type == "Add")
    assert [value.producer().op_type for value in add.inputs] == ["Conv", "DequantizeLinear"]
    # x and r for the convolutions, x also for the addition.
    assert operators(model).count("QuantizeLinear") == 2


def test_other_readers_keep_the_fp32_value(graph_of: GraphOf) -> None:
    model = graph_of(
        f"net ({PICTURE} x) => ({PICTURE} y) {{ a = Relu(x) b = Conv(a, w) c = Exp(a) y = Mul(b, c) }}",
        w=weights(4, 4, 1, 1),
    )

    quantized(model, INT8)

    exponent = next(node for node in model.graph if node.op_type == "Exp")
    assert exponent.inputs[0].producer().op_type == "Relu"


def test_shared_weights_are_stored_once(graph_of: GraphOf) -> None:
    text, arrays = BODIES["shared weights"]

    model = quantized(graph_of(text, **arrays), INT8)

    assert sum(value.const_value.size == 16 for value in model.graph.initializers.values()) == 1


def test_what_lies_beyond_the_range_is_clipped(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[1, 2] x) => (float[1, 2] y) { y = Gemm(x, w) }", w=np.eye(2, dtype=np.float32))

    found = outputs_of(quantized(model, INT8, limit=0.5), x=np.float32([[3, -0.25]]))["y"]

    np.testing.assert_allclose(found, [[0.5, -0.25]], atol=0.5 / QUANT_MAX)


def test_a_value_that_was_always_zero_gives_zero(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text, arrays = BODIES["Conv"]

    found = outputs_of(quantized(graph_of(text, **arrays), INT8, limit=0.0), x=np.zeros_like(X))["y"]

    np.testing.assert_allclose(found, np.broadcast_to(arrays["b"].reshape(1, 4, 1, 1), found.shape))


@pytest.mark.parametrize("size", [0.0, 1e-45, 1e-40, 1e-37])
def test_a_dead_channel_is_quantized_to_zero_beside_live_ones(size: float) -> None:
    """Weight decay leaves channels below the smallest scale that FP16, and even FP32, can hold."""
    array = np.float32([[QUANT_MAX / 2, -QUANT_MAX], [size, -size]])

    scales = weight_scales(array, 0)

    assert scales.tolist() == [1, 2.0**-24 if size else 1]
    assert quantize(array, scales, 0).tolist() == [[64, -127], [0, 0]]


def test_a_scale_is_the_largest_value_by_127() -> None:
    np.testing.assert_array_equal(scales_of([127.0, 63.5]), np.float32([1, 0.5]), strict=True)
    assert scales_of(254.0).shape == ()
    assert scales_of(254.0) == 2


@pytest.mark.parametrize(("peak", "scale"), [(0.0, 1.0), (1e-30, 2.0**-24), (1e9, np.float32(1e9 / QUANT_MAX))])
def test_scales_at_the_ends_of_fp16(peak: float, scale: float) -> None:
    assert scales_of(peak) == scale


def test_halves_round_to_even_and_the_ends_saturate_symmetrically() -> None:
    steps = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.4, 200, -127.5, -128, -200])

    assert quantize(steps, np.float32(1), None).tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -127, -127, -127]


@pytest.mark.parametrize(("version", "as_int8"), [("8.6.2", False), ("8.6", False), ("10.3.0", True), ("11.1", True)])
def test_tensorrt_8_wants_weights_and_scales_as_fp32(version: str, as_int8: bool) -> None:
    assert tensorrt_scheme(version) == Scheme("tensorrt", as_int8, rest="fp16" if as_int8 else "fp32")


@pytest.mark.parametrize(("peak", "in_fp16"), [(6e-5, False), (7e-5, True), (1.0, True)])
def test_a_small_activation_keeps_a_scale_that_fp16_has_not(peak: float, in_fp16: bool) -> None:
    scale = np.float32(activation_grid(Range(-peak, peak), tensorrt_scheme("10.3.0")).scale)

    assert (np.float32(np.float16(scale)) == scale) == in_fp16
    assert peak / 127 * (1 - 1e-6) <= scale <= peak / 127 * 9 / 8  # FP16 has three digits there
