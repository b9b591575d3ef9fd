"""Raw samples reduced to what a page shows: percentiles, a histogram, an ECDF and a timeline of bounded size.

Percentiles are nearest-rank, as in ``edgecnn.core.percentiles``: the p-th is the smallest sample that at least
p percent of all samples do not exceed. So each is a latency that was measured, never one between two samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgecnn.core.percentiles import nearest_rank

MAX_HISTOGRAM_BINS = 100
MAX_ECDF_POINTS = 2000
MAX_TIMELINE_BINS = 1000

Milliseconds = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Counts over bins of one width.

    Attributes:
        edges: Bounds of the bins, milliseconds; one more than there are counts.
        counts: Frames in each bin.
        beyond: Frames slower than the last edge.
    """

    edges: list[float]
    counts: list[int]
    beyond: int


@dataclass(frozen=True)
class Timeline:
    """Samples in the order they were taken, in bins of consecutive ones; no bin has samples of two rounds.

    Attributes:
        seconds: When each bin's first sample began, since the first of all.
        count: Samples in each bin.
        lowest: Fastest sample of each bin, milliseconds.
        median: Nearest-rank median of each bin, milliseconds.
        p99: Nearest-rank 99th percentile of each bin, milliseconds.
        highest: Slowest sample of each bin, milliseconds.
        rounds: Number of the round that each bin is of.
    """

    seconds: list[float]
    count: list[int]
    lowest: list[float]
    median: list[float]
    p99: list[float]
    highest: list[float]
    rounds: list[int]


def histogram(samples: Milliseconds) -> Histogram:
    """Bins by Freedman and Diaconis from the fastest frame to p99.9, or less far where the tail is long.

    A few slow frames would otherwise stretch the axis until the bulk is one bar, so those beyond are only counted.
    The rule's bins are capped at both ends: it asks for thousands where the quartiles lie close together.
    """
    ordered = np.sort(samples)
    p50, p99, p999 = (nearest_rank(ordered, percent) for percent in (50, 99, 99.9))
    # Without a long tail p99.9 comes first: it is 1.3 times as far from p50 as p99 in a normal distribution, 1.6 times
    # in an exponential one. Where p99 equals p50, nearly all frames are alike and their distance says nothing.
    low, high = float(ordered[0]), min(p999, p50 + 2 * (p99 - p50)) if p99 > p50 else p999
    # Where one in twenty is held up by other programs, p99 is as far out as those.
    p90 = nearest_rank(ordered, 90)
    high = min(high, p50 + 20 * (p90 - p50)) if p90 > p50 else high
    beyond = int(np.count_nonzero(ordered > high))
    if low == high:
        # One value fills no range: show it as the middle one of a few bins.
        margin = 0.05 * low or 1.0
        low, high, bins = low - margin, high + margin, 11
    else:
        quartiles = nearest_rank(ordered, 75) - nearest_rank(ordered, 25)
        width = 2 * quartiles / len(ordered) ** (1 / 3)
        wanted = (high - low) / width if width else math.inf
        bins = math.ceil(min(max(wanted, 10), MAX_HISTOGRAM_BINS))
    counts, edges = np.histogram(ordered, bins=bins, range=(low, high))
    return Histogram(_rounded(edges), [int(count) for count in counts], beyond)


def ecdf(samples: Milliseconds, end: float) -> tuple[list[float], list[float]]:
    """The empirical distribution up to ``end``, as the corners of a step line.

    Args:
        samples: Milliseconds, in any order.
        end: Latency at which the line stops, milliseconds.

    Returns:
        Latencies, milliseconds, and for each the percentage of all frames that took no longer. Each point is exact;
        of more than ``MAX_ECDF_POINTS`` an even choice of ranks is kept.
    """
    values, counts = np.unique(samples, return_counts=True)
    percent = 100 * np.cumsum(counts) / len(samples)
    within = int(np.searchsorted(values, end, side="right"))
    kept = np.unique(np.linspace(0, within - 1, min(within, MAX_ECDF_POINTS)).round().astype(int))
    return _rounded(values[kept]), _rounded(percent[kept])


def timeline(rounds: Sequence[tuple[Milliseconds, Milliseconds]]) -> Timeline:
    """Fastest, median and slowest sample for each of at most ``MAX_TIMELINE_BINS`` runs of consecutive samples.

    Args:
        rounds: For each, when its samples began, seconds, and how long they took, milliseconds.
    """
    every = sum(len(samples) for _, samples in rounds)
    found = Timeline([], [], [], [], [], [], [])
    for number, (seconds, samples) in enumerate(rounds):
        bins = len(samples) if every <= MAX_TIMELINE_BINS else max(MAX_TIMELINE_BINS * len(samples) // every, 1)
        bounds = np.linspace(0, len(samples), bins + 1).astype(int)
        runs = [np.sort(samples[start:end]) for start, end in pairwise(bounds)]
        found.seconds.extend(_rounded(seconds[bounds[:-1]]))
        found.count.extend(len(run) for run in runs)
        found.lowest.extend(_rounded(np.array([run[0] for run in runs])))
        found.median.extend(_rounded(np.array([nearest_rank(run, 50) for run in runs])))
        found.p99.extend(_rounded(np.array([nearest_rank(run, 99) for run in runs])))
        found.highest.extend(_rounded(np.array([run[-1] for run in runs])))
        found.rounds.extend([number] * len(runs))
    return found


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Milliseconds to the nanosecond: what the clock resolves, and half the bytes on the page."""
    return [round(float(value), 6) for value in values]
