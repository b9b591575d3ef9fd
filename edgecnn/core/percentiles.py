"""Percentiles of a stream of durations in constant memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

# 1% steps: a percentile is off by half a step at most, well under the noise of any timer here.
_STEP = math.log(1.01)


def nearest_rank(ordered: Sequence[float] | npt.NDArray[Any], percent: float) -> float:
    """The smallest of sorted samples that at least ``percent`` of them do not exceed.

    (numpy's ``inverted_cdf`` takes one rank too many at times: 1000 * (99.9 / 100) is 999.0000000000001 in floats.)
    """
    return float(ordered[rank_of(len(ordered), percent) - 1])


class Percentiles(BaseModel):
    """Summary of a set of durations, milliseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class DurationHistogram:
    """Counts of durations in steps of 1% (the idea of HdrHistogram), so that days of frames fit in a few kilobytes."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._count = 0
        self._sum_ns = 0
        self._max_ns = 0

    def record(self, duration_ns: int) -> None:
        """Add one duration; negative ones count as zero."""
        duration_ns = max(duration_ns, 0)
        bucket = round(math.log(duration_ns) / _STEP) if duration_ns else -1
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._count += 1
        self._sum_ns += duration_ns
        self._max_ns = max(self._max_ns, duration_ns)

    def add(self, other: DurationHistogram) -> None:
        """Add all that another has recorded."""
        for bucket, count in other._counts.items():
            self._counts[bucket] = self._counts.get(bucket, 0) + count
        self._count += other._count
        self._sum_ns += other._sum_ns
        self._max_ns = max(self._max_ns, other._max_ns)

    def percentile_ns(self, percent: float) -> float:
        """The smallest duration that at least ``percent`` of the recorded ones do not exceed; 0 when empty."""
        wanted = rank_of(self._count, percent)
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(math.exp(bucket * _STEP), self._max_ns) if bucket >= 0 else 0.0
        return 0.0

    def copy(self) -> DurationHistogram:
        """What it holds now."""
        return self.since(DurationHistogram())

    def since(self, earlier: DurationHistogram) -> DurationHistogram:
        """What was recorded after an earlier copy of it; its maximum is exact to half a step only."""
        later = DurationHistogram()
        for bucket, count in self._counts.items():
            if more := count - earlier._counts.get(bucket, 0):
                later._counts[bucket] = more
        later._count = self._count - earlier._count
        later._sum_ns = self._sum_ns - earlier._sum_ns
        highest = max(later._counts, default=-1)
        later._max_ns = min(round(math.exp((highest + 0.5) * _STEP)), self._max_ns) if highest >= 0 else 0
        return later

    def within(self, bounds_ns: Sequence[float]) -> list[int]:
        """How many durations do not exceed each of some bounds; those half a step from one can count either way."""
        return [
            sum(count for bucket, count in self._counts.items() if bucket < 0 or bucket * _STEP <= math.log(bound))
            for bound in bounds_ns
        ]

    @property
    def count(self) -> int:
        """How many durations it holds."""
        return self._count

    @property
    def sum_ns(self) -> int:
        """Their sum."""
        return self._sum_ns

    def summary(self) -> Percentiles:
        """Count, mean, percentiles and maximum."""
        return Percentiles(
            count=self._count,
            mean_ms=self._sum_ns / self._count / 1e6 if self._count else 0.0,
            p50_ms=self.percentile_ns(50) / 1e6,
            p90_ms=self.percentile_ns(90) / 1e6,
            p99_ms=self.percentile_ns(99) / 1e6,
            max_ms=self._max_ns / 1e6,
        )


def rank_of(count: int, percent: float) -> int:
    """The rank, from 1, of a percentile among ``count`` sorted samples."""
    return max(math.ceil(round(count * percent / 100, 6)), 1)
