"""Counts of values in bins."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.quantize.histograms import BINS, ChannelHistogram, Histogram
from edgecnn.quantize.ranges import Range


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


def channels(*rows: list[float]) -> np.ndarray:
    """An array (1, channels, values)."""
    return np.float32([rows])


def test_each_channel_has_its_own_peak() -> None:
    histogram = ChannelHistogram()
    histogram.update(channels([1, -3, 0.5], [0.001, 0, 0], [-700, 5, 1]))
    histogram.update(channels([2, 2, 2], [0, 0, -0.002], [1, 1, 1]))

    assert histogram.peaks().tolist() == [3, np.float32(0.002), 700]


def test_a_large_array_is_counted_in_part_and_its_peak_is_not_missed() -> None:
    values = np.ones((1, 2, 1024, 256), np.float32)
    values[0, :, 1, 1] = -8
    by_channel, whole = ChannelHistogram(), Histogram()
    by_channel.update(values)
    whole.update(values)

    assert by_channel.peaks().tolist() == [8, 8]
    assert (whole.low, whole.high) == (-8, 1)
    assert values.size / 6 < whole.counts.sum() < values.size


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

    assert histogram.peaks().tolist() == [0, 0, 2.0**-29]
    assert histogram.ranges()[:2].tolist() == [0, 0]


def test_huge_values_are_as_large_as_the_last_bin() -> None:
    """So that all of them count; a network with values beyond 262,144 is no candidate for INT8."""
    histogram = ChannelHistogram()
    histogram.update(channels([1e6, 1], [np.finfo(np.float32).max, -3e38], [2.0**18 - 1, 0]))

    assert histogram.peaks().tolist() == [2.0**18, 2.0**18, 2.0**18 - 1]
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
    np.testing.assert_array_equal(at_once.peaks(), expected)


def test_channels_take_no_more_memory_with_more_updates() -> None:
    histogram = ChannelHistogram()
    values = np.random.default_rng(0).standard_normal((1, 3, 50)).astype(np.float32)
    histogram.update(values)
    first = {name: (array.shape, array.nbytes) for name, array in vars(histogram).items()}

    for step in range(500):
        histogram.update(values * np.float32(1 + step))

    assert {name: (array.shape, array.nbytes) for name, array in vars(histogram).items()} == first
