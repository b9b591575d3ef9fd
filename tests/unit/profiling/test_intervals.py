"""Percentiles with intervals, against distributions that are known."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from edgecnn.profiling.binomial import chance_of_at_most, early_stopping_rank, ranks_around
from edgecnn.profiling.intervals import PERCENTS, Stretch, percentile_estimates, student_quantile, tail_for

# Of published tables.
STUDENT_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 19: 2.093, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize(("count", "part"), [(10, 0.5), (64, 0.9), (200, 0.99)])
def test_the_binomial_distribution_is_that_of_its_formula(count: int, part: float) -> None:
    for wanted in range(0, count + 1, 3):
        exact = math.fsum(math.comb(count, k) * part**k * (1 - part) ** (count - k) for k in range(wanted + 1))
        assert chance_of_at_most(wanted, count, part) == pytest.approx(exact, abs=1e-12)


def test_the_binomial_distribution_of_many() -> None:
    """The normal one, nearly."""
    assert chance_of_at_most(990_000, 1_000_000, 0.99) == pytest.approx(0.5, abs=0.005)
    assert chance_of_at_most(0, 1_000_000, 0.99) == 0
    assert chance_of_at_most(1_000_000, 1_000_000, 0.99) == 1


def test_ranks_hold_the_percentile_as_often_as_they_say() -> None:
    for count in (50, 100, 1000):
        for percent in (50.0, 90.0):
            lower, upper = ranks_around(count, percent, 0.95)
            assert lower is not None
            assert upper is not None
            part = percent / 100
            held = chance_of_at_most(upper - 1, count, part) - chance_of_at_most(lower - 1, count, part)
            assert 0.95 <= held < 0.985


def test_few_samples_have_no_upper_bound() -> None:
    assert ranks_around(100, 99.9, 0.95)[1] is None
    assert ranks_around(3, 50.0, 0.95) == (None, None)


def test_early_stopping_is_mlperfs() -> None:
    """64 samples are the fewest by its rules; of those the slowest is the estimate."""
    assert early_stopping_rank(63) is None
    assert early_stopping_rank(64) == 64
    for count in (100, 1000, 24_576):
        rank = early_stopping_rank(count)
        assert rank is not None
        passing = count - rank + 1
        assert chance_of_at_most(passing, count, 0.1) <= 0.01 < chance_of_at_most(passing + 1, count, 0.1)


@pytest.mark.parametrize(("freedom", "quantile"), STUDENT_975.items())
def test_students_quantile(freedom: int, quantile: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(quantile, abs=0.0015)


def test_few_groups_take_percentiles_further_out() -> None:
    assert tail_for(5, 0.95) == pytest.approx(NormalDist().cdf(-math.sqrt(1.25) * 2.776), rel=0.01)
    assert tail_for(1000, 0.95) == pytest.approx(0.025, rel=0.02)
    assert tail_for(1, 0.95) == 0


def test_percentiles_of_a_known_distribution_are_within_1_percent() -> None:
    samples = np.random.default_rng(5).lognormal(math.log(5), 0.2, 1_000_000)
    found = percentile_estimates([Stretch(0, samples)])
    for percent in PERCENTS:
        true = 5 * math.exp(0.2 * NormalDist().inv_cdf(percent / 100))
        estimate = found[percent]
        assert estimate.value == pytest.approx(true, rel=0.01)
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= true <= estimate.high
        assert estimate.high - estimate.low < 0.02 * true


def held_by(stretches_of: object, true: float, runs: int) -> float:
    held = 0
    for seed in range(runs):
        estimate = percentile_estimates(stretches_of(np.random.default_rng(seed)), (50.0,))[50.0]  # type: ignore[operator]
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= true <= estimate.high
    return held / runs


def test_intervals_hold_the_median_of_independent_samples() -> None:
    assert held_by(lambda draw: [Stretch(0, draw.normal(5, 1, 400))], 5, 100) >= 0.9


def test_intervals_hold_the_median_of_samples_that_follow_each_other() -> None:
    """Each is nine tenths the one before: order statistics alone hold it in half of the runs."""

    def stretch(draw: np.random.Generator) -> list[Stretch]:
        noise = draw.normal(0, 1, 3000)
        values = np.zeros(3000)
        for index in range(1, 3000):
            values[index] = 0.9 * values[index - 1] + noise[index]
        return [Stretch(0, values)]

    assert held_by(stretch, 0, 60) >= 0.85


def test_intervals_hold_the_median_where_processes_differ() -> None:
    def stretches(draw: np.random.Generator) -> list[Stretch]:
        return [Stretch(number, draw.normal(draw.normal(5, 0.5), 0.1, 200)) for number in range(6)]

    assert held_by(stretches, 5, 60) >= 0.85


@pytest.mark.parametrize("values", [[3.0], [3.0, 4.0], [2.0] * 50])
def test_hardly_any_samples(values: list[float]) -> None:
    found = percentile_estimates([Stretch(0, np.array(values))])
    assert found[50.0].value == values[0]
