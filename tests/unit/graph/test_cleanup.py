"""Cleaning up: what goes, what stays, and that a second time finds nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.cleanup import clean_up

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
    model = graph_of(f"net (float[2, 3] x) => (float[2, 3] y) {body}", opset, w=W, rate=np.float32(0.5))
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
