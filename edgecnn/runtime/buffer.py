"""Between the thread that captures and the one that computes."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

from edgecnn.core.frame import Frame

DropPolicy = Literal["latest", "wait"]
# Enough for the decoder to run ahead of a slow frame; more would only hold memory.
_WAITING = 4


class FrameBuffer:
    """Hands frames over in order.

    Args:
        policy: ``latest`` keeps the newest frame only, so that results are about now: for cameras. ``wait`` makes the
            capture wait, so that each frame is taken once: for files.
    """

    def __init__(self, policy: DropPolicy) -> None:
        self._room = 1 if policy == "latest" else _WAITING
        self._drops = policy == "latest"
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.received = 0
        self.dropped = 0

    def put(self, frame: Frame) -> bool:
        """Give a frame; False once nobody wants more."""
        with self._changed:
            while not self._closed and not self._drops and len(self._frames) >= self._room:
                self._changed.wait()
            if self._closed:
                return False
            self.received += 1
            if len(self._frames) >= self._room:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> Frame | None:
        """The next frame; None after the timeout, or when there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed, timeout_s)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    def close(self) -> None:
        """No more frames: those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._closed and not self._frames
