"""The thread that turns the network's outputs into results and hands them on."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from edgecnn.core.frame import Frame
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Result, Usage
from edgecnn.runtime.metrics import Metrics
from edgecnn.vision.results import decode_result

_POLL_S = 0.1
# Outputs that wait to be decoded; where that is the slowest stage, the network waits for it.
_ROOM = 2

Interpret = Callable[[Frame, Result], Result]


class ResultTaker(Protocol):
    """Where results go, such as a ``SinkWorker``."""

    def put(self, frame: Frame, result: Result, age_ns: int) -> None:
        """Take a result, at once, or where every result is wanted once there is room; never raises."""
        ...


@dataclass(frozen=True, eq=False)
class Inferred:
    """What the network said.

    Attributes:
        frames: About these, one in each row of the outputs where it takes several.
        outputs: Nobody else's.
        took_ns: How long it took.
        results: What tiles of the frames gave, in place of the outputs.
    """

    frames: tuple[Frame, ...]
    outputs: Arrays
    took_ns: int
    results: tuple[Result, ...] | None = None


class Finishing:
    """Decodes, interprets, and gives results to the sinks, in order.

    Args:
        usage: What the outputs mean.
        batch: How many frames the network takes at once.
        sinks: Get every result.
        metrics: Get the times.
        interpreters: What results go through, by source; none for as they are.
        over: Is set where something fails.
    """

    def __init__(
        self,
        usage: Usage,
        batch: int,
        sinks: Sequence[ResultTaker],
        metrics: Metrics,
        interpreters: Mapping[str, Interpret],
        over: threading.Event,
    ) -> None:
        self._usage, self._batch, self._sinks, self._metrics = usage, batch, sinks, metrics
        self._interpreters, self._over = interpreters, over
        # A SimpleQueue is C: a Queue's put takes the thread that runs the network 20 microseconds more.
        self._queue: queue.SimpleQueue[Inferred | None] = queue.SimpleQueue()
        self._taken = threading.Event()
        self._ended = threading.Event()
        self.failure: BaseException | None = None
        self.resized = 0

    def put(self, inferred: Inferred) -> None:
        """Give outputs; waits while there is no room, unless the end is wanted."""
        while self._queue.qsize() >= _ROOM:
            self._taken.clear()
            full = self._queue.qsize() >= _ROOM and not self._taken.wait(_POLL_S)
            if full and (self._ended.is_set() or self.failure is not None):
                for frame in inferred.frames:
                    self._metrics.source(frame.source).drop("stop")
                return
        self._queue.put(inferred)

    def end(self) -> None:
        """No more will come."""
        self._ended.set()
        self._queue.put(None)

    def run(self) -> None:
        """Work until the end."""
        while True:
            inferred = self._queue.get()
            self._taken.set()
            if inferred is None:
                return
            self._metrics.stage("infer", inferred.took_ns)
            try:
                for row, frame in enumerate(inferred.frames):
                    outputs = inferred.outputs
                    if self._batch > 1:
                        outputs = {name: array[row : row + 1] for name, array in outputs.items()}
                    self._finish(frame, outputs, inferred.results[row] if inferred.results is not None else None)
            except BaseException as error:  # raised in the thread that runs the pipeline
                self.failure = self.failure or error
                self._over.set()

    def _finish(self, frame: Frame, outputs: Arrays, result: Result | None) -> None:
        begin = time.monotonic_ns()
        frame_hw = (frame.image.shape[0], frame.image.shape[1])
        if result is None:
            result = decode_result(outputs, self._usage, frame_hw)
        interpret = self._interpreters.get(frame.source)
        if interpret is not None:
            result = interpret(frame, result)
        decoded = time.monotonic_ns()
        age_ns = decoded - frame.captured_ns
        for sink in self._sinks:
            sink.put(frame, result, age_ns)
        finished = time.monotonic_ns()
        embed = self._usage.preprocess.embed
        self.resized += embed is not None and frame_hw != embed.frame_hw
        self._metrics.source(frame.source).process(age_ns)
        self._metrics.stage("decode", decoded - begin)
        self._metrics.stage("sinks", finished - decoded)
