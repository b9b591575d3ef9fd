"""ReLU6 that is moved to use both halves of a signed range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.centre import centre_activations, find_centrable
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import QUANT_MAX, Scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

PICTURE = "float[1, 4, 6, 6]"
RANDOM = np.random.default_rng(0)
X = [3 * RANDOM.standard_normal((1, 4, 6, 6)).astype(np.float32) for _ in range(4)]
# Sums of at most 36 products of numbers below 6, in FP32, and as large a sum taken off again.
ROUNDING = 1e-4


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


ARRAYS = {
    "zero": np.float32(0),
    "six": np.float32(6),
    "w": normal(4, 4, 1, 1),
    "b": normal(4),
    "v": normal(5, 4, 1, 1),
    "c": normal(5),
    "v3": normal(5, 4, 3, 3),
    "d3": normal(4, 1, 3, 3),
    "u": normal(4, 3),
    "below": np.float32(-1),
}


def centred(model: Any, limit: float = 6.0) -> tuple[int, dict[str, Range]]:
    """Centre what costs nothing."""
    placement = place(model)
    ranges = {str(value.name): Range(0, limit) for value in placement.activations}
    return centre_activations(model, placement, ranges, find_centrable(placement).free), ranges


# What comes after ``x``; the Clip's output is r.
CENTRED: dict[str, str] = {
    "Conv": f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v, c) }}",
    "no biases": f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w) r = Clip(a, zero, six) y = Conv(r, v) }}",
    "3 by 3 without padding": f"""{PICTURE} x) => (float[1, 5, 4, 4] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<pads = [0, 0, 0, 0]>(r, v3, c)
    }}""",
    "no padding by name": f"""{PICTURE} x) => (float[1, 5, 2, 2] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<auto_pad = "VALID", strides = [2, 2]>(r, v3)
    }}""",
    "depthwise": f"""{PICTURE} x) => (float[1, 4, 4, 4] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<group = 4>(r, d3)
    }}""",
    "two readers": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, float[1, 5, 4, 4] z) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v) z = Conv(r, v3, c)
    }}""",
    "shared weights": f"""{PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, w, b)
    }}""",
    "Gemm": """float[2, 4] x) => (float[2, 3] y) {
        a = Gemm<transB = 1>(x, w2, b) r = Clip(a, zero, six) y = Gemm<alpha = 0.5, beta = 2.0>(r, u, k)
    }""",
}


@pytest.mark.parametrize("limit", [6.0, 4.5])
@pytest.mark.parametrize("case", CENTRED)
def test_a_centred_activation_changes_nothing_behind_it(
    graph_of: GraphOf, outputs_of: OutputsOf, case: str, limit: float
) -> None:
    arrays = ARRAYS | {"w2": normal(4, 4), "k": normal(3)}
    original, model = (graph_of(f"net ({CENTRED[case]}", **arrays) for _ in range(2))
    nodes = [node.op_type for node in model.graph]

    count, ranges = centred(model, limit)

    assert count == 1
    assert ranges == {"x": Range(0, limit), "r": Range(-limit / 2, limit / 2)}
    assert [node.op_type for node in model.graph] == nodes
    feeds = X if case != "Gemm" else [picture[0, :2, 0, :4] for picture in X]
    for feed in feeds:
        expected = outputs_of(original, x=feed)
        for name, found in outputs_of(model, x=feed).items():
            np.testing.assert_allclose(found, expected[name], atol=ROUNDING)


