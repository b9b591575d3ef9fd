"""Between the threads that capture and the one that prepares frames for the network."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import SourceMetrics

# Of threading.RLock, whose type has no name.
Lock = Any


@dataclass(frozen=True)
class DropPolicy:
    """What happens to frames that come while the network is busy.

    Attributes:
        room: How many wait.
        drops: Whether the oldest makes room for the newest; else the source waits.
    """

    room: int
    drops: bool

    def __str__(self) -> str:
        if not self.drops:
            return "wait"
        return "latest" if self.room == 1 else f"drop-oldest:{self.room}"


# Results are about now: for cameras.
LATEST = DropPolicy(1, drops=True)
# Each frame is taken once: for files. Enough for the decoder to run ahead of a slow frame; more would only hold memory.
WAIT = DropPolicy(4, drops=False)


def parse_policy(text: str) -> DropPolicy:
    """``latest``, ``wait`` or ``drop-oldest:N``.

    Raises:
        InputError: It is none of these.
    """
    if text in ("latest", "wait"):
        return LATEST if text == "latest" else WAIT
    matched = re.fullmatch(r"drop-oldest:([1-9]\d{0,3})", text)
    if matched is None:
        raise InputError(f"--drop {text}: not a drop policy", "latest, wait or drop-oldest:N, such as drop-oldest:8")
    return DropPolicy(int(matched.group(1)), drops=True)


class FrameBuffer:
    """Hands the frames of one source over, in order.

    Args:
        policy: What to do where there is no room.
        metrics: Count what is received and dropped.
        arrived: Is notified of frames and of the end; buffers may share it, so that one thread can wait for all.
        lock: Of that condition.
    """

    def __init__(
        self,
        policy: DropPolicy,
        metrics: SourceMetrics,
        arrived: threading.Condition | None = None,
        lock: Lock | None = None,
    ) -> None:
        self.policy = policy
        self._metrics = metrics
        self._frames: deque[Frame] = deque()
        lock = lock or threading.RLock()
        self._arrived = arrived or threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._closed = False

    def put(self, frame: Frame) -> bool:
        """Give a frame; False once nobody wants more."""
        with self._arrived:
            while not self._closed and not self.policy.drops and len(self._frames) >= self.policy.room:
                self._room.wait()
            if self._closed:
                return False
            self._metrics.receive()
            if len(self._frames) >= self.policy.room:
                self._frames.popleft()
                self._metrics.drop("buffer")
            self._frames.append(frame)
            self._arrived.notify()
            return True

    def take(self, timeout_s: float) -> Frame | None:
        """The next frame; None after the timeout, or when there will be none."""
        with self._arrived:
            if timeout_s:
                self._arrived.wait_for(lambda: self._frames or self._closed, timeout_s)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._room.notify()
            return frame

    def close(self) -> None:
        """No more frames: those that wait can still be taken."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
            self._room.notify_all()

    @property
    def waiting(self) -> int:
        """How many frames can be taken now."""
        return len(self._frames)

    @property
    def finished(self) -> bool:
        """Whether it is closed and empty."""
        with self._arrived:
            return self._closed and not self._frames


class Turns:
    """Takes from several buffers in turn: one that always has a frame gets no more than its share.

    Args:
        buffers: They share the condition on which their user waits.
    """

    def __init__(self, buffers: Sequence[FrameBuffer]) -> None:
        self._buffers = list(buffers)

    @property
    def waiting(self) -> bool:
        """Whether there is a frame."""
        return any(buffer.waiting for buffer in self._buffers)

    @property
    def finished(self) -> bool:
        """Whether there will be none any more."""
        return all(buffer.finished for buffer in self._buffers)

    def take(self) -> tuple[FrameBuffer, Frame] | None:
        """A frame of the source that has waited longest for its turn, and its buffer; None where there is none."""
        for place, buffer in enumerate(self._buffers):
            if (frame := buffer.take(0)) is not None:
                self._buffers.append(self._buffers.pop(place))
                return buffer, frame
        return None
