"""FP16 graphs: valid, close, and FP32 where it must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from edgecnn.graph.cast_fp16 import cast_to_fp16, nodes_of
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.decoding_nodes import last_layer_nodes
from edgecnn.graph.opset import TYPED_SCALES, raise_opset
from edgecnn.graph.prepare import infer_shapes

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# One rounding to FP16's 11 bits is 2**-11 of a value; the graphs here round a value some five times, near 4 at most.
ONE_ROUNDING = 2.0**-11
CLOSE = 5 * 4 * ONE_ROUNDING

X = np.random.default_rng(0).uniform(-2, 2, (2, 3)).astype(np.float32)
W = np.array([1, 2, 3], np.float32)


def rounded_outputs(model: Any, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs with every node rounded to its type: ONNX Runtime on a CPU computes FP16 nodes in FP32, unrounded."""
    evaluator = ReferenceEvaluator(ir.to_proto(model))
    return dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))


def check(model: Any, outputs_of: OutputsOf, keep: tuple[str, ...] = (), **feeds: np.ndarray) -> dict[str, int]:
    """Cast, and see that names and types outside are as before, the graph is valid, and the outputs are close."""
    names = [(value.name, value.dtype) for value in (*model.graph.inputs, *model.graph.outputs)]
    before = outputs_of(model, **feeds)

    counts = dict(cast_to_fp16(model, keep).counts)

    assert [(value.name, value.dtype) for value in (*model.graph.inputs, *model.graph.outputs)] == names
    assert counts["casts"] == operators(model).count("Cast")
    for after in (outputs_of(model, **feeds), rounded_outputs(model, **feeds)):
        for name, expected in before.items():
            np.testing.assert_allclose(after[name], expected, atol=CLOSE, err_msg=name)
    return counts


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


def types_into(model: Any, operator: str) -> list[ir.DataType]:
    node = next(node for node in model.graph if node.op_type == operator)
    return [value.dtype for value in node.inputs if value is not None]


def test_everything_between_input_and_output_is_fp16(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Mul(x, w) y = Relu(a) }", w=W)

    assert check(model, outputs_of, x=X) == {"in FP16": 2, "casts": 2}

    assert operators(model) == ["Cast", "Mul", "Relu", "Cast"]
    assert types_into(model, "Mul") == [ir.DataType.FLOAT16] * 2


def test_it_rounds(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { y = Mul(x, w) }", w=W)
    cast_to_fp16(model)

    expected = (X.astype(np.float16) * W.astype(np.float16)).astype(np.float32)

    np.testing.assert_array_equal(rounded_outputs(model, x=X)["y"], expected)


def test_a_second_time_finds_nothing_to_do(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Mul(x, w) y = Relu(a) }", w=W)
    assert cast_to_fp16(model).modified
    before = operators(model)
    infer_shapes(model)

    assert not cast_to_fp16(model).modified

    assert operators(model) == before


def test_a_graph_of_integers_is_left_alone(graph_of: GraphOf) -> None:
    model = graph_of("net (int64[2, 3] x) => (int64[2, 3] y) { y = Neg(x) }")

    result = cast_to_fp16(model)

    assert not result.modified
    assert result.counts == {"kept as they were": 1, "casts": 0}


def test_two_consumers_share_one_cast(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Relu(x) b = Neg(x) y = Add(a, b) }")

    check(model, outputs_of, x=X)

    assert operators(model).count("Cast") == 2


def test_two_users_share_one_constant(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Mul(x, w) y = Sub(a, w) }", w=W)

    check(model, outputs_of, x=X)
    clean_up(model)

    assert [value.dtype for value in model.graph.initializers.values()] == [ir.DataType.FLOAT16]


def test_an_output_that_is_used_inside_too_goes_on_in_fp16(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] a, float[2, 3] y) { a = Relu(x) y = Exp(a) }")

    assert check(model, outputs_of, x=X)["casts"] == 3

    assert types_into(model, "Exp") == [ir.DataType.FLOAT16]