def test_the_activation_lies_around_zero(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(f"net ({CENTRED['Conv']}", **ARRAYS)
    centred(model)
    model.graph.outputs.append(next(node for node in model.graph if node.op_type == "Clip").outputs[0])

    values = np.concatenate([outputs_of(model, x=feed)["r"] for feed in X])

    assert values.min() == -3
    assert values.max() == 3


# Where 0 beyond the border, or in another reader, would become something else.
STAYS: dict[str, str] = {
    "padding": f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<pads = [1, 1, 1, 1]>(r, v3)
    }}""",
    "padding that depends on the picture": f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<auto_pad = "SAME_UPPER">(r, v3)
    }}""",
    "one reader of two pads": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, float[1, 5, 6, 6] z) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v) z = Conv<pads = [1, 1, 1, 1]>(r, v3)
    }}""",
    "a reader without weights": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, {PICTURE} z) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v) z = Exp(r)
    }}""",
    "a residual addition": f"""{PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) e = Conv(r, w) y = Add(e, r)
    }}""",
    "pooling between": f"""{PICTURE} x) => (float[1, 5, 5, 5] y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) p = MaxPool<kernel_shape = [2, 2]>(r) y = Conv(p, v)
    }}""",
    "an output": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, {PICTURE} r) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v)
    }}""",
    "an output before it": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, {PICTURE} a) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v)
    }}""",
    "another reader before it": f"""{PICTURE} x) => (float[1, 5, 6, 6] y, {PICTURE} z) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v) z = Exp(a)
    }}""",
    "Relu": f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) }}",
    "no upper bound": f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w, b) r = Clip(a, zero) y = Conv(r, v) }}",
    "another lower bound": f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
        a = Conv(x, w, b) r = Clip(a, below, six) y = Conv(r, v)
    }}""",
    "a bound that is computed": f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
        a = Conv(x, w, b) top = ReduceMax<keepdims = 0>(x) r = Clip(a, zero, top) y = Conv(r, v)
    }}""",
    "the input": f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ r = Clip(x, zero, six) y = Conv(r, v) }}",
    "after an addition": f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
        a = Conv(x, w, b) s = Add(a, x) r = Clip(s, zero, six) y = Conv(r, v)
    }}""",
    "as a bias": """float[1, 4] x) => (float[1, 4] y) {
        a = Gemm(x, w2) r = Clip(a, zero, six) y = Gemm(r, w2, r)
    }""",
}


@pytest.mark.parametrize("case", STAYS)
def test_other_activations_stay(graph_of: GraphOf, case: str) -> None:
    model = graph_of(f"net ({STAYS[case]}", **ARRAYS, w2=normal(4, 4))
    before = ir.to_proto(model).SerializeToString()

    count, ranges = centred(model)

    assert count == 0
    assert set(ranges.values()) == {Range(0, 6)}
    assert ir.to_proto(model).SerializeToString() == before


# Where it takes a node, with those that are added.
COSTLY: dict[str, tuple[str, list[str]]] = {
    "padding": (
        f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
            a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<pads = [1, 1, 1, 1]>(r, v3, c)
        }}""",
        ["Pad"],
    ),
    "depthwise, with strides": (
        f"""{PICTURE} x) => (float[1, 4, 3, 3] y) {{
            a = Conv(x, w, b) r = Clip(a, zero, six)
            y = Conv<group = 4, pads = [0, 1, 1, 0], strides = [2, 2], kernel_shape = [3, 3]>(r, d3)
        }}""",
        ["Pad"],
    ),
    "two readers with one padding, one without": (
        f"""{PICTURE} x) => (float[1, 5, 6, 6] y, {PICTURE} z, float[1, 5, 6, 6] q) {{
            a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<pads = [1, 1, 1, 1]>(r, v3)
            z = Conv<pads = [1, 1, 1, 1], group = 4>(r, d3) q = Conv(r, v, c)
        }}""",
        ["Pad"],
    ),
    "two paddings": (
        f"""{PICTURE} x) => (float[1, 5, 6, 6] y, float[1, 5, 8, 8] z) {{
            a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv<pads = [1, 1, 1, 1]>(r, v3)
            z = Conv<pads = [2, 2, 2, 2]>(r, v3)
        }}""",
        ["Pad", "Pad"],
    ),
    "Relu": (
        f"{PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) }}",
        ["Add"],
    ),
    "Swish with padding": (
        f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{
            a = Conv(x, w, b) s = Sigmoid(a) r = Mul(a, s) y = Conv<pads = [1, 1, 1, 1]>(r, v3)
        }}""",
        ["Add", "Pad"],
    ),
    "a layer's own output": (
        f"""{PICTURE} x) => (float[1, 5, 6, 6] y) {{ r = Conv(x, w, b) y = Conv<pads = [1, 1, 1, 1]>(r, v3) }}""",
        ["Pad"],
    ),
}


@pytest.mark.parametrize("case", COSTLY)
def test_what_takes_a_node_changes_nothing_either(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, nodes = COSTLY[case]
    original, model = (graph_of(f"net ({text}", **ARRAYS) for _ in range(2))
    placement = place(model)
    found = find_centrable(placement)
    assert (found.free, found.costly) == ((), ("r",))
    ranges = {"x": Range(-1, 1), "r": Range(-0.25, 5)}

    assert centre_activations(model, placement, ranges, found.costly) == 1

    added = sorted(node.op_type for node in model.graph)
    for node in original.graph:
        added.remove(node.op_type)
    assert added == nodes
    infer_shapes(model)
    for value in place(model).activations:
        assert ranges[str(value.name)] == (Range(-1, 1) if value.name == "x" else Range(-2.625, 2.625))
    for feed in X:
        expected = outputs_of(original, x=feed)
        for name, made in outputs_of(model, x=feed).items():
            np.testing.assert_allclose(made, expected[name], atol=ROUNDING)


def test_what_lies_around_zero_stays(graph_of: GraphOf) -> None:
    text, _ = COSTLY["a layer's own output"]
    model = graph_of(f"net ({text}", **ARRAYS)
    ranges = {"x": Range(-1, 1), "r": Range(-4, 5)}

    assert centre_activations(model, place(model), ranges, ["r"]) == 0

    assert ranges == {"x": Range(-1, 1), "r": Range(-4, 5)}


def test_an_activation_that_was_always_zero_stays(graph_of: GraphOf) -> None:
    assert centred(graph_of(f"net ({CENTRED['Conv']}", **ARRAYS), limit=0.0)[0] == 0


def test_the_error_of_what_reads_it_falls_to_a_quarter(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """Half the range is half the step, and a quarter of its square.

    Weights are exact here and the picture is left in FP32, so that only the activation's rounding is seen.
    """
    text = f"net ({PICTURE} x) => (float[1, 5, 6, 6] y) {{ a = Conv(x, w) r = Clip(a, zero, six) y = Conv(r, v) }}"
    # A scale of 1/128 is exact, so that all of the error is r's.
    whole = np.float32(QUANT_MAX / 128)
    arrays = ARRAYS | {
        "w": whole * np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1),
        "v": whole * np.sign(normal(5, 4, 1, 1)),
    }
    feeds = [np.random.default_rng(seed).uniform(0, 6, (1, 4, 6, 6)).astype(np.float32) for seed in range(20)]
    errors: list[float] = []
    for centre in (False, True):
        model = graph_of(text, **arrays)
        placement = place(model)
        ranges = {"x": Range(-6, 6), "r": Range(0, 6)}
        if centre:
            assert centre_activations(model, placement, ranges, ["r"]) == 1
        del placement.activations[model.graph.inputs[0]]
        insert_qdq(model, placement, ranges, {}, Scheme("test", weights_as_int8=True))
        infer_shapes(model)
        original = graph_of(text, **arrays)
        pairs = [(outputs_of(model, x=feed)["y"], outputs_of(original, x=feed)["y"]) for feed in feeds]
        errors.append(float(np.mean([((first - second) ** 2).mean() for first, second in pairs])))

    # Four channels, each with an error spread evenly over a step of 6 / 127.
    assert errors[0] == pytest.approx(4 * (6 / QUANT_MAX) ** 2 / 12, rel=0.1)
    assert errors[1] == pytest.approx(errors[0] / 4, rel=0.1)
