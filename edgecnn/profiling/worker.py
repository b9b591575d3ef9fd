"""Processes that measure: each opens its session anew, warms up, and takes samples when it is told to."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from edgecnn.errors import EdgecnnError, EnvironmentMissing
from edgecnn.profiling.bench import Timing, WarmUp, time_at_rate, time_steps, warm_up
from edgecnn.profiling.records import Round, round_of
from edgecnn.profiling.subject import Step, Subject, batches_of
from edgecnn.profiling.yardstick import time_yardstick

# Fresh ones, not forks: a fork shares memory, threads and the GPU's context with its parent.
_PROCESSES = multiprocessing.get_context("spawn")
_END_S = 10.0


@dataclass(frozen=True)
class Request:
    """What to sample.

    Attributes:
        seconds: How long.
        least: Samples to take at least.
        fps: Frames a second; None: each as soon as the one before has ended.
        batch: Inputs at once, inference alone; None: whole frames.
        settle: Rounds before that do not count, where something else has run in the meantime.
        which: Of the process's networks, from 0.
        yardstick: Whether to time the fixed work, too, before and after.
    """

    seconds: float
    least: int
    fps: float | None = None
    batch: int | None = None
    settle: int = 0
    which: int = 0
    yardstick: bool = False


@dataclass(frozen=True)
class Ready:
    """What a process says when its session is open and warm.

    Attributes:
        descriptions: The backend's, for each network.
        batches: How many inputs at once the first network takes.
        entered_ns: When its first line ran, monotonic clock.
        opened_ns: When all sessions were open.
        first_ns: When a first frame had its result in each.
        warm_ups: How they went.
    """

    descriptions: tuple[str, ...]
    batches: tuple[int, ...]
    entered_ns: int
    opened_ns: int
    first_ns: int
    warm_ups: tuple[WarmUp, ...]


class Worker:
    """A process that measures; a context manager, which ends it.

    Networks that are measured in turn are in one process: two processes may find themselves on processors that are not
    equally busy, and stay there.

    Args:
        subjects: What to measure, one after another.
        number: The process's, for its rounds.
        warm: Whether to warm up; without, it has shown one frame.

    Raises:
        EdgecnnError: What the process raised.
        EnvironmentMissing: It died.
    """

    def __init__(self, subjects: Sequence[Subject], number: int = 0, *, warm: bool = True) -> None:
        self.number = number
        self._here, there = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_serve, args=(there, subjects, warm), daemon=True)
        self.started_ns = time.monotonic_ns()
        self._process.start()
        there.close()
        try:
            self.ready: Ready = self._receive()
        except BaseException:
            self.close()
            raise
        self._warm_ups = [went.rounds for went in self.ready.warm_ups]

    def sample(self, request: Request) -> Round:
        """Take samples; the warm-up counts for the first ones of a network."""
        self._here.send(request)
        answer: tuple[Timing, tuple[int, ...]] = self._receive()
        timing, yardstick = answer
        done, self._warm_ups[request.which] = self._warm_ups[request.which], 0
        return round_of(
            self.number,
            timing.begin_ns,
            done + request.settle,
            timing.starts_ns,
            timing.samples_ns,
            settled=self.ready.warm_ups[request.which].settled,
            batch=request.batch or 1,
            yardstick_ns=yardstick,
        )

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            self._here.send(None)
        self._here.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self.close()

    def _receive(self) -> Any:
        try:
            answer = self._here.recv()
        except (EOFError, OSError):
            self._process.join(_END_S)
            raise EnvironmentMissing(
                f"the process that measured died (exit status {self._process.exitcode})",
                "-9 is the system's answer to too little memory; else run again with edgecnn --debug",
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(pipe: Connection[Any, Any], subjects: Sequence[Subject], warm: bool) -> None:
    """The process's part."""
    entered = time.monotonic_ns()
    try:
        sessions = [subject.open_session() for subject in subjects]
        opened = time.monotonic_ns()
        frames = [subject.frame_steps(session) for subject, session in zip(subjects, sessions, strict=True)]
        for steps in frames:
            for step in steps.values():
                step()
        first = time.monotonic_ns()
        went = tuple(warm_up(steps) if warm else WarmUp(0, settled=True) for steps in frames)
        descriptions = tuple(session.description for session in sessions)
        pipe.send(Ready(descriptions, batches_of(sessions[0]), entered, opened, first, went))
        while (request := pipe.recv()) is not None:
            which, batch = request.which, request.batch
            steps = frames[which] if batch is None else subjects[which].batch_steps(sessions[which], batch)
            pipe.send(_sample(request, steps))
        for session in sessions:
            session.close()
    except EdgecnnError as error:
        pipe.send(type(error)(error.message, error.hint))
    except (EOFError, KeyboardInterrupt):
        return  # who asked is gone
    except Exception as error:
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _sample(request: Request, steps: Mapping[str, Step]) -> tuple[Timing, tuple[int, ...]]:
    if not request.yardstick:
        return _timed(request, steps), ()
    before = time_yardstick()
    timing = _timed(request, steps)
    return timing, (before, time_yardstick())


def _timed(request: Request, steps: Mapping[str, Step]) -> Timing:
    for _ in range(request.settle):
        for step in steps.values():
            step()
    if request.batch is not None:
        warm_up(steps)
    if request.fps is not None:
        return time_at_rate(steps, request.fps, request.seconds, request.least)
    return time_steps(steps, request.seconds, request.least)
