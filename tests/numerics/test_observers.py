"""Ranges from streams of values, against the same values seen at once."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn.core.percentiles import nearest_rank
from edgecnn.quantize.histograms import BINS, ChannelHistogram, Extremes, Histogram
from edgecnn.quantize.observers import minmax, mse, percentile
from edgecnn.quantize.ranges import Grid, Range
from edgecnn.quantize.schemes import QUANT_MAX

EXAMPLES = settings(max_examples=150, deadline=None)
# float32 divisions decide which bin a value at an edge is in.
EDGE = 1e-6

# Whole tensors of anything that a network may hold: zeros, one sign, values 60 orders of magnitude apart.
magnitudes = st.floats(2.0**-100, 2.0**100, width=32)
numbers = st.one_of(st.just(0.0), st.floats(-8, 8, width=32), magnitudes, magnitudes.map(lambda value: -value))
batches = st.lists(arrays(np.float32, st.integers(0, 40), elements=numbers), min_size=1, max_size=6)
# What activations look like: a few shapes of distribution, of any spread, in batches of growing and falling reach.
shapes = st.sampled_from(["normal", "laplace", "uniform", "relu", "negative", "two values"])


def sample(shape: str, seed: int, count: int = 2000) -> np.ndarray:
    random = np.random.default_rng(seed)
    match shape:
        case "normal":
            values = random.standard_normal(count)
        case "laplace":
            values = random.laplace(size=count)
        case "uniform":
            values = random.uniform(-1, 1, count)
        case "relu":
            values = np.maximum(random.standard_normal(count), 0)
        case "negative":
            values = -np.abs(random.standard_normal(count)) - 0.5
        case _:
            values = random.choice([0.0, 1.0], count)
    return values.astype(np.float32)


def quantization_error(values: np.ndarray, limit: float) -> float:
    """Root of the mean squared error of rounding to 127 steps either way up to ``limit``, and clipping."""
    return grid_error(values, Range(-limit, limit).grid(symmetric=True))


def grid_error(values: np.ndarray, grid: Grid) -> float:
    scale = grid.scale or 1.0
    restored = np.clip(np.rint(values.astype(np.float64) / scale), grid.lowest, grid.highest) * scale
    return math.sqrt(float(((values - restored) ** 2).mean()))


@EXAMPLES
@given(batches)
def test_a_widened_histogram_is_the_one_of_a_single_pass(parts: list[np.ndarray]) -> None:
    streamed = Histogram()
    for part in parts:
        streamed.update(part)

    at_once = Histogram()
    at_once.top = streamed.top
    at_once.update(np.concatenate(parts))

    np.testing.assert_array_equal(streamed.counts, at_once.counts)
    assert streamed.counts.sum() == sum(part.size for part in parts)


@EXAMPLES
@given(batches)
def test_a_histogram_reaches_its_largest_value_and_not_far_beyond(parts: list[np.ndarray]) -> None:
    histogram = Histogram()
    for part in parts:
        histogram.update(part)

    peak = max((float(np.abs(part).max(initial=0)) for part in parts), default=0.0)
    assert histogram.extent().peak >= peak * (1 - EDGE)
    assert histogram.extent().peak <= peak + histogram.top / BINS * (1 + EDGE)
    assert histogram.top < 2 * peak or peak == histogram.top


@EXAMPLES
@given(batches)
def test_min_max_is_the_largest_absolute_value(parts: list[np.ndarray]) -> None:
    observer = Extremes()
    for part in parts:
        observer.update(part)

    values = np.concatenate(parts)
    assert minmax(observer, symmetric=True).high == float(np.abs(values).max(initial=0))
    assert minmax(observer, symmetric=False) == Range(float(values.min(initial=0)), float(values.max(initial=0)))


@EXAMPLES
@given(
    shape=shapes,
    seed=st.integers(0, 2**32 - 1),
    scales=st.lists(st.floats(2**-6, 2**6), min_size=1, max_size=4),
    percent=st.floats(90, 100),
)
def test_a_percentile_is_that_of_the_sorted_values_within_a_bin(
    shape: str, seed: int, scales: list[float], percent: float
) -> None:
    histogram = Histogram()
    parts = [sample(shape, seed + index, 500) * np.float32(scale) for index, scale in enumerate(scales)]
    for part in parts:
        histogram.update(part)

    expected = nearest_rank(np.sort(np.abs(np.concatenate(parts))), percent)

    assert (
        expected * (1 - EDGE)
        <= percentile(histogram, percent, symmetric=True).high
        <= expected + histogram.top / BINS * (1 + EDGE)
    )


@EXAMPLES
@given(shape=shapes, seed=st.integers(0, 2**32 - 1), scales=st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
def test_mse_is_never_worse_than_min_max(shape: str, seed: int, scales: list[float]) -> None:
    """Measured on the values themselves, not on the histogram.

    The distance to the nearest step changes by no more than the value does, and a histogram knows a value to within
    half a bin. So what it takes for the best range is at most half a bin worse than it thinks, min-max half a bin
    better, and the highest bin's edge is a bin above the largest value at most.
    """
    histogram = Histogram()
    parts = [sample(shape, seed + index) * np.float32(scale) for index, scale in enumerate(scales)]
    for part in parts:
        histogram.update(part)
    values = np.concatenate(parts)

    bin_width = histogram.top / BINS
    for symmetric in (True, False):
        best, all_of_it = (
            grid_error(values, observer(histogram, symmetric=symmetric).grid(symmetric=symmetric))
            for observer in (mse, minmax)
        )
        assert best <= all_of_it + 2 * bin_width


@EXAMPLES
@given(shape=shapes, seed=st.integers(0, 2**32 - 1), offset=st.floats(-3, 3))
def test_mse_of_two_ends_is_that_of_a_search_over_both(shape: str, seed: int, offset: float) -> None:
    """All pairs of a grid are tried on the values themselves."""
    values = sample(shape, seed) + np.float32(offset)
    histogram = Histogram()
    histogram.update(values)

    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best = min(
        grid_error(values, Range(low * left, high * right).grid(symmetric=False))
        for left in np.linspace(0.5, 1, 11)
        for right in np.linspace(0.5, 1, 11)
    )

    # Half a bin for each value, twice, as above; the grid's parts of the range lie between those tried.
    found = grid_error(values, mse(histogram, symmetric=False).grid(symmetric=False))
    assert found <= best * 1.02 + 2 * (high - low) / BINS


reaches = st.one_of(st.just(0.0), st.floats(1e-30, 1e6))


@EXAMPLES
@given(low=reaches.map(lambda reach: -reach), high=reaches, part=st.floats(0, 1), symmetric=st.booleans())
def test_a_grid_has_zero_and_all_of_the_range_within_half_a_step(
    low: float, high: float, part: float, symmetric: bool
) -> None:
    grid = Range(low, high).grid(symmetric=symmetric)
    value = low + part * (high - low)

    step = np.clip(np.rint(value / grid.scale), grid.lowest, grid.highest) if grid.scale else 0.0

    assert grid.lowest <= 0 <= grid.highest
    assert grid.highest - grid.lowest == (2 * QUANT_MAX if symmetric else 255)
    # An end may move by half a step when zero is put on the grid, and what is rounded to it by half a step more.
    assert abs(value - step * grid.scale) <= grid.scale * (1 + 1e-6)


# Values of a channel: heavy tails, which make clipping pay, of any size within a histogram's 48 octaves.
tails = st.sampled_from(["normal", "laplace", "student", "lognormal", "outlier"])


def heavy(kind: str, random: np.random.Generator, count: int) -> np.ndarray:
    match kind:
        case "normal":
            return random.standard_normal(count)
        case "laplace":
            return random.laplace(size=count)
        case "student":
            return random.standard_t(3, size=count)
        case "lognormal":
            return random.lognormal(sigma=1.5, size=count)
        case _:
            return np.append(random.standard_normal(count - 1), 60.0)


@EXAMPLES
@given(
    kinds=st.lists(st.tuples(tails, st.floats(2.0**-12, 2.0**4)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    batches_of=st.integers(1, 3),
)
def test_channels_have_the_range_of_a_search_over_their_values(
    kinds: list[tuple[str, float]], seed: int, batches_of: int
) -> None:
    """Ranges of all sizes are tried on the values themselves, in double precision.

    A bin is up to an eighth of its value wide. So the range may be an eighth too large, which makes the error as much
    larger, or so small that values seem to be represented which lie half a bin beyond: with the few that there are in
    the tails, as much as the error of rounding at most.
    """
    random = np.random.default_rng(seed)
    values = np.stack([heavy(kind, random, 4000) * size for kind, size in kinds])[None].astype(np.float32)
    histogram = ChannelHistogram()
    for part in np.array_split(values, batches_of, axis=2):
        histogram.update(part)

    for row, peak, limit in zip(values[0], histogram.peaks(), histogram.ranges(), strict=True):
        largest = float(np.abs(row).max())
        assert largest <= peak <= largest * 9 / 8
        best = min(quantization_error(row, largest * part) for part in np.geomspace(1 / 32, 1.125, 200))
        assert quantization_error(row, float(limit)) <= 1.5 * best
