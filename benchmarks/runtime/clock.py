"""How old a picture of the test server's ``/clock`` is when somebody has a result of it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

_BARS = 32


def picture_age_ms(image: Any) -> float:
    """Its age by the time that is drawn in it as bars, the lowest bit first."""
    height, width = image.shape[:2]
    bars = image[height // 2, width // _BARS // 2 :: width // _BARS, 0] > 128
    return time.monotonic() * 1000 - float(np.sum(bars.astype(np.int64) << np.arange(_BARS)))


class ClockReader:
    """A sink that keeps the ages."""

    def __init__(self) -> None:
        self.ages_ms: list[float] = []

    def put(self, frame: Any, result: Any, age_ns: int) -> None:  # noqa: ARG002 - the names of the interface
        """Note one."""
        self.ages_ms.append(picture_age_ms(frame.image))

    def close(self, timeout_s: float) -> None:
        """Nothing is to be finished."""
