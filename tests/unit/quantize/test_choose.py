"""One of several ranges, by what it does to the outputs of the layers that read a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.choose import choose_ranges
from edgecnn.quantize.insert import activation_grid, fake_quantize
from edgecnn.quantize.network import calibrate_network
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, TENSORRT, Scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

SYMMETRIC = (Range(-8, 8), Range(-4, 4), Range(-2, 2), Range(-1, 1), Range(-0.5, 0.5))
AFFINE = (Range(-1, 8), Range(-0.5, 4), Range(-2, 2), Range(0, 1))
IMAGE = "(float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y)"


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def pictures(size: tuple[float, float, float], count: int = 8) -> list[np.ndarray]:
    """With channels of three sizes, and heavy tails."""
    random = np.random.default_rng(5)
    values = random.laplace(size=(count, 1, 3, 8, 8)) * np.reshape(size, (3, 1, 1))
    return list(values.astype(np.float32))


def choose(
    model: Any, frames: list[np.ndarray], candidates: tuple[Range, ...] = SYMMETRIC, scheme: Scheme = TENSORRT
) -> Range:
    infer_shapes(model)
    found = choose_ranges(model, place(model, (), scheme), {"x": candidates}, ({"x": each} for each in frames), scheme)
    assert list(found) == ["x"]
    return found["x"]


LAYERS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "1 by 1": (f"{IMAGE} {{ y = Conv(x, w) }}", {"w": normal(4, 3, 1, 1)}),
    "3 by 3": (f"{IMAGE} {{ y = Conv<pads = [1, 1, 1, 1]>(x, w, b) }}", {"w": normal(4, 3, 3, 3), "b": normal(4)}),
    "depthwise": (
        "(float[1, 3, 8, 8] x) => (float[1, 3, 4, 4] y) { y = Conv<group=3, pads=[1, 1, 0, 0], strides=[2, 2]>(x, w) }",
        {"w": normal(3, 1, 3, 3)},
    ),
}


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 0.2, 0.1), (0.05, 0.3, 0.1)])
@pytest.mark.parametrize("scheme", [TENSORRT, ONNXRUNTIME_X86])
@pytest.mark.parametrize("layer", LAYERS)
def test_it_is_the_range_with_the_smallest_variance_of_the_outputs_error(
    graph_of: GraphOf, outputs_of: OutputsOf, layer: str, scheme: Scheme, size: tuple[float, float, float]
) -> None:
    """As ONNX Runtime computes it. The pictures are so small that none of their places is left out."""
    text, arrays = LAYERS[layer]
    model, frames = graph_of(f"net {text}", **arrays), pictures(size)
    candidates = SYMMETRIC if scheme.symmetric else AFFINE

    # The layer's output is the network's, which stays float.
    found = choose(model, frames, candidates, scheme if scheme.symmetric else LINEAR_AFFINE)

    errors: list[float] = []
    for each in candidates:
        grid = activation_grid(each, scheme)
        pairs = [(outputs_of(model, x=x)["y"], outputs_of(model, x=fake_quantize(x, grid))["y"]) for x in frames]
        error = np.concatenate([exact - rounded for exact, rounded in pairs]).astype(np.float64)
        errors.append(float(error.var(axis=(0, 2, 3)).sum()))
    assert found == candidates[int(np.argmin(errors))]


LINEAR_AFFINE = Scheme("affine", weights_as_int8=True, symmetric=False)


def test_a_channel_that_is_not_read_does_not_widen_the_range(graph_of: GraphOf) -> None:
    """The tensor's own squared error would have it otherwise."""
    frames = pictures((4, 0.1, 0.1))
    weight = np.ones((1, 3, 1, 1), np.float32)
    unread = weight * np.float32([0, 1, 1]).reshape(1, 3, 1, 1)
    text = "net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y) { y = Conv(x, w) }"

    assert choose(graph_of(text, w=unread), frames).high <= 1
    assert choose(graph_of(text, w=weight), frames).high >= 4


