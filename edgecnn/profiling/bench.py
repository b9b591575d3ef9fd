"""Timing of one frame after another, with a warm-up that ends when the times have settled."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# The warm-up is over when the medians of two windows in a row differ by less than this, or after the limit.
_WINDOW = 10
_SETTLED = 0.05
_WARM_UP_LIMIT = 200
_WARM_UP_LIMIT_S = 5.0
# Percentiles of fewer samples say nothing about a tail.
LEAST_SAMPLES = 100

Step = Callable[[], None]


@dataclass(frozen=True)
class Timing:
    """Raw times of a chain of steps.

    Attributes:
        warm_up: Rounds before the first sample.
        samples_ns: For each step, the time of each round, nanoseconds.
    """

    warm_up: int
    samples_ns: dict[str, list[int]]


def time_steps(steps: Mapping[str, Step], seconds: float, clock: Callable[[], int] = time.perf_counter_ns) -> Timing:
    """Run steps in turn, round after round, and time each.

    Args:
        steps: What to run in every round, in this order, by name.
        seconds: How long to sample; at least 100 rounds are taken, however long they take.
        clock: Monotonic nanoseconds.
    """
    warm_up = _warm_up(list(steps.values()), clock)
    samples: dict[str, list[int]] = {name: [] for name in steps}
    end = clock() + int(seconds * 1e9)
    rounds = 0
    while rounds < LEAST_SAMPLES or clock() < end:
        before = clock()
        for name, step in steps.items():
            step()
            after = clock()
            samples[name].append(after - before)
            before = after
        rounds += 1
    return Timing(warm_up, samples)


def _warm_up(steps: list[Step], clock: Callable[[], int]) -> int:
    begin = clock()
    times: list[int] = []
    while len(times) < _WARM_UP_LIMIT and clock() - begin < _WARM_UP_LIMIT_S * 1e9:
        start = clock()
        for step in steps:
            step()
        times.append(clock() - start)
        if len(times) >= 2 * _WINDOW:
            recent, earlier = statistics.median(times[-_WINDOW:]), statistics.median(times[-2 * _WINDOW : -_WINDOW])
            if abs(recent - earlier) <= _SETTLED * max(earlier, 1):
                break
    return len(times)
