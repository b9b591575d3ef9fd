"""The newest picture of each source, encoded when somebody asks for it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import cv2
import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.vision.results import draw_result

# Widths that a browser may ask for, pixels; few, so that several browsers share one encoding.
WIDTHS = (480, 960, 1440)
_QUALITY = 78


@dataclass(frozen=True)
class Picture:
    """An encoded one.

    Attributes:
        number: Counts the results of its source; a newer one has a higher number.
        taken_s: When it was encoded, monotonic seconds.
    """

    number: int
    jpeg: bytes
    taken_s: float


class Pictures:
    """Keeps the newest result of each source; written by the run and read by the server, in any threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, tuple[int, Frame, Result, int]] = {}
        self._encoded: dict[tuple[str, int], Picture] = {}
        self._encoding: dict[tuple[str, int], threading.Lock] = {}

    def put(self, frame: Frame, result: Result, age_ns: int) -> None:
        """A new result; the one before it is forgotten, seen or not."""
        with self._lock:
            number = self._newest[frame.source][0] + 1 if frame.source in self._newest else 1
            self._newest[frame.source] = (number, frame, result, age_ns)

    def number(self, source: str) -> int:
        """That of the newest result; 0 where there is none."""
        with self._lock:
            return self._newest[source][0] if source in self._newest else 0

    def last(self, source: str, width: int) -> Picture | None:
        """The one that was encoded last."""
        with self._lock:
            return self._encoded.get((source, width))

    def encode(self, source: str, width: int) -> Picture | None:
        """The newest result drawn in, at most so wide; whoever asks for the same meanwhile gets the same."""
        key = (source, width)
        with self._lock:
            guard = self._encoding.setdefault(key, threading.Lock())
        with guard:
            with self._lock:
                newest, last = self._newest.get(source), self._encoded.get(key)
            if newest is None or (last is not None and last.number == newest[0]):
                return last
            number, frame, result, age_ns = newest
            picture = Picture(number, _jpeg(frame, result, age_ns, width), time.monotonic())
            with self._lock:
                self._encoded[key] = picture
            return picture


def _jpeg(frame: Frame, result: Result, age_ns: int, width: int) -> bytes:
    canvas = draw_result(frame.image, result, f"frame {frame.index}  age {age_ns / 1e6:.1f} ms")
    if canvas.shape[1] > width:
        size = (width, round(canvas.shape[0] * width / canvas.shape[1]))
        canvas = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    done, encoded = cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done
    return encoded.tobytes()