def test_an_input_that_is_an_output_too(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) { y = Identity(x) z = Exp(x) }")

    check(model, outputs_of, x=X)


@pytest.mark.parametrize("large", [65536.0, -1e6])
def test_a_constant_beyond_fp16_keeps_its_nodes_in_fp32(graph_of: GraphOf, outputs_of: OutputsOf, large: float) -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y) { a = Mul(x, w) b = Div(a, w) y = Relu(b) }"
    model = graph_of(text, w=np.float32(large))

    assert check(model, outputs_of, x=X) == {"kept as they were": 2, "in FP16": 1, "casts": 2}

    assert types_into(model, "Mul") == [ir.DataType.FLOAT] * 2
    assert types_into(model, "Relu") == [ir.DataType.FLOAT16]


def test_the_largest_number_of_fp16_is_not_beyond_it(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { y = Min(x, w) }", w=np.float32(65504))

    assert cast_to_fp16(model).counts["in FP16"] == 1


def test_a_large_number_beside_an_infinite_one_still_counts(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { y = Min(x, w) }", w=np.float32([np.inf, 1e6, 0]))

    assert cast_to_fp16(model).counts["kept as they were"] == 1


def test_an_open_end_of_clip_saturates(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        "net (float[2, 3] x) => (float[2, 3] y) { y = Clip(x, low, high) }",
        low=np.float32(0),
        high=np.finfo(np.float32).max,
    )

    assert check(model, outputs_of, x=X)["in FP16"] == 1


def test_an_infinite_mask_saturates(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        "net (float[2, 3] x) => (float[2, 3] y) { a = Add(x, mask) y = Softmax(a) }",
        mask=np.float32([0, -np.inf, 0]),
    )

    assert check(model, outputs_of, x=X)["in FP16"] == 2


def test_named_nodes_stay_in_fp32(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y) { [one] a = Relu(x) [two] b = Neg(a) [three] y = Exp(b) }"
    model = graph_of(text)

    assert check(model, outputs_of, keep=("two",), x=X) == {"in FP16": 2, "kept as they were": 1, "casts": 4}

    assert types_into(model, "Neg") == [ir.DataType.FLOAT]


def test_scales_of_a_resize_stay_in_fp32(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        'net (float[1, 1, 2, 3] x) => (float[1, 1, 4, 6] y) { a = Relu(x) y = Resize<mode = "linear">(a, , scales) }',
        scales=np.float32([1, 1, 2, 2]),
    )

    check(model, outputs_of, x=X.reshape(1, 1, 2, 3))

    assert types_into(model, "Resize") == [ir.DataType.FLOAT16, ir.DataType.FLOAT]


def test_branches_are_not_touched(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """What they take from outside is FP32 as before, and the weights that they use keep their type."""
    model = graph_of(
        """net (float[2, 3] x, bool c) => (float[2, 3] y) {
            a = Mul(x, w)
            b = If(c) <then_branch = t () => (float[2, 3] p) { p = Add(a, w) },
                       else_branch = e () => (float[2, 3] q) { q = Sub(a, w) }>
            y = Neg(b)
        }""",
        w=W,
    )

    assert check(model, outputs_of, x=X, c=np.array(True))["in FP16"] == 2

    choice = next(node for node in model.graph if node.op_type == "If")
    branches = [node for attribute in choice.attributes.values() for node in attribute.as_graph()]
    assert len(branches) == 2
    assert all(value.dtype == ir.DataType.FLOAT for node in branches for value in node.inputs if value.dtype)


# Nodes whose outputs ONNX types by an attribute, not by an input, or that have no FP16 form at all.
ODD = {
    "constant": (18, "{ k = Constant<value = float {2}>() y = Mul(x, k) }"),
    "constant float": (18, "{ k = Constant<value_float = 2.0>() y = Mul(x, k) }"),
    "constant floats": (18, "{ k = Constant<value_floats = [2.0, 1.0, 3.0]>() y = Mul(x, k) }"),
    "large constant": (18, "{ k = Constant<value = float {1000000}>() a = Mul(x, k) y = Div(a, k) }"),
    "constant of a shape": (18, "{ s = Shape(x) k = ConstantOfShape<value = float[1] {3}>(s) y = Add(x, k) }"),
    "zeros of a shape": (18, "{ s = Shape(x) k = ConstantOfShape(s) y = Add(x, k) }"),
    "diagonal": (18, "{ k = EyeLike<dtype = 1>(x) y = Add(x, k) }"),
    "no FP16 before opset 14": (13, "{ a = Neg(x) y = CumSum(a, axis) }"),
    "no FP16 before opset 20": (18, "{ a = IsInf(x) b = Neg(x) y = Where(a, x, b) }"),
    "quantization": (18, "{ q, s, z = DynamicQuantizeLinear(x) a = DequantizeLinear(q, s, z) y = Relu(a) }"),
    "cast": (18, "{ a = Cast<to = 7>(x) b = Cast<to = 1>(a) y = Mul(b, x) }"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_operators_keep_the_graph_valid(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    opset, body = ODD[case]
    model = graph_of(f"net (float[2, 3] x) => (float[2, 3] y) {body}", opset, axis=np.int64(1))
    before = outputs_of(model, x=X)

    cast_to_fp16(model)

    np.testing.assert_allclose(outputs_of(model, x=X)["y"], before["y"], atol=CLOSE)


def test_operators_of_others_stay_in_fp32(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = vendor.Nms(x) y = Relu(a) }")
    next(iter(model.graph)).outputs[0].dtype = ir.DataType.FLOAT

    assert cast_to_fp16(model).counts == {"kept as they were": 1, "in FP16": 1, "casts": 2}

    assert types_into(model, "Nms") == [ir.DataType.FLOAT]


# A convolution in INT8 between a layer and an activation that are not.
QUANTIZED = """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
    [scale] a = Mul(x, w)
    [to] q = QuantizeLinear(a, s, zero)
    [from] d = DequantizeLinear(q, s, zero)
    [weight] v = DequantizeLinear<axis = 0>(k, t, zeros)
    [layer] c = Conv(d, v, b)
    [last] y = Relu(c)
}"""
INT8 = {
    "w": np.float32([[[2]], [[3]]]),
    "s": np.float32(2.0**-4),
    "zero": np.int8(0),
    "k": np.int8([[1, -2], [3, 4]]).reshape(2, 2, 1, 1),
    "t": np.float32([2.0**-5, 1.5 * 2.0**-20]),  # FP16 has the second, with fewer digits
    "zeros": np.zeros(2, np.int8),
    "b": np.float32([0.5, 0]),
}
PICTURE = np.random.default_rng(1).uniform(-2, 2, (1, 2, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("opset", [19, 21, 23])
def test_quantization_takes_and_gives_fp16(graph_of: GraphOf, outputs_of: OutputsOf, opset: int) -> None:
    model = graph_of(QUANTIZED, opset, **INT8)

    # A value at the middle of two steps of INT8 may fall on the other side.
    before = outputs_of(model, x=PICTURE)["y"]
    assert cast_to_fp16(model).counts == {"in FP16": 6, "casts": 2}
    infer_shapes(model)
    clean_up(model)

    assert np.abs(outputs_of(model, x=PICTURE)["y"] - before).max() <= 3 * 2.0**-4 * 2.0**-5 + CLOSE
    half, int8 = ir.DataType.FLOAT16, ir.DataType.INT8
    assert types_into(model, "QuantizeLinear") == [half, half, int8]
    assert types_into(model, "DequantizeLinear") == [int8, half, int8]
    assert types_into(model, "Conv") == [half] * 3
    scales = model.graph.initializers["t.fp16"].const_value.numpy()
    assert scales.astype(np.float32).tolist() == INT8["t"].tolist()


def test_before_opset_19_quantization_stays_in_fp32(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(QUANTIZED, TYPED_SCALES - 1, **INT8)
    before = outputs_of(model, x=PICTURE)["y"]

    assert cast_to_fp16(model).counts["kept as they were"] == 3

    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before, atol=3 * 2.0**-9 + CLOSE)


def test_raised_to_opset_19_it_can_be_cast(graph_of: GraphOf) -> None:
    model = raise_opset(graph_of(QUANTIZED, 13, **INT8), TYPED_SCALES)
    infer_shapes(model)

    assert model.opset_imports[""] == TYPED_SCALES
    assert [node.name for node in model.graph] == ["scale", "to", "from", "weight", "layer", "last"]
    assert cast_to_fp16(model).counts["in FP16"] == 6


@pytest.mark.parametrize("scale", [0.01, 1e-9, 513.0, 1e30])
def test_a_scale_that_fp16_has_not_or_whose_steps_overflow_stays(graph_of: GraphOf, scale: float) -> None:
    """Rounded, it would move every weight; 1e-9 would become 0, which TensorRT refuses."""
    model = graph_of(QUANTIZED, 19, **INT8 | {"t": np.float32([2.0**-5, scale])})

    assert cast_to_fp16(model).counts == {"in FP16": 5, "kept as they were": 1, "casts": 3}

    assert [node.name for node in model.graph if node.outputs[0].name == "v"] == ["weight"]


def test_a_computed_scale_stays(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y) {q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)}"
    model = graph_of(text, 21)
    before = outputs_of(model, x=X)["y"]

    assert not cast_to_fp16(model).modified

    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], before)


def test_a_stated_type_of_the_output_stays(graph_of: GraphOf) -> None:
    text = QUANTIZED.replace("Linear<axis = 0>(k", "Linear<axis = 0, output_dtype = 1>(k")

    assert cast_to_fp16(graph_of(text, 23, **INT8)).counts["kept as they were"] == 1


def test_nodes_around_a_value_are_found_through_quantization(graph_of: GraphOf) -> None:
    model = graph_of(QUANTIZED, 19, **INT8)

    assert nodes_of(model, {"a"}) == {"scale", "to", "from", "layer"}
    assert nodes_of(model, {"c"}) == {"layer", "last"}
    assert nodes_of(model, set()) == set()


def test_the_last_layer_gives_values_far_from_0_all_their_digits(graph_of: GraphOf) -> None:
    text = """net (float[2, 3] x) => (float[2, 1] y) {
        a = MatMul (x, first) b = Relu (a)
        q = QuantizeLinear (b, step, zero) d = DequantizeLinear (q, step, zero)
        m = MatMul (d, last) y = Add (m, bias) }"""
    last, bias = np.float32([[0.01], [0.02], [0.03]]), np.float32([1000.3])
    arrays = {"first": np.eye(3, dtype=np.float32), "step": np.float32(2**-6), "zero": np.int8(0)}
    model = raise_opset(graph_of(text, **arrays, last=last, bias=bias), TYPED_SCALES)
    for number, node in enumerate(model.graph):
        node.name = f"{node.op_type}{number}"
    infer_shapes(model)
    kept = last_layer_nodes(model)
    assert kept == ("DequantizeLinear3", "MatMul4", "Add5")

    cast_to_fp16(model, kept)

    steps = np.clip(np.round(np.maximum(X, 0) * 64), -128, 127) / 64
    found = rounded_outputs(model, x=X)["y"]
    # A step of FP16 near 1,000 is 0.5.
    np.testing.assert_allclose(found, steps @ last + bias, atol=0.001)
    names = operators(model)
    assert "Cast" not in names[names.index("QuantizeLinear") :]  # the integer layer stays one
