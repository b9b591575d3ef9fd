"""Raw samples reduced to what a page shows: percentiles, a histogram, an ECDF and a timeline of bounded size.

Percentiles are nearest-rank, as in ``edgecnn.core.percentiles``: the p-th is the smallest sample that at least
p percent of all samples do not exceed. So each is a latency that was measured, never one between two samples.
"""

from __future__ import annotations

import math
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
class Summary:
    """Statistics of one stage, milliseconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    p999: float
    maximum: float


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
    """Samples in the order they were taken, in bins of consecutive frames.

    Attributes:
        first: Number of each bin's first frame, counted from 1.
        lowest: Fastest frame of each bin, milliseconds.
        median: Nearest-rank median of each bin, milliseconds.
        highest: Slowest frame of each bin, milliseconds.
    """

    first: list[int]
    lowest: list[float]
    median: list[float]
    highest: list[float]


def summarize(samples: Milliseconds) -> Summary:
    """Mean, nearest-rank percentiles and maximum of samples in any order."""
    ordered = np.sort(samples)
    p50, p90, p95, p99, p999 = (nearest_rank(ordered, percent) for percent in (50, 90, 95, 99, 99.9))
    return Summary(float(ordered.mean()), p50, p90, p95, p99, p999, float(ordered[-1]))


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


def timeline(samples: Milliseconds) -> Timeline:
    """Fastest, median and slowest frame for each of at most ``MAX_TIMELINE_BINS`` runs of consecutive frames."""
    bounds = np.linspace(0, len(samples), min(len(samples), MAX_TIMELINE_BINS) + 1).astype(int)
    runs = [np.sort(samples[start:end]) for start, end in pairwise(bounds)]
    return Timeline(
        first=[int(start) + 1 for start in bounds[:-1]],
        lowest=_rounded(np.array([run[0] for run in runs])),
        median=_rounded(np.array([nearest_rank(run, 50) for run in runs])),
        highest=_rounded(np.array([run[-1] for run in runs])),
    )


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Milliseconds to the nanosecond: what the clock resolves, and half the bytes on the page."""
    return [round(float(value), 6) for value in values]
