"""Percentiles of samples that follow each other in time, each with the interval that it is known to lie in.

Two intervals are made, and the wider one is given:

- from order statistics, which holds where samples are independent;
- by bootstrap of blocks (Kuensch 1989, The Jackknife and the Bootstrap for General Stationary Observations): stretches
  of samples are drawn in place of single ones, so that what lasts for a while stays together. Of several processes,
  these are drawn first (Davison and Hinkley, Bootstrap Methods and Their Application, 3.8), as layout in memory makes
  each of them a little faster or slower than the next (Kalibera and Jones 2013, Rigorous Benchmarking in Reasonable
  Time). Few processes make intervals too narrow, so percentiles of the draws are taken further out (Hesterberg 2015,
  What Teachers Should Know About the Bootstrap, "expanded percentile interval").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edgecnn.core.percentiles import nearest_rank
from edgecnn.profiling.binomial import ranks_around

PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)
CONFIDENCE = 0.95
_DRAWS = 1000
# As few as can still be drawn from, so that each lasts as long as can be.
_BLOCKS = 100
_LEAST_BLOCK = 5
# Values of samples between which draws tell no difference; all of them where there are no more.
_GRID = 4000
_SEED = 20240229

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that it lies in with 95% confidence.

    Attributes:
        value: The figure.
        low: None where there are too few samples for a bound.
        high: The same.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Stretch:
    """Samples without a pause, in order, of one process."""

    process: int
    values: Values


def percentile_estimates(
    stretches: Sequence[Stretch], percents: Sequence[float] = PERCENTS, confidence: float = CONFIDENCE
) -> dict[float, Estimate]:
    """Nearest-rank percentiles of all samples, with their intervals.

    Args:
        stretches: All samples.
        percents: Which percentiles.
        confidence: Of each interval.
    """
    ordered = np.sort(np.concatenate([stretch.values for stretch in stretches]))
    drawn = _drawn_percentiles(stretches, ordered, percents, confidence)
    found: dict[float, Estimate] = {}
    for percent, (low, high) in zip(percents, drawn, strict=True):
        lower, upper = ranks_around(len(ordered), percent, confidence)
        found[percent] = Estimate(
            nearest_rank(ordered, percent),
            None if lower is None else min(float(ordered[lower - 1]), low),
            None if upper is None else max(float(ordered[upper - 1]), high),
        )
    return found


def _drawn_percentiles(
    stretches: Sequence[Stretch], ordered: Values, percents: Sequence[float], confidence: float
) -> list[tuple[float, float]]:
    """Bounds of each percentile by bootstrap: blocks are counted over a grid of values once, and draws add counts."""
    grid = _grid(ordered)
    length = max(len(ordered) // _BLOCKS, _LEAST_BLOCK)
    counts: list[npt.NDArray[np.int64]] = []
    owners: list[int] = []
    for stretch in stretches:
        bins = np.searchsorted(grid, stretch.values)
        pieces = max(len(bins) // length, 1)
        counts += [np.bincount(piece, minlength=len(grid)) for piece in np.array_split(bins, pieces)]
        owners += [stretch.process] * pieces
    table, draw = np.array(counts, np.float64), np.random.default_rng(_SEED)
    weights, groups = _weights(np.array(owners), draw)
    cumulative = np.cumsum(weights @ table, axis=1)
    tail = tail_for(groups, confidence)
    bounds: list[tuple[float, float]] = []
    for percent in percents:
        wanted = cumulative[:, -1:] * (percent / 100) - 1e-6
        values = grid[np.argmax(cumulative >= wanted, axis=1)]
        low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
        bounds.append((float(low), float(high)))
    return bounds


def _grid(ordered: Values) -> Values:
    """Values among the samples, all the nearer to each other the nearer they are to an end."""
    if len(ordered) <= _GRID:
        return np.unique(ordered)
    reach = math.log(len(ordered))
    parts = 1 / (1 + np.exp(-np.linspace(-reach, reach, _GRID)))
    ranks = np.unique(np.clip(np.round(parts * (len(ordered) - 1)).astype(int), 0, len(ordered) - 1))
    return np.unique(np.concatenate([ordered[ranks], ordered[-1:]]))


def _weights(owners: npt.NDArray[np.int64], draw: np.random.Generator) -> tuple[Values, int]:
    """How often each block is in each draw, and how many processes, or blocks of the one, are drawn from."""
    processes = np.unique(owners)
    if len(processes) == 1:
        every = len(owners)
        return draw.multinomial(every, np.full(every, 1 / every), size=_DRAWS).astype(np.float64), every
    weights = np.zeros((_DRAWS, len(owners)))
    members = [np.flatnonzero(owners == process) for process in processes]
    for row in weights:
        for chosen in draw.integers(len(members), size=len(members)):
            blocks = members[chosen]
            row += np.bincount(draw.choice(blocks, len(blocks)), minlength=len(owners))
    return weights, len(processes)


def tail_for(groups: int, confidence: float) -> float:
    """The part of draws beyond each bound of an expanded percentile interval over so many independent groups."""
    if groups < 2:
        return 0.0
    beyond = -math.sqrt(groups / (groups - 1)) * student_quantile(0.5 + confidence / 2, groups - 1)
    return NormalDist().cdf(beyond)


def student_quantile(chance: float, freedom: float) -> float:
    """Quantile of Student's t, to three digits (Hill 1970, Algorithm 396, Communications of the ACM 13)."""
    if freedom < 1:
        return math.inf
    two_sided = 2 * (1 - chance)
    if freedom == 1:
        return 1 / math.tan(two_sided * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (two_sided * (2 - two_sided)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * two_sided) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(two_sided / 2)
        y = x * x
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
