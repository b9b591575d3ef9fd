"""A camera that is not there: a moving test picture at a steady rate."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError


def parse_synthetic(address: str) -> tuple[int, int, float]:
    """Width, height and frames a second of ``synthetic://[WxH][@FPS]``; 640 x 480 at 30 where not said.

    Raises:
        InputError: It is not of that form.
    """
    matched = re.fullmatch(r"synthetic://(?:(\d+)x(\d+))?(?:@(\d+(?:\.\d+)?))?", address)
    width, height, fps = (
        (matched.group(1) or 640, matched.group(2) or 480, matched.group(3) or 30) if matched else (0, 0, 0)
    )
    if not int(width) or not int(height) or not float(fps):
        raise InputError(
            f"source {address}: not of the form synthetic://WxH@FPS", "for example synthetic://1280x720@30"
        )
    return int(width), int(height), float(fps)


class SyntheticSource:
    """A disc that circles over a gradient, for ever.

    A frame that is due while the last one is still being taken is late, not skipped; the next keep to the clock.
    """

    live = True

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.name = f"synthetic://{width}x{height}@{fps:g}"
        self.fps = fps
        row = np.linspace(40, 200, width, dtype=np.float32)
        column = np.linspace(0, 55, height, dtype=np.float32)[:, None]
        plane = (row + column).astype(np.uint8)
        self._background = np.dstack([plane, plane[:, ::-1], np.full_like(plane, 96)])
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        begin = time.monotonic()
        height, width = self._background.shape[:2]
        radius = max(min(width, height) // 8, 1)
        index = 0
        while not self._closed.wait(max(begin + index / self.fps - time.monotonic(), 0)):
            image = self._background.copy()
            angle = index / self.fps  # one radian a second
            centre = (int(width * (0.5 + 0.3 * np.cos(angle))), int(height * (0.5 + 0.3 * np.sin(angle))))
            cv2.circle(image, centre, radius, (60, 220, 250), -1, cv2.LINE_AA)
            yield Frame(index, time.monotonic_ns(), image)
            index += 1

    def __enter__(self) -> SyntheticSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