def test_what_a_bias_can_make_up_for_is_no_error(graph_of: GraphOf) -> None:
    """Values that are always near 3: clipped to 2 they are off by the same everywhere, and finer steps do not help."""
    frames = [3 + 1e-3 * each for each in pictures((1, 1, 1))]
    text = "net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y) { y = Conv(x, w) }"
    weight = np.ones((1, 3, 1, 1), np.float32)

    # 3.024 is the step next to 3 with the first, and the only one that is met: constant as well, and first of equals.
    found = choose(graph_of(text, w=weight), frames, (Range(-2, 2), Range(-8, 8)))

    assert found == Range(-2, 2)


def test_an_addition_cannot_make_up_for_anything(graph_of: GraphOf) -> None:
    text = """net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) {
        v = Relu(x)
        a = Conv(v, w)
        y = Add(x, a)
    }"""
    frames = [3 + 1e-3 * each for each in pictures((1, 1, 1))]

    assert choose(graph_of(text, w=normal(3, 3, 1, 1)), frames, (Range(-2, 2), Range(-8, 8))) == Range(-8, 8)


def test_all_readers_have_a_say(graph_of: GraphOf) -> None:
    """One reads what is small, the other what is large; together they are better off with what is best for neither."""
    frames = pictures((4, 0.02, 0.02))
    small, large = (np.float32(row).reshape(1, 3, 1, 1) for row in ([0, 1, 1], [1, 0, 0]))
    alone = "net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y) { y = Conv(x, w) }"
    both = """net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y, float[1, 1, 8, 8] z) {
        y = Conv(x, w)
        z = Conv(x, v)
    }"""
    candidates = (Range(-32, 32), Range(-8, 8), Range(-0.2, 0.2))

    assert choose(graph_of(alone, w=small), frames, candidates) == Range(-0.2, 0.2)
    assert choose(graph_of(alone, w=large), frames, candidates) == Range(-32, 32)
    assert choose(graph_of(both, w=small, v=large), frames, candidates) == Range(-8, 8)


def test_where_there_is_no_choice_nothing_is_run(graph_of: GraphOf) -> None:
    model = graph_of(f"net {LAYERS['1 by 1'][0]}", **LAYERS["1 by 1"][1])
    infer_shapes(model)

    def never() -> Iterator[dict[str, np.ndarray]]:
        raise AssertionError
        yield {}

    found = choose_ranges(model, place(model), {"x": (Range(-1, 1),), "unread": (Range(0, 0),)}, never(), TENSORRT)

    assert found == {"x": Range(-1, 1), "unread": Range(0, 0)}


def test_zeros_get_the_first_range(graph_of: GraphOf) -> None:
    model = graph_of(f"net {LAYERS['1 by 1'][0]}", **LAYERS["1 by 1"][1])

    assert choose(model, [np.zeros((1, 3, 8, 8), np.float32)]) == SYMMETRIC[0]


def test_a_recipe_with_auto_chooses_on_some_of_the_pictures(graph_of: GraphOf) -> None:
    asked: list[tuple[str, int | None]] = []

    def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        asked.append((purpose, most))
        return ({"x": each} for each in pictures((4, 0.1, 0.1), 50)[:most])

    weight = np.float32([0, 1, 1]).reshape(1, 3, 1, 1)
    text = "net (float[1, 3, 8, 8] x) => (float[1, 1, 8, 8] y) { y = Conv(x, w) }"
    by_error, by_readers = (
        calibrate_network(
            graph_of(text, w=weight), feeds, QuantizePart.model_validate({"observer": observer, "equalize": False})
        ).ranges["x"]
        for observer in ("mse", "auto")
    )

    assert by_readers.high < by_error.high
    assert asked == [
        ("calibrate ranges", None),
        ("read pictures again", 200),
        ("calibrate ranges", None),
        ("choose ranges", 32),
        ("read pictures again", 200),
    ]
