"""Where Q/DQ pairs go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.quantize.place import Placement, place

GraphOf = Callable[..., Any]


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


W = ones(3, 3, 1, 1)
PICTURE = "float[1, 3, 4, 4]"


def uses(placement: Placement) -> dict[str, list[tuple[str, int]]]:
    """For each value to quantize, who reads the quantized one: node and input."""
    return {
        str(value.name): [(str(node.name), position) for node, position in readers]
        for value, readers in placement.activations.items()
    }


def test_inputs_are_quantized_and_outputs_are_not(graph_of: GraphOf) -> None:
    model = graph_of(
        f"net ({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w) b = Relu(a) [two] y = Conv(b, w) }}", w=W
    )

    placement = place(model)

    assert uses(placement) == {"x": [("one", 0)], "b": [("two", 0)]}
    assert [(point.node.name, point.axis) for point in placement.weights] == [("one", 0), ("two", 0)]
    assert placement.left_out == {}


def test_layers_that_read_one_value_share_its_pair(graph_of: GraphOf) -> None:
    model = graph_of(
        f"net ({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w) [two] b = Conv(x, w) y = Mul(a, b) }}", w=W
    )

    assert uses(place(model)) == {"x": [("one", 0), ("two", 0)]}


@pytest.mark.parametrize(
    ("order", "position", "pairs"),
    [("b, x", 1, {"x": [("one", 0), ("sum", 1)]}), ("x, b", 0, {"x": [("one", 0), ("sum", 0)]})],
)
def test_of_a_residual_block_the_identity_is_quantized(
    graph_of: GraphOf, order: str, position: int, pairs: dict[str, list[tuple[str, int]]]
) -> None:
    model = graph_of(
        f"""net ({PICTURE} x) => ({PICTURE} y) {{
            [one] a = Conv(x, w)
            r = Relu(a)
            [two] b = Conv(r, w)
            [sum] s = Add({order})
            y = Relu(s)
        }}""",
        w=W,
    )

    assert uses(place(model)) == pairs | {"r": [("two", 0)]}


def test_of_a_block_with_a_projection_the_second_branch_is_quantized(graph_of: GraphOf) -> None:
    model = graph_of(
        f"net ({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w) [two] b = Conv(x, w) [sum] y = Add(a, b) }}", w=W
    )

    assert uses(place(model)) == {"x": [("one", 0), ("two", 0)], "b": [("sum", 1)]}


# Additions that no convolution takes in: the sum of the values, and what else is in the graph.
PLAIN: dict[str, tuple[str, str]] = {
    "a constant": (f"{PICTURE} y", "{ [one] a = Conv(x, w) y = Add(a, k) }"),
    "a constant first": (f"{PICTURE} y", "{ [one] a = Conv(x, w) y = Add(k, a) }"),
    "after an activation": (f"{PICTURE} y", "{ [one] a = Conv(x, w) b = Relu(a) c = Exp(x) y = Add(b, c) }"),
    "read by another": (f"{PICTURE} y", "{ [one] a = Conv(x, w) b = Add(a, x) y = Mul(a, b) }"),
    "seen from outside": (f"{PICTURE} y, {PICTURE} a", "{ [one] a = Conv(x, w) y = Add(a, x) }"),
    "a value and itself": (f"{PICTURE} y", "{ [one] a = Conv(x, w) y = Add(a, a) }"),
}


@pytest.mark.parametrize("case", PLAIN)
def test_other_additions_are_left_alone(graph_of: GraphOf, case: str) -> None:
    outputs, body = PLAIN[case]
    model = graph_of(f"net ({PICTURE} x) => ({outputs}) {body}", w=W, k=ones(1, 3, 1, 1))

    assert uses(place(model)) == {"x": [("one", 0)]}


def test_a_convolution_that_is_not_quantized_takes_no_addition_in(graph_of: GraphOf) -> None:
    """Three channels a group: quantizing the identity would cost accuracy for nothing."""
    model = graph_of(
        "net (float[1, 6, 4, 4] x) => (float[1, 6, 4, 4] y) { a = Conv<group = 2>(x, w) y = Add(a, x) }",
        w=ones(6, 3, 1, 1),
    )

    assert uses(place(model)) == {}


def test_a_layer_can_be_left_out_by_choice(graph_of: GraphOf) -> None:
    """Then its input stays as it is, unless others want it, and no addition goes into it."""
    model = graph_of(
        f"""net ({PICTURE} x) => ({PICTURE} y) {{
            [one] a = Conv(x, w)
            r = Relu(a)
            [two] b = Conv(r, w)
            [sum] y = Add(b, x)
        }}""",
        w=W,
    )

    placement = place(model, {"two"})

    assert placement.left_out == {"two": "it is left out by choice"}
    assert uses(placement) == {"x": [("one", 0)]}


def test_an_addition_can_be_left_out_by_choice(graph_of: GraphOf) -> None:
    model = graph_of(f"net ({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w) [sum] y = Add(a, x) }}", w=W)

    assert uses(place(model)) == {"x": [("one", 0), ("sum", 1)]}
    assert uses(place(model, {"sum"})) == {"x": [("one", 0)]}


LEFT_OUT: dict[str, tuple[str, dict[str, np.ndarray], str]] = {
    "three channels a group": (
        "net (float[1, 6, 4, 4] x) => (float[1, 6, 4, 4] y) { [odd] y = Conv<group = 2>(x, w) }",
        {"w": ones(6, 3, 1, 1)},
        "INT8 wants a multiple of 4 channels a group, and there are 3 and 3",
    ),
    "two outputs a group": (
        "net (float[1, 4, 4, 4] x) => (float[1, 8, 4, 4] y) { [odd] y = Conv<group = 4>(x, w) }",
        {"w": ones(8, 1, 1, 1)},
        "INT8 wants a multiple of 4 channels a group, and there are 1 and 2",
    ),
    "weights computed": (
        f"net ({PICTURE} x, float[3, 3, 1, 1] w) => ({PICTURE} y) {{ [odd] y = Conv(x, w) }}",
        {},
        "its weights are computed at run time",
    ),
    "input constant": (
        f"net ({PICTURE} x) => ({PICTURE} y) {{ [odd] a = Conv(k, w) y = Add(x, a) }}",
        {"k": ones(1, 3, 4, 4), "w": W},
        "its input is constant",
    ),
    "input transposed": (
        "net (float[3, 2] x) => (float[2, 4] y) { [odd] y = Gemm<transA = 1>(x, w) }",
        {"w": ones(3, 4)},
        "its input is transposed",
    ),
    "weights of three dimensions": (
        "net (float[2, 4, 3] x) => (float[2, 4, 5] y) { [odd] y = MatMul(x, w) }",
        {"w": ones(2, 3, 5)},
        "its weights have not two dimensions",
    ),
    "double precision": (
        "net (double[1, 3, 4, 4] x) => (double[1, 3, 4, 4] y) { [odd] y = Conv(x, w) }",
        {"w": W.astype(np.float64)},
        "its input is not FP32",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_says_why(graph_of: GraphOf, case: str) -> None:
    text, weights, reason = LEFT_OUT[case]

    placement = place(graph_of(text, **weights))

    assert placement.left_out == {"odd": reason}
    assert not placement.weights
    assert not placement.activations


def test_layers_without_names_are_each_left_out(graph_of: GraphOf) -> None:
    model = graph_of(
        "net (float[1, 6, 4, 4] x) => (float[1, 6, 4, 4] y) { a = Conv<group = 2>(x, w) y = Conv<group = 2>(a, w) }",
        w=ones(6, 3, 1, 1),
    )

    assert sorted(place(model).left_out) == ["a", "y"]


AXES: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    "Conv": ("(float[1, 4, 4, 4] x) => (float[1, 8, 4, 4] y) { y = Conv(x, w) }", (8, 4, 1, 1), 0),
    "Conv of groups of four": (
        "(float[1, 8, 4, 4] x) => (float[1, 8, 4, 4] y) { y = Conv<group = 2>(x, w) }",
        (8, 4, 1, 1),
        0,
    ),
    "depthwise Conv": ("(float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y) { y = Conv<group = 3>(x, w) }", (3, 1, 1, 1), 0),
    "ConvTranspose": ("(float[1, 4, 4, 4] x) => (float[1, 8, 4, 4] y) { y = ConvTranspose(x, w) }", (4, 8, 1, 1), None),
    "Gemm": ("(float[2, 4] x) => (float[2, 8] y) { y = Gemm(x, w) }", (4, 8), 1),
    "Gemm transposed": ("(float[2, 4] x) => (float[2, 8] y) { y = Gemm<transB = 1>(x, w) }", (8, 4), 0),
    "MatMul": ("(float[2, 3, 4] x) => (float[2, 3, 8] y) { y = MatMul(x, w) }", (4, 8), 1),
}


@pytest.mark.parametrize("case", AXES)
def test_scales_run_along_the_output_channels(graph_of: GraphOf, case: str) -> None:
    text, shape, axis = AXES[case]

    placement = place(graph_of(f"net {text}", w=ones(*shape)))

    assert [point.axis for point in placement.weights] == [axis]
