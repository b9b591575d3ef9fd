"""Intervals by ranks: against enumeration, published tables and the coverage that they promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from edgecnn.profiling.rank_intervals import median_interval, shift, shift_interval


@pytest.mark.parametrize(
    # Ranks from either end of the sign test's 99% interval: the chance of at most 1 of 12 is 0.0032, of 2 it is 0.019.
    ("count", "rank"),
    [(8, 1), (11, 1), (12, 2), (15, 3), (20, 4), (30, 8)],
)
def test_the_interval_of_a_median_lies_between_two_values(count: int, rank: int) -> None:
    values = np.random.default_rng(count).permutation(count).astype(float)
    assert median_interval(values, 0.99) == (rank - 1, count - rank)


def test_fewer_than_eight_values_say_nothing_of_a_median() -> None:
    assert median_interval(np.arange(7.0), 0.99) is None


@pytest.mark.parametrize(("ones", "twos"), [(5, 5), (6, 4), (7, 6)])
def test_the_interval_of_a_shift_leaves_out_as_many_differences_as_counting_allows(ones: int, twos: int) -> None:
    """All ways that the values of two samples can follow each other, counted one by one."""
    statistics = []
    for places in combinations(range(ones + twos), ones):
        others = [place for place in range(ones + twos) if place not in places]
        statistics.append(sum(one > two for one in places for two in others))
    left_out = 0
    while np.mean(np.array(statistics) <= left_out) <= 0.005:
        left_out += 1
    draw = np.random.default_rng(1)
    one, two = draw.normal(0, 1, ones), draw.normal(1, 1, twos)
    ordered = np.sort(np.subtract.outer(two, one).ravel())
    expected = (ordered[left_out - 1], ordered[-left_out]) if left_out else None
    assert shift_interval(one, two, 0.99) == expected


def test_known_critical_values() -> None:
    """Mann and Whitney's U at 1%, two-sided: 7 of 64 for eight and eight, 27 of 144 for twelve and twelve."""
    for count, critical in ((8, 7), (12, 27)):
        one, two = np.zeros(count), 100.0 ** np.arange(count) / 100.0**count
        ordered = np.sort(np.subtract.outer(two, one + np.arange(count) * 1e-9).ravel())
        low, high = shift_interval(one + np.arange(count) * 1e-9, two, 0.99) or (0, 0)
        assert (low, high) == (ordered[critical], ordered[-critical - 1])


def test_too_few_values_say_nothing_of_a_shift() -> None:
    assert shift_interval(np.arange(4.0), np.arange(4.0), 0.99) is None
    assert shift_interval(np.arange(5.0), np.arange(5.0), 0.99) is not None


def test_a_shift_is_found_whatever_one_value_is() -> None:
    one = np.arange(12.0)
    wild = one + 3
    wild[-1] = 1e9
    assert shift(one, one + 3) == 3
    assert shift(one, wild) == pytest.approx(3, abs=0.6)


def test_many_values_take_the_normal_distribution_which_agrees() -> None:
    draw = np.random.default_rng(2)
    one, two = draw.normal(0, 1, 50), draw.normal(0.5, 1, 50)
    counted, near = shift_interval(one, two, 0.99), shift_interval(one, np.append(two, 0.5), 0.99)
    assert counted is not None
    assert near is not None
    np.testing.assert_allclose(counted, near, atol=0.05)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    draw = np.random.default_rng(3)
    held = []
    for _ in range(400):
        one, two = draw.standard_t(2, 12), draw.standard_t(2, 12) + 1
        low, high = shift_interval(one, two, 0.99) or (0, 0)
        held.append(low <= 1 <= high)
        low, high = median_interval(one, 0.99) or (0, 0)
        held.append(low <= 0 <= high)
    assert np.mean(held) >= 0.98
