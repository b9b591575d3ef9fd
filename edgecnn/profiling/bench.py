"""Timing of steps: a warm-up that ends when the times have settled, then one after another, or at a fixed rate."""

from __future__ import annotations

import statistics
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgecnn.profiling.subject import Step

# The warm-up is over when the medians of two windows in a row differ by less than this, or after the limit.
_WINDOW = 10
_SETTLED = 0.05
_WARM_UP_LIMIT = 200
_WARM_UP_LIMIT_S = 5.0
# Percentiles of fewer samples say nothing about a tail.
LEAST_SAMPLES = 100
# A sleep ends late by some 0.1 ms; the rest of the way to a due time is spent looking at the clock.
_SPIN_NS = 500_000
# The stage between a frame's due time and the begin of its first step.
WAIT = "wait"

Clock = Callable[[], int]


@dataclass(frozen=True)
class WarmUp:
    """How a warm-up went.

    Attributes:
        rounds: How many there were.
        settled: Whether times were steady at its end.
    """

    rounds: int
    settled: bool


@dataclass(frozen=True)
class Timing:
    """Raw times of a chain of steps, nanoseconds.

    Attributes:
        begin_ns: When the first sample began, on the clock.
        starts_ns: When each sample began, since then; with a fixed rate, when it was due.
        samples_ns: For each step, the time of each sample.
    """

    begin_ns: int
    starts_ns: Sequence[int]
    samples_ns: dict[str, Sequence[int]]


def warm_up(steps: Mapping[str, Step], clock: Clock = time.monotonic_ns) -> WarmUp:
    """Run steps until their times have settled, or for 200 rounds, or for 5 s."""
    chain = list(steps.values())
    begin = clock()
    times: list[int] = []
    while len(times) < _WARM_UP_LIMIT and clock() - begin < _WARM_UP_LIMIT_S * 1e9:
        start = clock()
        for step in chain:
            step()
        times.append(clock() - start)
        if len(times) >= 2 * _WINDOW:
            recent, earlier = statistics.median(times[-_WINDOW:]), statistics.median(times[-2 * _WINDOW : -_WINDOW])
            if abs(recent - earlier) <= _SETTLED * max(earlier, 1):
                return WarmUp(len(times), settled=True)
    return WarmUp(len(times), settled=False)


def time_steps(
    steps: Mapping[str, Step], seconds: float, least: int = LEAST_SAMPLES, clock: Clock = time.monotonic_ns
) -> Timing:
    """Run steps in turn, round after round, each round as soon as the one before has ended.

    Args:
        steps: What to run in every round, in this order, by name.
        seconds: How long to sample.
        least: Rounds to take at least, however long they take.
        clock: Monotonic nanoseconds.
    """
    chain = list(steps.values())
    # Eight bytes a time, and nothing for the garbage collector to look through.
    marks = array("q")
    note = marks.append
    begin = clock()
    end = begin + int(seconds * 1e9)
    rounds = 0
    now = begin
    while rounds < least or now < end:
        now = clock()
        note(now)
        for step in chain:
            step()
            now = clock()
            note(now)
        rounds += 1
    return _timing(tuple(steps), marks, begin)


def time_at_rate(
    steps: Mapping[str, Step],
    fps: float,
    seconds: float,
    least: int = LEAST_SAMPLES,
    clock: Clock = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Timing:
    """Run steps for frames that are due at a fixed rate, as a camera's are, whether or not the one before has ended.

    A frame's latency counts from when it was due. Counted from when its first step began, a slow frame would hide
    what those behind it waited ("coordinated omission", Gil Tene, How NOT to Measure Latency).

    Args:
        steps: What to run for every frame, in this order, by name.
        fps: Frames a second.
        seconds: How long to sample.
        least: Frames to take at least.
        clock: Monotonic nanoseconds.
        sleep: Waits for seconds.

    Returns:
        The times, with a first stage ``wait`` from when a frame was due.
    """
    chain = list(steps.values())
    marks = array("q")
    note = marks.append
    begin = clock()
    frames = max(least, int(seconds * fps))
    for index in range(frames):
        due = begin + round(index * 1e9 / fps)
        while (left := due - clock()) > 0:
            if left > _SPIN_NS:
                sleep((left - _SPIN_NS) / 1e9)
        note(due)
        note(clock())
        for step in chain:
            step()
            note(clock())
    return _timing((WAIT, *steps), marks, begin)


def _timing(names: Sequence[str], marks: array[int], begin: int) -> Timing:
    """Times between marks, of which a sample has one more than it has steps."""
    width = len(names) + 1
    columns = [marks[position::width] for position in range(width)]
    return Timing(
        begin_ns=begin,
        starts_ns=[start - begin for start in columns[0]],
        samples_ns={
            name: [end - start for start, end in zip(columns[position], columns[position + 1], strict=True)]
            for position, name in enumerate(names)
        },
    )
