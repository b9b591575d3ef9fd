"""A sink in a thread of its own: what it cannot take in time, or at all, costs the run nothing."""

from __future__ import annotations

import dataclasses
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.errors import EdgecnnError
from edgecnn.runtime.metrics import SinkMetrics, SinkState
from edgecnn.runtime.sinks.base import DeliveringSink, Delivery, Sink

_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
_LOOK_S = 0.25


class SinkWorker:
    """Hands results to a sink, in order, and contains what goes wrong in it.

    After an ``OSError`` (a full disk) the sink is tried again, at first after half a second, then after ever longer
    up to half a minute; results that come in between are dropped and counted. Any other error ends this sink, and no
    other. Each trouble is said once.

    Args:
        sink: Written and closed in the worker's thread only.
        name: In messages.
        metrics: Where its state and its counts go.
        wait: Whether ``put`` waits while there is no room, as for files; otherwise the oldest result is dropped.
        room: Results that may wait; at 1280 x 720 each holds a picture of 2.8 MB.
        pictures: Whether the sink looks at the frames' pictures. Where not, results wait without them, and many can.
        source: Takes the results of this source only; None takes all.
        say: Gets a sentence for each trouble, and for its end.
    """

    def __init__(
        self,
        sink: Sink,
        name: str,
        metrics: SinkMetrics,
        *,
        wait: bool,
        room: int = 4,
        pictures: bool = True,
        source: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.failure: Exception | None = None  # what ended the sink
        self._sink, self._metrics, self._say = sink, metrics, say
        self._delivering = sink if isinstance(sink, DeliveringSink) else None
        self._wait, self._room, self._pictures, self._source = wait, room, pictures, source
        self._results: deque[tuple[Frame, Result, int]] = deque()
        self._changed = threading.Condition()
        self._closing = self._closed = False
        self._trouble = ""
        self._lost = 0  # since the trouble began
        self._told = Delivery()
        self._retry_at, self._retry_s = 0.0, _FIRST_RETRY_S
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    def put(self, frame: Frame, result: Result, age_ns: int) -> None:
        """Give one result, from any thread; after ``close`` it is dropped."""
        if self._source is not None and frame.source != self._source:
            return
        if not self._pictures:
            frame = dataclasses.replace(frame, image=_NO_PICTURE)
        with self._changed:
            while self._wait and len(self._results) >= self._room and not self._closing:
                self._changed.wait()
            if self._closing:
                self._metrics.count(dropped=1)
                return
            if len(self._results) >= self._room:
                self._results.popleft()
                self._metrics.count(dropped=1)
            self._results.append((frame, result, age_ns))
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Write what waits and close the sink; one that takes longer is left behind, and that is said."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            with self._changed:
                self._metrics.count(dropped=len(self._results))
                self._results.clear()
            self.failure = self.failure or TimeoutError(f"{self.name}: did not finish in {timeout_s:g} s")
            self._metrics.enter("failing", str(self.failure))
            self._say(str(self.failure))

    def trouble(self) -> str:
        """Why the sink does not take results, or did not when it was closed, in one sentence; empty where it does."""
        return _sentence(self.name, self.failure) if self.failure is not None else self._trouble

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._results or self._closing, _LOOK_S)
                if self._closing and not self._results:
                    break
                taken = self._results.popleft() if self._results else None
                self._changed.notify_all()
            if taken is not None:
                self._write(*taken)
            self._look()
        self._close_sink()
        self._look()
        if self.failure is None:
            state: SinkState = "failing" if self._trouble else "closed"
            self._metrics.enter(state, self._trouble or self._told.trouble)

    def _write(self, frame: Frame, result: Result, age_ns: int) -> None:
        if self.failure is not None or (time.monotonic() < self._retry_at and not self._closing):
            self._drop()
            return
        try:
            self._sink.write(frame, result, age_ns)
        except OSError as error:
            self._drop()
            self._retry_at = time.monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
            reason = _sentence(self.name, error)
            if not self._trouble:
                self._say(f"{reason}; it is tried again, the rest goes on")
            self._trouble = reason
            self._metrics.enter("failing", reason)
        except Exception as error:
            self._drop()
            self._end(error)
        else:
            self._metrics.count(written=1)
            if self._trouble:
                self._say(f"{self.name}: works again; {self._lost} results were lost")
                self._trouble, self._lost, self._retry_s = "", 0, _FIRST_RETRY_S
                self._metrics.enter("running")

    def _drop(self) -> None:
        self._metrics.count(dropped=1)
        self._lost += 1

    def _end(self, error: Exception) -> None:
        """It goes on no more; what it has is kept as far as it can be."""
        self._fail(error)
        self._close_sink()

    def _close_sink(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._sink.close()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        reason = _sentence(self.name, error)
        if self.failure is None or str(self.failure) != str(error):
            self._say(reason)
        if self.failure is None:
            self.failure = error
            self._metrics.enter("failing", reason)

    def _look(self) -> None:
        """Publish what waits, here and in the sink itself."""
        found = self._delivering.delivery() if self._delivering is not None else Delivery()
        with self._changed:
            self._metrics.wait(len(self._results) + found.waiting)
        if found.dropped > self._told.dropped:
            self._metrics.count(dropped=found.dropped - self._told.dropped)
        if found.trouble != self._told.trouble and not self._trouble and self.failure is None:
            self._metrics.enter("failing" if found.trouble else "running", found.trouble)
            self._say(found.trouble or f"{self.name}: works again; {found.waiting} results are still to be sent")
        self._told = found


def _sentence(name: str, error: Exception) -> str:
    """What to say of an error: one sentence, with the hint where it has one."""
    if isinstance(error, EdgecnnError):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    if isinstance(error, OSError) and error.errno is not None:
        where = f" {os.fsdecode(error.filename)}:" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return f"{name}:{where} {'no room left on the disk' if full else error.strerror}"
    if isinstance(error, OSError):
        return f"{name}: {error}"
    return f"{name}: a bug in edgecnn: {type(error).__name__}: {error}"
