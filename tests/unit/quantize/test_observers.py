"""What observers make of particular tensors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.observers import (
    BINS,
    ChannelHistogram,
    Histogram,
    MinMaxObserver,
    MseObserver,
    PercentileObserver,
    make_observer,
)
from edgecnn.quantize.ranges import Range

Kind = Literal["minmax", "percentile", "mse"]
KINDS: tuple[Kind, ...] = ("minmax", "percentile", "mse")
NORMAL = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)


def observe(kind: Kind, *tensors: np.ndarray, percentile: float = 99.99) -> float:
    observer = make_observer(QuantizePart(observer=kind, percentile=percentile))
    for tensor in tensors:
        observer.update(tensor)
    return observer.range(symmetric=True).high


def observe_ends(kind: Kind, *tensors: np.ndarray, percentile: float = 99.99) -> Range:
    observer = make_observer(QuantizePart(observer=kind, percentile=percentile))
    for tensor in tensors:
        observer.update(tensor)
    return observer.range(symmetric=False)


def test_a_recipe_names_its_observer() -> None:
    assert isinstance(make_observer(QuantizePart(observer="minmax")), MinMaxObserver)
    assert isinstance(make_observer(QuantizePart(observer="percentile")), PercentileObserver)
    assert isinstance(make_observer(QuantizePart(observer="mse")), MseObserver)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_have_no_range(kind: Kind) -> None:
    assert observe(kind, np.zeros((2, 3, 4), np.float32)) == 0
    assert observe(kind, np.zeros(0, np.float32)) == 0
    assert observe(kind) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_first_do_not_hide_what_follows(kind: Kind) -> None:
    assert observe(kind, np.zeros(10, np.float32), np.full(10, 3, np.float32)) == pytest.approx(3, rel=1 / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_negative_values_count_by_their_size(kind: Kind) -> None:
    assert observe(kind, -np.abs(NORMAL)) == observe(kind, np.abs(NORMAL))
    assert observe(kind, np.full(5, -2, np.float32)) == pytest.approx(2, rel=1 / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_values_below_fp32s_normal_numbers_are_counted(kind: Kind) -> None:
    assert observe(kind, np.float32([1e-40, 5e-41])) == pytest.approx(1e-40, rel=1e-3)


def test_a_percentile_leaves_an_outlier_out() -> None:
    outlier = np.append(NORMAL, np.float32(500))

    found = observe("percentile", outlier, percentile=99.99)

    expected = np.percentile(np.abs(outlier), 99.99, method="inverted_cdf")
    assert expected <= found <= expected + 500 / BINS
    assert observe("minmax", outlier) == 500


def test_a_huge_outlier_leaves_the_rest_one_bin() -> None:
    """Constant memory has its price: of values a million times smaller only the order of magnitude is known."""
    found = observe("percentile", np.append(NORMAL, np.float32(1e6)))

    assert found == pytest.approx(1e6 / BINS)


@pytest.mark.parametrize("size", [20, 100, 500])
def test_mse_clips_an_outlier_as_far_as_it_pays(size: float) -> None:
    assert observe("mse", np.append(NORMAL, np.float32(size))) < 0.85 * size


def test_mse_finds_the_best_range_of_a_laplace_distribution() -> None:
    """9.89 times its spread for 8 bits, by Banner et al., "Post training 4-bit quantization", 2019."""
    values = np.random.default_rng(0).laplace(size=100_000).astype(np.float32)

    assert observe("mse", values) == pytest.approx(9.89, rel=0.1)  # the bottom of the error's curve is flat


def test_mse_clips_nothing_of_a_uniform_distribution() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)

    assert observe("mse", values) == pytest.approx(1, rel=1 / 64)


def test_all_of_a_hundred_percent_is_the_maximum() -> None:
    peak = float(np.abs(NORMAL).max())

    assert peak <= observe("percentile", NORMAL, percentile=100) <= peak * (1 + 1 / BINS)


def test_many_updates_take_no_more_memory() -> None:
    random = np.random.default_rng(0)
    histogram = Histogram()
    for step in range(2000):
        histogram.update(random.standard_normal(50).astype(np.float32) * np.float32(1 + step))

    assert histogram.counts.shape == (2, BINS)
    assert histogram.counts.nbytes == 2 * BINS * 8
    assert histogram.counts.sum() == 2000 * 50


def test_a_bin_includes_its_upper_edge() -> None:
    """So the largest value of the first batch stays where it is when the range is doubled."""
    histogram = Histogram()
    histogram.update(np.float32([0, 1]))
    assert (histogram.counts[1, 0], histogram.counts[1, -1]) == (1, 1)

    histogram.update(np.float32([2]))

    assert histogram.top == 2
    assert np.flatnonzero(histogram.counts[1]).tolist() == [0, BINS // 2 - 1, BINS - 1]


def test_negative_values_are_counted_apart() -> None:
    histogram = Histogram()
    histogram.update(np.float32([-1, -0.0, 0.25, 0.5]))
    histogram.update(np.float32([4, -2]))

    assert histogram.top == 4
    assert [np.flatnonzero(side).tolist() for side in histogram.counts] == [
        [BINS // 4 - 1, BINS // 2 - 1],
        [0, BINS // 16 - 1, BINS // 8 - 1, BINS - 1],
    ]
    assert histogram.extent() == Range(-2, 4)


# Of four batches of 3,000 values each, by the code that knew absolute values only: minmax, percentile 99.5, mse.
SYMMETRIC = {
    "uniform": (0.264367938041687, 0.25947105008526705, 0.2624189931452747),
    "normal": (11.65665340423584, 7.063154596835375, 11.024384358100315),
    "relu": (11.65665340423584, 6.273176055401564, 11.295440510524012),
    "negative": (11.65665340423584, 7.063154596835375, 11.024384358100315),
    "laplace": (2.182161808013916, 1.1276245571207255, 2.115057264122719),
    "tails": (2517.12890625, 295.4881590604782, 2498.7635896542643),
}


def growing(shape: str) -> list[np.ndarray]:
    random = np.random.default_rng(11)
    found: list[np.ndarray] = []
    for _ in range(4):
        size = np.float32(2.0 ** random.uniform(-3, 3))
        match shape:
            case "uniform":
                values = random.random((2, 3, 500)) * 2 - 1
            case "laplace":
                values = random.laplace(size=(2, 3, 500)) + 0.5
            case _:
                values = random.standard_normal((2, 3, 500))
        match shape:
            case "relu":
                values = np.maximum(values, 0)
            case "negative":
                values = -np.abs(values)
            case "tails":
                values = values**5
            case _:
                pass
        found.append(values.astype(np.float32) * size)
    return found


@pytest.mark.parametrize("shape", SYMMETRIC)
def test_symmetric_ranges_are_those_of_absolute_values(shape: str) -> None:
    assert tuple(observe(kind, *growing(shape), percentile=99.5) for kind in KINDS) == SYMMETRIC[shape]


@pytest.mark.parametrize("kind", KINDS)
def test_a_relu_has_one_range_whether_symmetric_or_not(kind: Kind) -> None:
    """Only what rounding to 127 or 255 steps makes of the best range differs."""
    found = observe_ends(kind, *growing("relu"), percentile=99.5)

    assert found.low == 0
    assert found.high == pytest.approx(
        observe(kind, *growing("relu"), percentile=99.5), rel=0.1 if kind == "mse" else 0
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ends_swap_with_the_sign(kind: Kind) -> None:
    values = np.exp(NORMAL) - 1
    found, mirrored = observe_ends(kind, values), observe_ends(kind, -values)

    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), rel=0.05)
    assert -1 <= found.low < -0.8
    assert found.high > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2.0, -2.0, 0.0])
def test_zero_is_in_every_range(kind: Kind, size: float) -> None:
    found = observe_ends(kind, np.full(5, size, np.float32))

    assert found.low == pytest.approx(min(size, 0), rel=1 / BINS)
    assert found.high == pytest.approx(max(size, 0), rel=1 / BINS)


def test_each_end_gives_up_its_part() -> None:
    values = np.concatenate([NORMAL, np.float32([100, 200]), np.float32([-50])])
    found = observe_ends("percentile", values, percentile=99.9)

    assert found.high == pytest.approx(np.percentile(values, 99.9, method="inverted_cdf"), abs=200 / BINS)
    assert found.low == pytest.approx(np.percentile(values, 0.1, method="inverted_cdf"), abs=200 / BINS)


def test_mse_clips_each_end_as_far_as_it_pays() -> None:
    found = observe_ends("mse", np.append(np.maximum(NORMAL, -0.5), np.float32(20)))

    assert found.low == pytest.approx(-0.5, rel=0.1)
    # Where the error's derivative by the end is 0: 100,000 (high + 0.5) / (12 * 255^2) = 20 - high.
    assert found.high == pytest.approx(17.7, rel=0.01)


# Bins of channels are an eighth of an octave wide where they begin with a power of 2, the widest by proportion.
WIDEST = 9 / 8


def channels(*rows: list[float]) -> np.ndarray:
    """An array (1, channels, values)."""
    return np.float32([rows])


def test_each_channel_has_its_own_peak() -> None:
    histogram = ChannelHistogram()
    histogram.update(channels([1, -3, 0.5], [0.001, 0, 0], [-700, 5, 1]))
    histogram.update(channels([2, 2, 2], [0, 0, -0.002], [1, 1, 1]))

    peaks = histogram.peaks()

    assert (peaks >= [3, 0.002, 700]).all()
    assert (peaks <= np.multiply([3, 0.002, 700], WIDEST)).all()


@pytest.mark.parametrize("value", [2.0**exponent for exponent in (-29, -10, -1, 0, 3, 17)])
def test_a_power_of_two_is_in_the_bin_that_it_begins(value: float) -> None:
    histogram = ChannelHistogram()
    histogram.update(channels([value], [np.nextafter(np.float32(value), np.float32(0))]))

    assert histogram.peaks().tolist() == [value * WIDEST, value]


def test_channels_of_zeros_have_no_range() -> None:
    histogram = ChannelHistogram()
    histogram.update(channels([0, -0.0], [1, 2]))

    assert histogram.peaks()[0] == 0
    assert histogram.ranges()[0] == 0
    assert histogram.ranges()[1] > 0


def test_values_next_to_nothing_count_as_zeros() -> None:
    """Denormals too, which as floats have no exponent."""
    histogram = ChannelHistogram()
    histogram.update(channels([1e-45, -1e-40], [2.0**-31, -(2.0**-40)], [2.0**-29, 0]))

    assert histogram.peaks().tolist() == [0, 0, 2.0**-29 * WIDEST]
    assert histogram.ranges()[:2].tolist() == [0, 0]


def test_huge_values_are_as_large_as_the_last_bin() -> None:
    """So that all of them count; a network with values beyond 262,144 is no candidate for INT8."""
    histogram = ChannelHistogram()
    histogram.update(channels([1e6, 1], [np.finfo(np.float32).max, -3e38], [2.0**18 - 1, 0]))

    assert histogram.peaks().tolist() == [2.0**18] * 3
    assert np.isfinite(histogram.ranges()).all()
    assert (histogram.ranges() > 0).all()


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_all_pictures_of_a_batch_count_for_their_channel(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32) * np.float32([1, 100, 1e4]).reshape(
        1, 3, *[1] * (len(shape) - 2)
    )
    at_once, one_by_one = ChannelHistogram(), ChannelHistogram()

    at_once.update(values)
    for picture in values:
        one_by_one.update(picture[None])

    np.testing.assert_array_equal(at_once.peaks(), one_by_one.peaks())
    np.testing.assert_array_equal(at_once.ranges(), one_by_one.ranges())
    expected = np.abs(values).max(axis=(0, *range(2, values.ndim)))
    assert (at_once.peaks() >= expected).all()
    assert (at_once.peaks() <= expected * WIDEST).all()


def test_channels_take_no_more_memory_with_more_updates() -> None:
    histogram = ChannelHistogram()
    values = np.random.default_rng(0).standard_normal((1, 3, 50)).astype(np.float32)
    histogram.update(values)
    first = {name: (array.shape, array.nbytes) for name, array in vars(histogram).items()}

    for step in range(500):
        histogram.update(values * np.float32(1 + step))

    assert {name: (array.shape, array.nbytes) for name, array in vars(histogram).items()} == first
    assert sum(array.sum() for array in vars(histogram).values()) == 501 * 3 * 50
