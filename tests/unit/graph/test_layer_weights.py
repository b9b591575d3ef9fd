"""The weights of linear layers in one form, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.layer_weights import read_weights, replace_weights

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# Sums of at most 36 products of numbers near 1, in FP32.
ROUNDING = 1e-5


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


LAYERS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "Conv": ("(float[1, 4, 5, 5] x) => (float[1, 6, 3, 3] y) { y = Conv(x, w) }", {"w": normal(6, 4, 3, 3)}),
    "Conv with a bias": (
        "(float[1, 4, 5, 5] x) => (float[1, 6, 5, 5] y) { y = Conv(x, w, b) }",
        {"w": normal(6, 4, 1, 1), "b": normal(6)},
    ),
    "Conv of groups": (
        "(float[1, 4, 5, 5] x) => (float[1, 6, 4, 4] y) { y = Conv<group = 2>(x, w, b) }",
        {"w": normal(6, 2, 2, 2), "b": normal(6)},
    ),
    "Conv of one axis": ("(float[1, 4, 7] x) => (float[1, 6, 5] y) { y = Conv(x, w) }", {"w": normal(6, 4, 3)}),
    "ConvTranspose of groups": (
        "(float[1, 4, 5, 5] x) => (float[1, 6, 6, 6] y) { y = ConvTranspose<group = 2>(x, w, b) }",
        {"w": normal(4, 3, 2, 2), "b": normal(6)},
    ),
    "Gemm": ("(float[2, 4] x) => (float[2, 3] y) { y = Gemm(x, w, b) }", {"w": normal(4, 3), "b": normal(3)}),
    "Gemm without a bias": ("(float[2, 4] x) => (float[2, 3] y) { y = Gemm(x, w) }", {"w": normal(4, 3)}),
    "Gemm transposed, with factors": (
        "(float[2, 4] x) => (float[2, 3] y) { y = Gemm<transB = 1, alpha = 0.5, beta = -2.0>(x, w, b) }",
        {"w": normal(3, 4), "b": normal(3)},
    ),
    "Gemm with one bias for all": (
        "(float[2, 4] x) => (float[2, 3] y) { y = Gemm(x, w, b) }",
        {"w": normal(4, 3), "b": np.float32(0.5)},
    ),
    "Gemm with a row for a bias": (
        "(float[2, 4] x) => (float[2, 3] y) { y = Gemm(x, w, b) }",
        {"w": normal(4, 3), "b": normal(1, 3)},
    ),
    "MatMul": ("(float[2, 4] x) => (float[2, 3] y) { y = MatMul(x, w) }", {"w": normal(4, 3)}),
}


@pytest.mark.parametrize("case", LAYERS)
def test_the_form_says_what_a_layer_computes(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    """Of an input that is the same everywhere, a layer without padding makes sums over taps, which the form gives."""
    text, arrays = LAYERS[case]
    model = graph_of(f"net {text}", **arrays)
    (node,) = model.graph
    form = read_weights(node)
    assert form is not None
    groups, outputs, inputs, _ = form.weight.shape
    channels = np.linspace(-1, 2, groups * inputs)
    shape = tuple(model.graph.inputs[0].shape)
    feed = np.broadcast_to(channels.reshape(1, -1, *[1] * (len(shape) - 2)), shape).astype(np.float32)

    found = outputs_of(model, x=feed)["y"]

    middle = found[0] if found.ndim == 2 else found[(0, slice(None), *[size // 2 for size in found.shape[2:]])]
    expected = np.einsum("goit,gi->go", form.weight, channels.reshape(groups, inputs)).reshape(-1)
    np.testing.assert_allclose(middle, expected + form.bias.reshape(-1), atol=ROUNDING)
    assert form.bias.size == groups * outputs


@pytest.mark.parametrize("case", LAYERS)
def test_what_is_read_can_be_put_back(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays = LAYERS[case]
    model = graph_of(f"net {text}", **arrays)
    (node,) = model.graph
    feed = np.random.default_rng(0).standard_normal(tuple(model.graph.inputs[0].shape)).astype(np.float32)
    before = outputs_of(model, x=feed)["y"]
    form = read_weights(node)
    assert form is not None

    replace_weights(model.graph, node, form, 2 * form.weight, 2 * form.bias.reshape(-1), "doubled")

    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], 2 * before, atol=ROUNDING)
    assert len(node.inputs) == (3 if "b" in arrays else 2)  # a bias of zeros is not added
    assert set(model.graph.initializers) == {value.name for value in node.inputs[1:]}  # what was there before is gone


@pytest.mark.parametrize("case", [case for case in LAYERS if "b" not in LAYERS[case][1]])
def test_a_layer_without_a_bias_can_get_one(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays = LAYERS[case]
    model = graph_of(f"net {text}", **arrays)
    (node,) = model.graph
    feed = np.random.default_rng(0).standard_normal(tuple(model.graph.inputs[0].shape)).astype(np.float32)
    before = outputs_of(model, x=feed)["y"]
    form = read_weights(node)
    assert form is not None
    bias = np.arange(1.0, 1 + form.bias.size)

    replace_weights(model.graph, node, form, form.weight, bias, "moved")

    assert node.op_type == case.split()[0].replace("MatMul", "Gemm")
    moved = before + bias.reshape(1, -1, *[1] * (before.ndim - 2))
    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], moved, atol=ROUNDING)


def test_weights_that_layers_share_change_for_one_of_them(graph_of: GraphOf) -> None:
    model = graph_of(
        "net (float[1, 4] x) => (float[1, 4] y) { [one] a = Gemm(x, w, b) [two] y = Gemm(a, w, b) }",
        w=normal(4, 4),
        b=normal(4),
    )
    one, two = model.graph
    form = read_weights(one)
    assert form is not None

    replace_weights(model.graph, one, form, 2 * form.weight, 2 * form.bias, "doubled")

    np.testing.assert_array_equal(two.inputs[1].const_value.numpy(), normal(4, 4))
    np.testing.assert_array_equal(two.inputs[2].const_value.numpy(), normal(4))
    np.testing.assert_array_equal(one.inputs[1].const_value.numpy(), 2 * normal(4, 4))


@pytest.mark.parametrize("rows", [2, 3])
def test_a_bias_for_each_row_is_told_from_one_for_each_output(graph_of: GraphOf, rows: int) -> None:
    """Also where there are as many rows as outputs."""
    model = graph_of(
        f"net (float[{rows}, 4] x) => (float[{rows}, 3] y) {{ y = Gemm(x, w, b) }}", w=normal(4, 3), b=normal(rows, 1)
    )
    form = read_weights(next(iter(model.graph)))

    assert form is not None
    np.testing.assert_array_equal(form.bias, np.repeat(normal(rows, 1), 3, axis=1))


UNREAD: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "weights computed": ("(float[2, 4] x, float[4, 3] w) => (float[2, 3] y) { y = MatMul(x, w) }", {}),
    "bias computed": (
        "(float[2, 4] x, float[3] b) => (float[2, 3] y) { y = Gemm(x, w, b) }",
        {"w": normal(4, 3)},
    ),
    "weights of three dimensions": (
        "(float[2, 5, 4] x) => (float[2, 5, 3] y) { y = MatMul(x, w) }",
        {"w": normal(2, 4, 3)},
    ),
    "weights of one dimension": ("(float[2, 4] x) => (float[2] y) { y = MatMul(x, w) }", {"w": normal(4)}),
}


@pytest.mark.parametrize("case", UNREAD)
def test_other_layers_have_no_form(graph_of: GraphOf, case: str) -> None:
    text, arrays = UNREAD[case]

    assert read_weights(next(iter(graph_of(f"net {text}", **arrays).graph))) is None


def test_doubles_stay_doubles(graph_of: GraphOf) -> None:
    model = graph_of("net (double[1, 4] x) => (double[1, 3] y) { y = Gemm(x, w) }", w=normal(4, 3).astype(np.float64))
    (node,) = model.graph
    form = read_weights(node)
    assert form is not None

    replace_weights(model.graph, node, form, form.weight, np.ones(3), "moved")

    assert {value.const_value.numpy().dtype for value in node.inputs[1:]} == {np.dtype(np.float64)}
