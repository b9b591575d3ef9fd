"""Timing with a clock that only moves when a step says so."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

import pytest

from edgecnn.profiling.bench import LEAST_SAMPLES, WAIT, WarmUp, time_at_rate, time_steps, warm_up

MS = 1_000_000


class _Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def step(clock: _Clock, durations_ns: Iterable[int]) -> Callable[[], None]:
    """A step that takes each of these times in turn, and the last one from then on."""
    remaining = iter(durations_ns)
    last = 0

    def run() -> None:
        nonlocal last
        last = next(remaining, last)
        clock.now += last

    return run


def test_samples_are_exact_and_in_order() -> None:
    clock = _Clock()
    order: list[str] = []
    steps = {
        "a": lambda: (order.append("a"), step(clock, [3 * MS])()),
        "b": lambda: (order.append("b"), step(clock, [5 * MS])()),
    }
    timing = time_steps(steps, seconds=2.0, clock=clock)
    # 2 s hold 250 rounds of 8 ms.
    assert timing.samples_ns == {"a": [3 * MS] * 250, "b": [5 * MS] * 250}
    assert timing.starts_ns == [8 * MS * index for index in range(250)]
    assert order == ["a", "b"] * 250


@pytest.mark.parametrize(("duration_ns", "seconds"), [(MS, 0.0), (900 * MS, 1.0), (MS, 0.0999)])
def test_at_least_100_samples_are_taken(duration_ns: int, seconds: float) -> None:
    clock = _Clock()
    timing = time_steps({"a": step(clock, [duration_ns])}, seconds, clock=clock)
    assert timing.samples_ns == {"a": [duration_ns] * LEAST_SAMPLES}
    assert LEAST_SAMPLES == 100


def test_the_warm_up_ends_when_times_are_steady() -> None:
    clock = _Clock()
    # 13 slow rounds, then 10 for the recent window and 6 for most of the earlier one.
    steps = {"a": step(clock, [50 * MS, *[20 * MS] * 12, *[2 * MS] * 13])}
    assert warm_up(steps, clock) == WarmUp(29, settled=True)
    assert warm_up(steps, clock) == WarmUp(20, settled=True)


def test_warm_up_of_a_step_that_never_settles_is_limited_in_rounds() -> None:
    clock = _Clock()
    # Each window is half as slow again as the one before.
    times = [int(1000 * 1.5 ** (index / 10)) for index in range(1000)]
    assert warm_up({"a": step(clock, times)}, clock) == WarmUp(200, settled=False)


def test_warm_up_of_a_slow_step_is_limited_in_time() -> None:
    clock = _Clock()
    assert warm_up({"a": step(clock, [1200 * MS])}, clock) == WarmUp(5, settled=False)


def test_at_a_fixed_rate_latency_counts_from_when_a_frame_was_due() -> None:
    """One frame of 25 ms among those of 4 makes the two behind it wait, at 100 fps."""
    clock = _Clock()

    def sleep(seconds: float) -> None:
        clock.now += int(seconds * 1e9)

    def tick() -> int:
        clock.now += 1000  # looking at the clock takes time, too: else a wait for it would never end
        return clock.now

    timing = time_at_rate({"a": step(clock, [4 * MS, 25 * MS, 4 * MS])}, 100.0, 0.0, 8, tick, sleep)
    assert timing.starts_ns == [10 * MS * index for index in range(8)]
    latencies = [wait + spent for wait, spent in zip(*timing.samples_ns.values(), strict=True)]
    assert tuple(timing.samples_ns) == (WAIT, "a")
    assert latencies == pytest.approx([MS * ms for ms in (4, 25, 19, 13, 7, 4, 4, 4)], abs=20_000)


def test_a_step_that_sleeps_reads_as_long_as_it_sleeps() -> None:
    slept: list[int] = []

    def sleep() -> None:
        begin = time.perf_counter_ns()
        time.sleep(0.005)
        slept.append(time.perf_counter_ns() - begin)

    samples = time_steps({"sleep": sleep}, 0.0).samples_ns["sleep"]
    # Against the sleep's own length, which is more than 5 ms on a busy machine.
    assert statistics.median(samples) == pytest.approx(statistics.median(slept), rel=0.1)
    assert min(samples) >= 5 * MS
