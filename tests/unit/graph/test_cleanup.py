"""Cleaning up: what goes, what stays, and that a second time finds nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.summary import count_parameters

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

X = np.arange(6, dtype=np.float32).reshape(2, 3)
W = np.array([1, 2, 3], np.float32)


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


# What is in the graph, what is left of it.
GOES: dict[str, tuple[str, list[str]]] = {
    "identity": ("{ a = Identity(x) b = Identity(a) y = Relu(b) }", ["Relu"]),
    "identity before the output": ("{ a = Relu(x) y = Identity(a) }", ["Relu"]),
    "dropout": ("{ a = Dropout(x) b, mask = Dropout(a) y = Relu(b) }", ["Relu"]),
    "dropout with its rate": ("{ a = Dropout(x, rate) y = Relu(a) }", ["Relu"]),
    "dead nodes": ("{ y = Relu(x) a = Add(x, w) b = Exp(a) }", ["Relu"]),
    "constant nodes": ("{ k = Constant<value = float[3] {4, 5, 6}>() y = Mul(x, k) }", ["Mul"]),
    "computed constants": ("{ a = Add(w, w) b = Neg(a) y = Mul(x, b) }", ["Mul"]),
    "constants whose size others tell": (
        """{
            n = Size(w)
            r = Range(zero, n, one)
            s = Shape(r)
            t = Expand(w, s)
            f = Cast<to = 1>(r)
            g = Add(f, t)
            y = Add(x, g)
        }""",
        ["Add"],
    ),
    "a known condition": (
        """{
            yes = Constant<value = bool {1}>()
            y = If(yes) <then_branch = t () => (float[2, 3] p) { p = Add(x, w) },
                         else_branch = e () => (float[2, 3] q) { q = Mul(x, w) }>
        }""",
        ["Add"],
    ),
}


@pytest.mark.parametrize("case", GOES)
@pytest.mark.parametrize("opset", [13, 18])
def test_what_does_nothing_goes(graph_of: GraphOf, outputs_of: OutputsOf, case: str, opset: int) -> None:
    body, left = GOES[case]
    model = graph_of(
        f"net (float[2, 3] x) => (float[2, 3] y) {body}",
        opset,
        w=W,
        rate=np.float32(0.5),
        zero=np.int64(0),
        one=np.int64(1),
    )
    before = outputs_of(model, x=X)

    result = clean_up(model)

    assert result.modified
    assert operators(model) == left
    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], before["y"])
    again = clean_up(model)
    assert not again.modified
    assert not any(again.counts.values())


QUANTIZED = "{ q = QuantizeLinear(w, s, o) d = DequantizeLinear(q, s, o) y = Add(x, d) }"
# What a clean graph may consist of, with its operators as they stay.
STAYS: dict[str, tuple[str, str, list[str]]] = {
    "the output is the input": ("float[2, 3] y", "{ y = Identity(x) }", ["Identity"]),
    "two outputs are the input": (
        "float[2, 3] y, float[2, 3] z",
        "{ y = Identity(x) z = Identity(x) }",
        ["Identity", "Identity"],
    ),
    "an output is a weight": ("float[2, 3] y, float[3] w", "{ y = Add(x, w) }", ["Add"]),
    "equal weights leave the graph": (
        "float[2, 3] y, float[3] w, float[3] v",
        "{ a = Add(x, w) y = Add(a, v) }",
        ["Add", "Add"],
    ),
    "a quantized constant": ("float[2, 3] y", QUANTIZED, ["QuantizeLinear", "DequantizeLinear", "Add"]),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_does_something_stays(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    outputs, body, left = STAYS[case]
    model = graph_of(
        f"net (float[2, 3] x) => ({outputs}) {body}",
        w=W,
        v=W,
        s=np.float32(0.1),
        o=np.int8(0),
    )
    names = [value.name for value in model.graph.outputs]
    before = outputs_of(model, x=X)

    clean_up(model)

    assert operators(model) == left
    assert [value.name for value in model.graph.outputs] == names
    for name, expected in before.items():
        np.testing.assert_array_equal(outputs_of(model, x=X)[name], expected, err_msg=name)
    assert not clean_up(model).modified


def test_dropout_that_drops_stays(graph_of: GraphOf) -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y) { y = Dropout(x, rate, yes) }"
    model = graph_of(text, rate=np.float32(0.5), yes=np.bool_(True))

    assert not clean_up(model).modified

    assert operators(model) == ["Dropout"]


def test_an_output_that_is_an_identity_of_a_weight_becomes_a_weight(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y, float[3] k) { y = Relu(x) k = Identity(w) }", w=W)

    assert clean_up(model).modified

    assert operators(model) == ["Relu"]
    np.testing.assert_array_equal(outputs_of(model, x=X)["k"], W)


def test_branches_keep_their_work(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        """net (float[2, 3] x, bool c) => (float[2, 3] y) {
            a = Identity(x)
            y = If(c) <then_branch = t () => (float[2, 3] p) { p = Add(a, w) },
                       else_branch = e () => (float[2, 3] q) {
                           k = Constant<value = float[3] {4, 5, 6}>()
                           j = Identity(k)
                           q = Mul(a, j)
                       }>
        }""",
        w=W,
    )

    assert clean_up(model).modified

    assert operators(model) == ["If"]
    np.testing.assert_array_equal(outputs_of(model, x=X, c=np.array(True))["y"], X + W)
    np.testing.assert_array_equal(outputs_of(model, x=X, c=np.array(False))["y"], X * [4, 5, 6])
    assert not clean_up(model).modified


def test_loops_keep_their_work(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        """net (float[2, 3] x) => (float[2, 3] y) {
            y = Loop(turns, yes, x) <body = b (int64 i, bool go, float[2, 3] s) => (bool on, float[2, 3] t) {
                on = Identity(go)
                t = Add(s, w)
            }>
        }""",
        w=W,
        turns=np.int64(3),
        yes=np.bool_(True),
    )

    clean_up(model)

    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], X + 3 * W)
    assert not clean_up(model).modified


def test_functions_are_inlined(outputs_of: OutputsOf) -> None:
    onnx = pytest.importorskip("onnx")
    import onnx_ir

    text = """<ir_version: 8, opset_import: ["": 18, "local": 1]>
        net (float[2, 3] x) => (float[2, 3] y) { y = local.twice(x) }
        <domain: "local", opset_import: ["": 18]> twice (a) => (b) { b = Add(a, a) }"""
    model = onnx_ir.from_proto(onnx.parser.parse_model(text))

    assert clean_up(model).modified

    assert [(node.domain, node.op_type) for node in model.graph] == [("", "Add")]
    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], 2 * X)
    assert not clean_up(model).modified


KERNEL = np.ones((4, 3, 1, 1), np.float32)
COMPUTED_BIAS = """net (float[1, 3, 2, 2] x) => (float[1, 4, 2, 2] y) {
    shape = Shape<start = 0, end = 1>(w)
    zero = Constant<value = float {0}>()
    k = Expand(zero, shape)
    y = OPERATOR(x, w, k)
}"""


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_a_computed_zero_bias_goes(graph_of: GraphOf, operator: str) -> None:
    """As torch writes it for a convolution without a bias."""
    kernel = KERNEL if operator == "Conv" else KERNEL.transpose(1, 0, 2, 3)
    text = COMPUTED_BIAS.replace("OPERATOR", operator)
    if operator == "ConvTranspose":
        text = text.replace("start = 0, end = 1", "start = 1, end = 2")
    model = graph_of(text, w=kernel)

    result = clean_up(model)

    assert result.counts["zero biases removed"] == 1
    assert [len(node.inputs) for node in model.graph] == [2]
    assert set(model.graph.initializers) == {"w"}


def test_a_computed_bias_that_is_not_zero_stays(graph_of: GraphOf) -> None:
    model = graph_of(COMPUTED_BIAS.replace("float {0}", "float {1}").replace("OPERATOR", "Conv"), w=KERNEL)

    assert clean_up(model).counts["zero biases removed"] == 0

    assert [len(node.inputs) for node in model.graph] == [3]


def test_a_stored_zero_bias_is_a_parameter_and_stays(graph_of: GraphOf) -> None:
    text = "net (float[1, 3, 2, 2] x) => (float[1, 4, 2, 2] y) { y = Conv(x, w, k) }"
    model = graph_of(text, w=KERNEL, k=np.zeros(4, np.float32))

    assert not clean_up(model).modified

    assert set(model.graph.initializers) == {"w", "k"}


def test_weights_listed_as_inputs_are_no_inputs_afterwards(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of("net (float[2, 3] x, float[3] w) => (float[2, 3] y) { y = Add(x, w) }", w=W)

    clean_up(model)

    assert [value.name for value in model.graph.inputs] == ["x"]
    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], X + W)


@pytest.mark.parametrize("opset", [7, 10, 12, 13])
@pytest.mark.parametrize("mask", ["", ", mask"])
def test_dropout_of_old_opsets_goes(graph_of: GraphOf, outputs_of: OutputsOf, opset: int, mask: str) -> None:
    rate = "<ratio = 0.5>" if opset < 12 else ""
    model = graph_of(
        f"net (float[2, 3] x) => (float[2, 3] y) {{ a = Relu(x) b{mask} = Dropout{rate}(a) y = Neg(b) }}", opset
    )

    assert clean_up(model).modified

    assert operators(model) == ["Relu", "Neg"]
    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], -X)


def test_dropout_of_an_old_opset_whose_mask_is_used_stays(graph_of: GraphOf) -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y, bool[2, 3] mask) { y, mask = Dropout<ratio = 0.5>(x) }"
    assert not clean_up(graph_of(text, 10)).modified


def test_dropout_of_an_old_opset_at_the_end_goes(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { a = Relu(x) y = Dropout<ratio = 0.5>(a) }", 10)

    assert clean_up(model).modified

    assert [(node.op_type, node.outputs[0].name) for node in model.graph] == [("Relu", "y")]


# 1,100 x 1,100 is more than a computed constant may add to a file.
LARGE = 1100
LARGE_TEXT = "net (float[1, 1100] x) => (float[N, 1100] y) { %s }"


@pytest.mark.parametrize(
    "body",
    [
        "k = Expand(one, size) y = Add(x, k)",
        "k = ConstantOfShape(size) y = Add(x, k)",
        "k = Tile(one, size) y = Add(x, k)",
        "h = Identity(half) s = Concat<axis = 0>(half, h) k = Expand(one, s) y = Add(x, k)",
    ],
)
def test_a_large_constant_that_a_few_numbers_make_is_not_stored(graph_of: GraphOf, body: str) -> None:
    model = graph_of(
        LARGE_TEXT % body, one=np.ones((1, 1), np.float32), size=np.int64([LARGE, LARGE]), half=np.int64([LARGE])
    )

    clean_up(model)
    clean_up(model)

    assert len(operators(model)) == 2
    assert sum(value.const_value.size for value in model.graph.initializers.values()) < LARGE


@pytest.mark.parametrize(
    "body",
    [
        "k = ConstantOfShape<value = float[1] {0.5}>(size) y = MatMul(x, k)",
        "k = ConstantOfShape(size) t = Transpose(k) u = Add(t, one) y = Gemm(x, u)",
        "k = Expand(one, size) t = Identity(k) y = MatMul(x, t)",
    ],
)
def test_a_layers_weight_is_stored_whatever_its_size(graph_of: GraphOf, outputs_of: OutputsOf, body: str) -> None:
    model = graph_of(LARGE_TEXT % body, one=np.ones((1, 1), np.float32), size=np.int64([LARGE, LARGE]))
    feed = np.ones((1, LARGE), np.float32)
    before = outputs_of(model, x=feed)["y"]

    clean_up(model)

    assert len(operators(model)) == 1
    # A sum of 1,100 products of FP32.
    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], before, rtol=1e-4)


def test_a_large_constant_computed_from_another_is_stored(graph_of: GraphOf) -> None:
    """Weights that are normalized on their way into a convolution."""
    body = "m = ReduceMean(w) d = Sub(w, m) k = Div(d, s) y = MatMul(x, k)"
    weight = np.random.default_rng(0).standard_normal((LARGE, LARGE)).astype(np.float32)
    model = graph_of(LARGE_TEXT % body, w=weight, s=np.float32(2))

    clean_up(model)

    assert operators(model) == ["MatMul"]
    stored = model.graph.initializers[next(iter(model.graph)).inputs[1].name].const_value.numpy()
    np.testing.assert_allclose(stored, (weight - weight.mean()) / 2, atol=1e-5)


def test_sizes_listed_as_inputs_are_constants(graph_of: GraphOf) -> None:
    """As files had to list them before IR version 4."""
    text = "net (float[2, 3] x, int64[2] size) => (float[2, 4] y) { w = ConstantOfShape(size) y = MatMul(x, w) }"
    model = graph_of(text, size=np.int64([3, 4]))

    clean_up(model)

    assert operators(model) == ["MatMul"]
    assert not clean_up(model).modified


def test_equal_constants_become_one(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    body = "{ a = Add(x, w) b = Mul(a, v) c = Clip(b, low, high) d = MatMul(c, k) e = MatMul(d, l) y = Add(e, u) }"
    model = graph_of(
        f"net (float[2, 3] x) => (float[2, 3] y) {body}",
        w=W,
        v=W,
        u=2 * W,
        low=np.float32(6),
        high=np.float32(6),
        k=np.outer(W, W),
        l=np.outer(W, W),
    )
    before = outputs_of(model, x=X)["y"]

    assert clean_up(model).counts["equal constants merged"] == 3

    assert len(model.graph.initializers) == 4
    np.testing.assert_array_equal(outputs_of(model, x=X)["y"], before)
    assert not clean_up(model).modified


def test_equal_bytes_of_other_types_and_shapes_are_not_equal(graph_of: GraphOf) -> None:
    body = "{ a = Add(x, w) b = Mul(a, v) c = Reshape(b, s) y = Add(c, t) }"
    bits = np.int64([2, 3])
    model = graph_of(
        f"net (float[2, 3] x) => (float[2, 3] y) {body}", w=W, v=W.reshape(1, 3), s=bits, t=bits.view(np.float32)[1:2]
    )
    assert clean_up(model).counts["equal constants merged"] == 0


def test_parameters_that_have_learnt_nothing_yet_stay_apart(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {
            a = Conv(x, w, k)
            b = BatchNormalization(a, g, s, m, v)
            c = PRelu(b, p)
            d = Conv(c, u, j)
            e = BatchNormalization(d, h, t, n, z)
            y = PRelu(e, q)
        }""",
        w=np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1),
        u=np.ones((2, 2, 1, 1), np.float32),
        **dict.fromkeys("kjstmn", np.zeros(2, np.float32)),
        **dict.fromkeys("ghvz", np.ones(2, np.float32)),
        **dict.fromkeys("pq", np.full((2, 1, 1), 0.25, np.float32)),
    )
    before = count_parameters(model)

    assert not clean_up(model).modified

    assert count_parameters(model) == before == 8 + 4 + 8 + 4
