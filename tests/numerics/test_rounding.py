"""Learned rounding against rounding to nearest, by the error in what a layer puts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.insert import fake_quantize, insert_qdq, scales_of
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Grid, Range
from edgecnn.quantize.rounding import apply_roundings, find_roundings
from edgecnn.quantize.schemes import QUANT_MAX, Scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

EXAMPLES = settings(max_examples=25, deadline=None)
# Large errors count less than their squares, so nearest may be better by chance.
CHANCE = 0.01


def correlated(random: np.random.Generator, channels: int, rank: int, sides: int, count: int) -> list[np.ndarray]:
    """Pictures whose channels are mixtures of a few, and whose neighbours are alike: as a network's own are."""
    mix = random.standard_normal((channels, rank))
    pictures: list[np.ndarray] = []
    for _ in range(count):
        few = random.standard_normal((rank, sides + 2, sides + 2))
        smooth = sum(few[:, row : row + sides, column : column + sides] for row in range(3) for column in range(3))
        noise = 0.1 * random.standard_normal((channels, sides, sides))
        pictures.append(np.maximum(np.tensordot(mix, smooth, 1) + noise, 0)[None].astype(np.float32))
    return pictures


def compare(
    outputs_of: OutputsOf, make: Callable[[], Any], seen: list[np.ndarray], judged: list[np.ndarray], limit: float
) -> tuple[float, float]:
    """Mean squared errors on pictures, of learned rounding on others of their kind and of rounding to nearest."""
    learned, nearest = (rounded(make(), seen, limit, learned=how) for how in (True, False))
    return error(outputs_of, make(), learned, judged), error(outputs_of, make(), nearest, judged)


def rounded(model: Any, frames: list[np.ndarray], limit: float, *, learned: bool) -> Any:
    """A network of one layer, quantized in place."""
    placement = place(model)
    found = find_roundings(
        model, placement, {"x": Range(-limit, limit)}, ({"x": frame} for frame in frames), learned=learned
    )
    scales = apply_roundings(model, placement, found)
    insert_qdq(model, placement, {"x": Range(-limit, limit)}, scales, Scheme("test", weights_as_int8=True))
    infer_shapes(model)
    return model


def convolution(
    graph_of: GraphOf, random: np.random.Generator, channels: int, kernel: int, groups: int, sides: int
) -> Callable[[], Any]:
    pad = kernel // 2
    text = f"""net (float[1, {channels}, {sides}, {sides}] x) => (float[1, {channels}, {sides}, {sides}] y) {{
        y = Conv<group = {groups}, pads = {[pad] * 4}>(x, w, b)
    }}"""
    arrays = {
        "w": random.standard_normal((channels, channels // groups, kernel, kernel)).astype(np.float32),
        "b": random.standard_normal(channels).astype(np.float32),
    }
    return lambda: graph_of(text, **arrays)


def error(outputs_of: OutputsOf, original: Any, model: Any, frames: list[np.ndarray]) -> float:
    """Mean squared difference of the outputs."""
    pairs = [(outputs_of(original, x=frame)["y"], outputs_of(model, x=frame)["y"]) for frame in frames]
    return float(np.mean([((first.astype(np.float64) - second) ** 2).mean() for first, second in pairs]))


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    rank=st.integers(1, 3),
    kernel=st.sampled_from([1, 3]),
)
def test_learned_rounding_halves_what_rounding_weights_costs(
    graph_of: GraphOf, outputs_of: OutputsOf, seed: int, rank: int, kernel: int
) -> None:
    """On pictures that it has not seen, which lie on the grid of the inputs: all error is that of the weights."""
    random = np.random.default_rng(seed)
    frames = correlated(random, 16, rank, 12, 40)
    limit = max(float(frame.max()) for frame in frames)
    frames = [fake_quantize(frame, Grid(float(scales_of(limit)), -QUANT_MAX, QUANT_MAX)) for frame in frames]
    make = convolution(graph_of, random, 16, kernel, 1, 12)

    learned, nearest = compare(outputs_of, make, frames[:32], frames[32:], limit)

    assert learned < nearest / 2


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.sampled_from([1, 2, 8]),
    kernel=st.sampled_from([1, 3]),
    part=st.floats(0.4, 1),
)
def test_learned_rounding_costs_nothing_where_inputs_are_clipped(
    graph_of: GraphOf, outputs_of: OutputsOf, seed: int, groups: int, kernel: int, part: float
) -> None:
    """With inputs that are rounded, and clipped to a part of their range: on what that part holds."""
    random = np.random.default_rng(seed)
    frames = correlated(random, 8, 3, 8, 32)
    limit = part * max(float(frame.max()) for frame in frames)
    make = convolution(graph_of, random, 8, kernel, groups, 8)
    inside = [np.minimum(frame, QUANT_MAX * scales_of(limit)) for frame in frames]

    learned, nearest = compare(outputs_of, make, frames, inside, limit)

    assert learned <= nearest * (1 + CHANCE)
