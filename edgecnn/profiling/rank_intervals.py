"""Intervals that suppose nothing of how values are distributed but that they are independent: by their ranks alone.

A process that the machine held up lies far from the others. In a mean and its standard deviation it counts by how far;
by its rank it is one value at an end, whatever the distance.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edgecnn.profiling.binomial import ranks_around

Values = npt.NDArray[np.float64]
Bounds = tuple[float, float]

# Up to these many pairs the chances are counted; of more the normal distribution is as good.
_COUNTED = 2500


def median_interval(values: Values, confidence: float) -> Bounds | None:
    """Where the median of what values are drawn from lies: between two of them (the sign test turned round).

    See David and Nagaraja, Order Statistics, 7.1.

    Args:
        values: Independent draws.
        confidence: At least this much, such as 0.99.

    Returns:
        None for too few values: 99% want 8.
    """
    lower, upper = ranks_around(len(values), 50.0, confidence)
    if lower is None or upper is None:
        return None
    ordered = np.sort(values)
    return float(ordered[lower - 1]), float(ordered[upper - 1])


def shift(one: Values, two: Values) -> float:
    """By how much two lies above one: the median of all differences (Hodges and Lehmann 1963)."""
    return float(np.median(_differences(one, two)))


def shift_interval(one: Values, two: Values, confidence: float) -> Bounds | None:
    """Where the shift from one distribution to another lies: between two of all differences.

    The test of Mann and Whitney (1947) turned round (Hollander and Wolfe, Nonparametric Statistical Methods, 4.3).

    Args:
        one: Independent draws from the first.
        two: Independent draws from the second.
        confidence: At least this much, such as 0.99.

    Returns:
        None for too few values: 99% want 5 of each.
    """
    tail = (1 - confidence) / 2
    ordered = np.sort(_differences(one, two))
    if len(ordered) <= _COUNTED:
        left_out = int(np.searchsorted(_mann_whitney(len(one), len(two)), tail, side="right"))
    else:
        spread = math.sqrt(len(ordered) * (len(one) + len(two) + 1) / 12)
        left_out = math.floor(len(ordered) / 2 + NormalDist().inv_cdf(tail) * spread)
    if left_out < 1:
        return None
    return float(ordered[left_out - 1]), float(ordered[-left_out])


def _differences(one: Values, two: Values) -> Values:
    return np.subtract.outer(two, one).ravel()


@lru_cache(maxsize=64)
def _mann_whitney(ones: int, twos: int) -> Values:
    """The chance that of all pairs at most 0, 1, 2 ... have the first above the second, if both are drawn alike.

    The largest of all values is of the first with chance ``ones / (ones + twos)``, and then lies above all of the
    second: that leads each case back to those with one value less.
    """
    fewer = [np.ones(1) for _ in range(twos + 1)]
    for one in range(1, ones + 1):
        chances = [np.ones(1)]
        for two in range(1, twos + 1):
            found = np.zeros(one * two + 1)
            found[two:] += fewer[two] * (one / (one + two))
            found[: one * (two - 1) + 1] += chances[two - 1] * (two / (one + two))
            chances.append(found)
        fewer = chances
    return np.cumsum(fewer[twos])
