"""Percentiles against plain sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.core.percentiles import DurationHistogram, nearest_rank

# Half a step of the histogram, with room for rounding to whole nanoseconds.
TOLERANCE = 0.01


def recorded(durations_ns: list[int]) -> DurationHistogram:
    histogram = DurationHistogram()
    for duration in durations_ns:
        histogram.record(duration)
    return histogram


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.integers(0, 1000))
def test_nearest_rank_is_that_of_exact_arithmetic(samples: list[int], per_mille: int) -> None:
    ordered = sorted(samples)
    rank = -(-len(ordered) * per_mille // 1000)
    assert nearest_rank(ordered, per_mille / 10) == ordered[max(rank, 1) - 1]


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000, 99_999])
def test_nearest_rank_of_the_numbers_from_1(count: int) -> None:
    ordered = np.arange(1, count + 1)
    for per_mille in (1, 500, 900, 990, 999, 1000):
        assert nearest_rank(ordered, per_mille / 10) == max(-(-count * per_mille // 1000), 1)


@given(st.lists(st.integers(1, 10**13), min_size=1, max_size=300), st.integers(1, 1000))
def test_histogram_is_within_1_percent_of_the_exact_percentile(durations_ns: list[int], per_mille: int) -> None:
    histogram = recorded(durations_ns)
    exact = nearest_rank(sorted(durations_ns), per_mille / 10)
    assert histogram.percentile_ns(per_mille / 10) == pytest.approx(exact, rel=TOLERANCE)


@pytest.mark.parametrize("shape", ["lognormal", "uniform", "exponential", "constant"])
def test_summary_of_a_known_distribution(shape: str) -> None:
    generator = np.random.default_rng(7)
    samples = {
        "lognormal": 3e6 * generator.lognormal(0, 0.3, 20_000),
        "uniform": generator.uniform(1e3, 9e6, 20_000),
        "exponential": generator.exponential(5e6, 20_000),
        "constant": np.full(20_000, 2_345_678.0),
    }[shape].astype(np.int64)
    summary = recorded(samples.tolist()).summary()
    ordered = np.sort(samples)
    assert summary.count == 20_000
    assert summary.mean_ms == pytest.approx(samples.mean() / 1e6)
    assert summary.max_ms == ordered[-1] / 1e6
    for percent, found in ((50, summary.p50_ms), (90, summary.p90_ms), (99, summary.p99_ms)):
        assert found == pytest.approx(nearest_rank(ordered, percent) / 1e6, rel=TOLERANCE)


def test_rank_is_not_one_too_many_in_floats() -> None:
    # 250 * 64.4 / 100 is 161.00000000000003.
    samples = [1_000] * 161 + [9_000_000] * 89
    assert nearest_rank(samples, 64.4) == 1_000
    assert recorded(samples).percentile_ns(64.4) == pytest.approx(1_000, rel=TOLERANCE)


def test_nothing_recorded() -> None:
    summary = DurationHistogram().summary()
    assert set(summary.model_dump().values()) == {0}


def test_zero_and_less_count_as_zero() -> None:
    summary = recorded([0, -5, -(10**9), 4_000_000]).summary()
    assert (summary.count, summary.p50_ms, summary.mean_ms, summary.max_ms) == (4, 0.0, 1.0, 4.0)


def test_a_percentile_is_never_above_the_maximum() -> None:
    for duration in range(1, 3000):
        assert recorded([duration]).percentile_ns(100) <= duration


def test_memory_does_not_grow_with_the_count() -> None:
    histogram = recorded(np.random.default_rng(0).integers(1_000, 10**9, 50_000).tolist())
    assert len(histogram._counts) < 1_500  # 6 decades of 1% steps


def test_what_was_recorded_since_a_copy() -> None:
    histogram = DurationHistogram()
    for duration in range(1000, 2000):
        histogram.record(duration * 1000)
    before = histogram.copy()
    for duration in range(5000, 6000):
        histogram.record(duration * 1000)
    later = histogram.since(before).summary()
    assert (before.count, later.count) == (1000, 1000)
    assert later.mean_ms == pytest.approx(5.4995)
    assert later.p50_ms == pytest.approx(5.5, rel=0.01)
    assert later.max_ms == pytest.approx(6.0, rel=0.01)
    assert histogram.since(histogram.copy()).summary() == DurationHistogram().summary()


def test_how_many_are_within_bounds() -> None:
    histogram = DurationHistogram()
    for duration in (0, 10, 1000, 1000, 10**9):
        histogram.record(duration)
    assert histogram.within([5, 100, 2000, 10**10]) == [1, 2, 4, 5]
    assert histogram.sum_ns == 10**9 + 2010
