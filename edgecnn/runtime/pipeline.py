"""Capture, preprocess, infer, decode, sinks: stages that overlap, for days.

Each source is captured in a thread of its own; one thread prepares inputs, the calling thread does nothing but run
the network, one decodes its outputs and hands the results on, and one watches. What waits between them is bounded
everywhere, so nothing queues up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy.typing as npt

from edgecnn.backends.session import Session
from edgecnn.core.detector import Detector
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Usage
from edgecnn.errors import EdgecnnError
from edgecnn.runtime.buffer import LATEST, WAIT, DropPolicy, FrameBuffer
from edgecnn.runtime.capture import Capture
from edgecnn.runtime.finishing import Finishing, Inferred, Interpret, ResultTaker
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.preparation import Preparation
from edgecnn.runtime.readings import Readings
from edgecnn.runtime.report import RunReport, make_report
from edgecnn.runtime.sources.base import FrameSource
from edgecnn.runtime.watch import Watch
from edgecnn.vision.tiles import detect_tiled

_POLL_S = 0.1
# For what is under way to end. A source that hangs in a driver cannot be joined; it is left behind as a daemon after
# this.
_END_S, _STOP_S = 30.0, 0.8


@dataclass(frozen=True)
class RunResult:
    """A report, and the errors that ended sources, by the source's name."""

    report: RunReport
    failures: dict[str, EdgecnnError]


def run_pipeline(
    sources: Sequence[FrameSource],
    session: Session,
    usage: Usage,
    sinks: Sequence[ResultTaker],
    stop: threading.Event,
    *,
    policies: Sequence[DropPolicy] | None = None,
    metrics: Metrics | None = None,
    make_interpreter: Callable[[FrameSource], Interpret] | None = None,
    max_frames: int | None = None,
    duration_s: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    readings: Readings | None = None,
) -> RunResult:
    """Process frames until all sources have ended, a limit is reached or ``stop`` is set.

    Sources get the network in turn, a frame each; a network that takes several at once gets one of each as far as
    there are. A source that fails ends alone.

    A network with embedded preprocessing takes frames of one size. A camera that delivers another from the start is
    refused, since it was meant to deliver that one, and resizing here would cost the time that embedding saves;
    pictures of a file or folder, and of a camera that changes its size later, are resized, as where accuracy is
    measured, and counted.

    Args:
        sources: Open, with names of their own; each is captured from in a thread of its own, and closed at the end.
        session: Runs in the calling thread.
        usage: How the network is used.
        sinks: Get every result, in order; the caller closes them.
        stop: Ends the run when set.
        policies: What becomes of frames that come while the network is busy, by source; without them the newest is
            kept of what is live, and every frame of what is not.
        metrics: Count while the run goes on; sources that report their state have been given theirs.
        make_interpreter: Makes for each source what its results go through, in order.
        max_frames: Process so many at most.
        duration_s: Run for so long at most.
        say: Gets a line where a source is lost or comes back, where frames begin to be dropped, and where the board
            makes itself slower against heat.
        readings: What the board's sensors say.

    Raises:
        GateMissed: The network's outputs are not numbers.
    """
    metrics = metrics or Metrics()
    policies = policies or [LATEST if source.live else WAIT for source in sources]
    shape = session.inputs[0].shape
    batch = shape[0] if isinstance(shape[0], int) else 1
    over, lock = threading.Event(), threading.RLock()
    arrived = threading.Condition(lock)
    captures: dict[str, Capture] = {}
    for source, policy in zip(sources, policies, strict=True):
        counts = metrics.source(source.name)
        buffer = FrameBuffer(policy, counts, arrived, lock)
        captures[source.name] = Capture(source, buffer, counts, usage, over, say)
    preparation = Preparation(
        [capture.buffer for capture in captures.values()],
        arrived,
        lock,
        usage.preprocess,
        batch,
        metrics,
        lambda frame: captures[frame.source].admit(frame),
    )
    interpreters = {} if make_interpreter is None else {source.name: make_interpreter(source) for source in sources}
    finishing = Finishing(usage, batch, sinks, metrics, interpreters, over)
    watch = Watch(metrics, dict(zip(captures, policies, strict=True)), over, say, duration_s, readings)
    works = {"prepare": preparation.run, "decode": finishing.run, "watch": watch.run}
    threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()]
    begin = time.monotonic()
    for thread in (*threads, *(capture.thread for capture in captures.values())):
        thread.start()
    try:
        left = -1 if max_frames is None else max_frames
        while left and not (stop.is_set() or over.is_set()):
            done = _infer(session, usage, preparation, finishing, metrics, left)
            if not done and preparation.finished:
                break
            left -= done
    finally:
        seconds = time.monotonic() - begin
        for part in (watch, preparation, finishing, *captures.values()):
            part.end()
        _join(threads, _STOP_S if stop.is_set() else _END_S)
        _join([thread for capture in captures.values() for thread in (capture.thread, capture.closing)], _STOP_S)
    unused = [frame.source for frame in preparation.left()]
    for name, capture in captures.items():
        capture.count_left(unused.count(name))
    errors = {name: capture.error for name, capture in captures.items() if capture.error is not None}
    failures = {name: error for name, error in errors.items() if isinstance(error, EdgecnnError)}
    for error in (preparation.failure, finishing.failure, *errors.values()):
        if error is not None and error not in failures.values():
            raise error
    return RunResult(make_report(tuple(captures), session.description, metrics, finishing.resized, seconds), failures)


def _join(threads: Sequence[threading.Thread], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(end - time.monotonic(), 0.0))


def _infer(
    session: Session, usage: Usage, preparation: Preparation, finishing: Finishing, metrics: Metrics, left: int
) -> int:
    """Run the network once, if an input comes soon; how many frames were in it."""
    prepared = preparation.take(_POLL_S)
    if prepared is None:
        return 0
    begin = time.monotonic_ns()
    outputs: Arrays = {}
    results = None
    if isinstance(usage, Detector) and usage.tiles is not None:
        run = partial(_run, session)
        results = tuple(detect_tiled(run, frame.image, usage, usage.tiles) for frame in prepared.frames)
    else:
        outputs = _run(session, prepared.feed)
    took_ns = time.monotonic_ns() - begin
    if session.reuses_outputs:
        outputs = {name: array.copy() for name, array in outputs.items()}
    preparation.give_back(prepared, took_ns)
    frames = prepared.frames if left < 0 else prepared.frames[:left]
    for frame in prepared.frames[len(frames) :]:
        metrics.source(frame.source).drop("stop")
    finishing.put(Inferred(frames, outputs, took_ns, results))
    return len(frames)


def _run(session: Session, feed: npt.NDArray[Any]) -> Arrays:
    return session.run({session.inputs[0].name: feed})
