"""The thread that turns frames into the network's inputs, a little ahead of the network."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Frame
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.runtime.buffer import FrameBuffer, Lock, Turns
from edgecnn.runtime.metrics import Metrics
from edgecnn.vision.preprocess import network_input

# Inputs that are ready while the network is busy: one, and where every frame is wanted another, which evens out a
# slow frame.
_AHEAD = 2
_POLL_S = 0.1
# A thread that sleeps is woken a little late.
_WAKING_NS = 1_000_000


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network's input.

    Attributes:
        frames: What is in it, as many as the network takes at once or fewer.
        feed: The input.
        own: The array to be filled again, where the feed is not a frame itself.
        buffers: Where the frames came from.
    """

    frames: tuple[Frame, ...]
    feed: npt.NDArray[Any]
    own: npt.NDArray[Any]
    buffers: tuple[FrameBuffer, ...]


class Preparation:
    """Keeps inputs ready.

    Of sources that may drop, the input is made at the last moment, when the network is expected to be free, and made
    anew where a newer frame comes before it is: results are then about now, whatever the network takes.

    Args:
        buffers: Of all sources; they share ``arrived``.
        arrived: What they notify.
        lock: Of that condition.
        spec: What the network wants of a frame.
        batch: How many frames the network takes at once.
        metrics: Get the time of the stage, and what was dropped here.
        check: Is called with each frame before it is prepared; what it raises ends the source of the frame.
    """

    def __init__(
        self,
        buffers: Sequence[FrameBuffer],
        arrived: threading.Condition,
        lock: Lock,
        spec: InputSpec,
        batch: int,
        metrics: Metrics,
        check: Callable[[Frame], bool],
    ) -> None:
        self._turns, self._arrived, self._lock = Turns(buffers), arrived, lock
        self._made = threading.Condition(lock)
        self._spec, self._batch, self._metrics, self._check = spec, batch, metrics, check
        self._depth = 1 if any(buffer.policy.drops for buffer in buffers) else _AHEAD
        self._timed = self._depth == 1
        shape = (batch, *spec.input_shape) if spec.embed is None else (batch, *spec.embed.frame_hw, 3)
        kind = np.float32 if spec.embed is None else np.uint8
        # One is with the network, one is being filled.
        self._free = [np.zeros(shape, dtype=kind) for _ in range(self._depth + 2)]
        self._ready: deque[Prepared] = deque()
        self._idle = True
        self._due_ns = 0
        self._inference_ns = self._preparing_ns = 0.0
        self._ended = False
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Prepare until all sources have ended or ``end`` is called."""
        before = cv2.getNumThreads()
        try:
            cv2.setNumThreads(1)  # its others would take the network's processors
            while self._wait():
                self._prepare()
        except BaseException as error:  # raised in the thread that runs the pipeline
            self.failure = error
        finally:
            cv2.setNumThreads(before)
            self.end()

    def take(self, timeout_s: float) -> Prepared | None:
        """The next input; None after the timeout, or when there will be none. Give it back after use."""
        with self._lock:
            if not self._ready:
                if not self._idle:
                    self._idle = True
                    self._arrived.notify()
                self._made.wait_for(lambda: self._ready or self._ended, timeout_s)
                if not self._ready:
                    return None
            taken = self._ready.popleft()
            self._idle = False
            if self._timed:
                self._due_ns = time.monotonic_ns() + int(self._inference_ns - 1.5 * self._preparing_ns) - _WAKING_NS
            self._arrived.notify()
            return taken

    def give_back(self, prepared: Prepared, inference_ns: int) -> None:
        """The network has read an input, and took so long."""
        with self._lock:
            self._free.append(prepared.own)
            self._inference_ns += (inference_ns - self._inference_ns) / 8 if self._inference_ns else inference_ns

    def end(self) -> None:
        """Prepare no more; what is ready can still be taken."""
        with self._lock:
            self._ended = True
            self._arrived.notify_all()
            self._made.notify_all()

    @property
    def finished(self) -> bool:
        """Whether nothing is ready, nor will be."""
        with self._lock:
            return self._ended and not self._ready

    def left(self) -> list[Frame]:
        """Frames that were prepared and never taken, once all has ended."""
        return [frame for prepared in self._ready for frame in prepared.frames]

    def _wait(self) -> bool:
        """Until there is something to do; False at the end."""
        with self._lock:
            while not self._ended:
                late_ns = 0 if self._idle or not self._timed else max(self._due_ns - time.monotonic_ns(), 0)
                if not late_ns and self._wanted():
                    return True
                if self._turns.finished:
                    return False
                self._arrived.wait(min(late_ns / 1e9, _POLL_S) if late_ns else _POLL_S)
        return False

    def _wanted(self) -> bool:
        if len(self._ready) < self._depth:
            return self._turns.waiting
        return self._outdated(self._ready[-1])

    def _outdated(self, prepared: Prepared) -> bool:
        """Whether a newer frame could take the place of what is ready."""
        (buffer, *others) = prepared.buffers
        return not others and buffer.policy.room == 1 and buffer.policy.drops and buffer.waiting > 0

    def _prepare(self) -> None:
        with self._lock:
            outdated = self._ready[-1] if len(self._ready) >= self._depth else None
            own = self._free.pop()
            taken: list[tuple[FrameBuffer, Frame]] = []
            if outdated is not None:
                frame = outdated.buffers[0].take(0)
                taken += [(outdated.buffers[0], frame)] if frame is not None else []
            while outdated is None and len(taken) < self._batch and (turn := self._turns.take()) is not None:
                taken.append(turn)
        begin = time.monotonic_ns()
        taken = [(buffer, frame) for buffer, frame in taken if self._check(frame)]
        feed: npt.NDArray[Any] = own
        for place, (_, frame) in enumerate(taken):
            room = own[place : place + 1]
            made = network_input(frame.image, self._spec, out=room)
            if self._batch == 1:
                feed = made
            elif made is not room:
                np.copyto(room, made)
        took_ns = time.monotonic_ns() - begin
        with self._lock:
            if not taken:
                self._free.append(own)
                return
            self._metrics.stage("preprocess", took_ns)
            self._preparing_ns += (took_ns - self._preparing_ns) / 8 if self._preparing_ns else took_ns
            if outdated is not None and outdated in self._ready:  # else the network was quicker
                self._ready.remove(outdated)
                self._free.append(outdated.own)
                for frame in outdated.frames:
                    self._metrics.source(frame.source).drop("prepared")
            frames = tuple(frame for _, frame in taken)
            self._ready.append(Prepared(frames, feed, own, tuple(buffer for buffer, _ in taken)))
            self._made.notify()
