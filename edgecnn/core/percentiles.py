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

    def percentile_ns(self, percent: float) -> float:
        """The smallest duration that at least ``percent`` of the recorded ones do not exceed; 0 when empty."""
        wanted = rank_of(self._count, percent)
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(math.exp(bucket * _STEP), self._max_ns) if bucket >= 0 else 0.0
        return 0.0

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
