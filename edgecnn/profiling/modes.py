"""The modes of measuring: which processes run, one after another or in turn, and what each of them samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from edgecnn.core.progress import Progress
from edgecnn.profiling.bench import LEAST_SAMPLES, WAIT
from edgecnn.profiling.differences import tells_enough, tells_enough_alone
from edgecnn.profiling.records import Mode, Round, round_of
from edgecnn.profiling.subject import Subject
from edgecnn.profiling.worker import Request, Worker

COLD_STAGES = ("start", "open", "first frame")
COLD_STARTS = 10
SUSTAINED_S = 600.0
# Of two networks in turn: short, so that what else the machine does meets both; a few frames after those that bring the
# network back into the caches; and turns enough that a median of them leaves out the odd ones.
_TURN_S = 0.05
_TURN_LEAST = 5
_SETTLE = 2
_LEAST_TURNS = 8
# Processes are what a comparison counts: more are added until the difference that matters can be told.
_PROCESSES = 5
COMPARED_PROCESSES, MOST_PROCESSES = 12, 30
# Sampling in each that is added, at most: who asks for ten minutes gets little more.
_ADDED_S = 2.0


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        mode: Single-stream, fixed-rate, offline, cold-start or sustained.
        seconds: Of sampling, over all processes; those that are added sample for 2 s each at most.
        processes: Fresh ones, one after another; layout in memory makes each a little faster or slower. None: 12 to 30
            in single-stream, as many as it takes to tell 5%, and 5 in other modes.
        fps: Of a fixed rate.
        repeats: Of a cold start.
    """

    mode: Mode
    seconds: float
    processes: int | None = None
    fps: float | None = None
    repeats: int = COLD_STARTS

    @property
    def least_processes(self) -> int:
        """How many to start at least."""
        if self.mode == "sustained":
            return 1
        usual = COMPARED_PROCESSES if self.mode == "single-stream" else _PROCESSES
        return usual if self.processes is None else self.processes

    def seconds_in(self, number: int) -> float:
        """Of sampling in one process, from 0."""
        share = self.seconds / self.least_processes
        return share if number < self.least_processes else min(share, _ADDED_S)

    @property
    def most_processes(self) -> int:
        """How many to start at most."""
        return MOST_PROCESSES if self.mode == "single-stream" and self.processes is None else self.least_processes


@dataclass(frozen=True)
class Measured:
    """What the processes gave.

    Attributes:
        rounds: In the order they were taken.
        backend: What ran the network.
        notes: What a reader should know.
    """

    rounds: tuple[Round, ...]
    backend: str
    notes: tuple[str, ...] = ()


def take_rounds(subject: Subject, plan: Plan, progress: Progress) -> Measured:
    """Measure one network.

    Raises:
        EdgecnnError: The network cannot be opened or run; see ``Worker``.
    """
    if plan.mode == "cold-start":
        return _cold_starts(subject, plan.repeats, progress)
    if plan.mode == "offline":
        return _batches(subject, plan, progress)
    least, most = plan.least_processes, plan.most_processes
    request = Request(0.0, -(-LEAST_SAMPLES // least), plan.fps, settle=_SETTLE, yardstick=True)
    rounds: list[Round] = []
    backend = ""
    with progress.task(f"{plan.mode}, {plan.seconds:g} s in {_span(least, most)}", most) as task:
        while len(rounds) < least or (len(rounds) < most and not tells_enough_alone(rounds)):
            with Worker((subject,), len(rounds)) as worker:
                rounds.append(worker.sample(replace(request, seconds=plan.seconds_in(len(rounds)))))
                backend = worker.ready.descriptions[0]
            task.advance()
    return Measured(tuple(rounds), backend)


def take_rounds_in_turn(first: Subject, second: Subject, plan: Plan, progress: Progress) -> tuple[Measured, Measured]:
    """Measure two networks in turn, each for a twentieth of a second: what else the machine does meets both.

    The order is that of A B, B A, A B ..., so that a steady drift favours neither, and each is opened first in every
    other process. How many processes there are is decided by how far their differences spread, never by what they say:
    else one would go on until chance says something.

    Returns:
        The rounds of both: those at one index were taken one right after the other.
    """
    least = plan.least_processes
    most = plan.most_processes
    request = Request(_TURN_S, max(_TURN_LEAST, -(-LEAST_SAMPLES // (_LEAST_TURNS * least))), settle=_SETTLE)
    taken: tuple[list[Round], list[Round]] = ([], [])
    names: tuple[str, ...] = ("", "")
    number = 0
    with progress.task(f"two networks in turn, in {_span(least, most)}", most) as task:
        while number < least or (number < most and not tells_enough(*taken)):
            with Worker((first, second) if number % 2 == 0 else (second, first), number) as worker:
                # Places of the two in this process.
                places = (0, 1) if number % 2 == 0 else (1, 0)
                turn, begin = 0, time.monotonic_ns()
                share_ns = 2e9 * plan.seconds_in(number)  # both together take twice the seconds of one
                while turn < _LEAST_TURNS or time.monotonic_ns() - begin < share_ns:
                    for which in (0, 1) if (turn + number) % 2 == 0 else (1, 0):
                        taken[which].append(worker.sample(replace(request, which=places[which])))
                    turn += 1
                names = tuple(worker.ready.descriptions[place] for place in places)
            number += 1
            task.advance()
    return Measured(tuple(taken[0]), names[0]), Measured(tuple(taken[1]), names[1])


def _span(least: int, most: int) -> str:
    return f"{least} processes" if least == most else f"{least} to {most} processes"


def _batches(subject: Subject, plan: Plan, progress: Progress) -> Measured:
    """Throughput of inference over batch sizes, inputs ready in memory, in every process all sizes."""
    rounds: list[Round] = []
    sizes: Sequence[int] = ()
    backend = ""
    processes = plan.least_processes
    with progress.task(f"offline, {plan.seconds:g} s in {processes} processes", processes) as task:
        for number in range(processes):
            with Worker((subject,), number) as worker:
                sizes, backend = worker.ready.batches, worker.ready.descriptions[0]
                least = -(-LEAST_SAMPLES // processes)
                each = Request(plan.seconds / processes / len(sizes), least)
                rounds += [worker.sample(replace(each, batch=size)) for size in sizes]
            task.advance()
    one = [
        f"the network takes {size} at once and no other number: there is one batch size to measure" for size in sizes
    ]
    return Measured(tuple(rounds), backend, tuple(one) if len(one) == 1 else ())


def _cold_starts(subject: Subject, repeats: int, progress: Progress) -> Measured:
    """A fresh process each time: its start with all imports, the opening of the session, the first frame's result."""
    rounds: list[Round] = []
    backend = ""
    with progress.task("cold start", repeats) as task:
        for number in range(repeats):
            with Worker((subject,), number, warm=False) as worker:
                ready, begin = worker.ready, worker.started_ns
            marks = (begin, ready.entered_ns, ready.opened_ns, ready.first_ns)
            spans = [[end - start] for start, end in pairwise(marks)]
            rounds.append(round_of(number, begin, 0, [0], dict(zip(COLD_STAGES, spans, strict=True))))
            backend = ready.descriptions[0]
            task.advance()
    note = "files that the first start has read stay in the system's memory: this is a fresh process, not a fresh board"
    return Measured(tuple(rounds), backend, (note,))


def missed_deadlines(rounds: Sequence[Round], fps: float) -> int:
    """Frames whose result came after the next frame was due."""
    return sum(int((each.total_ns() > 1e9 / fps).sum()) for each in rounds if WAIT in each.samples_ns)
