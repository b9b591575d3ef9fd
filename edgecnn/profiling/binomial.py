"""How many of independent samples lie below a percentile: the binomial distribution, and the ranks that follow."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

# Counts further from the mean than this many standard deviations have probabilities below what a double resolves.
_REACH = 12.0
# MLPerf's: of SingleStream's 90th percentile, with 99% confidence.
MLPERF_PERCENT, MLPERF_CONFIDENCE = 90.0, 0.99


@lru_cache(maxsize=64)
def _cumulative(count: int, part: float) -> tuple[int, npt.NDArray[np.float64]]:
    """The first count that matters, and the chance of at most that count and of those after it."""
    spread = math.sqrt(count * part * (1 - part))
    first = max(math.floor(count * part - _REACH * spread - _REACH), 0)
    last = min(math.ceil(count * part + _REACH * spread + _REACH), count)
    counts = np.arange(first, last + 1)
    log_of_first = (
        math.lgamma(count + 1)
        - math.lgamma(first + 1)
        - math.lgamma(count - first + 1)
        + first * math.log(part)
        + (count - first) * math.log1p(-part)
    )
    steps = np.log((count - counts[:-1]) / (counts[:-1] + 1)) + math.log(part) - math.log1p(-part)
    chances = np.exp(log_of_first + np.concatenate([[0.0], np.cumsum(steps)]))
    return first, np.cumsum(chances)


def chance_of_at_most(wanted: int, count: int, part: float) -> float:
    """That of ``count`` independent trials, each with the chance ``part``, at most ``wanted`` succeed."""
    first, cumulative = _cumulative(count, part)
    if wanted < first:
        return 0.0
    return min(float(cumulative[min(wanted - first, len(cumulative) - 1)]), 1.0)


def _quantile(chance: float, count: int, part: float) -> int:
    """The least number of successes that is not exceeded with at least this chance."""
    first, cumulative = _cumulative(count, part)
    return first + int(np.searchsorted(cumulative, chance))


def ranks_around(count: int, percent: float, confidence: float) -> tuple[int | None, int | None]:
    """Ranks, from 1, of the sorted samples between which a percentile lies with at least this confidence.

    However the samples are distributed, the number of them below the percentile is binomial (David and Nagaraja, Order
    Statistics, 7.1). They have to be independent.

    Args:
        count: Of samples.
        percent: Such as 99.
        confidence: Such as 0.95.

    Returns:
        None for a bound that so few samples do not give.
    """
    part, tail = percent / 100, (1 - confidence) / 2
    lower = _quantile(tail, count, part)
    upper = _quantile(1 - tail, count, part) + 1
    return (lower if lower >= 1 else None), (upper if upper <= count else None)


def early_stopping_rank(
    count: int, percent: float = MLPERF_PERCENT, confidence: float = MLPERF_CONFIDENCE
) -> int | None:
    """The rank, from 1, that MLPerf reports for SingleStream: an upper bound of the percentile, by its rules.

    Of samples above a bound, so many are let pass that their number or fewer would be seen with a chance of at most
    1 - confidence if the percentile were higher (MLPerf Inference Rules, "early stopping"; LoadGen's results.cc).

    Returns:
        None for fewer than 64 samples at MLPerf's own figures: too few for any bound.
    """
    passing = 0
    above = 1 - percent / 100
    first, cumulative = _cumulative(count, above)
    passing = first + int(np.searchsorted(cumulative, 1 - confidence)) - 1
    return count - passing + 1 if passing >= 1 else None
