"""Whether a source's frames are like the pictures that its network learnt from."""

from __future__ import annotations

import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.core.shift import ShiftPart
from edgecnn.core.usage import Result, Usage
from edgecnn.runtime.metrics import SourceMetrics
from edgecnn.vision.shift import statistics_of


class ShiftWatch:
    """Compares frames of one source with what a bundle remembers of its training pictures.

    Args:
        part: The bundle's.
        usage: Of the network.
        counts: Are told.
        interval_ns: Frames that come sooner after one that was compared are left out; 0: none is.
    """

    def __init__(self, part: ShiftPart, usage: Usage, counts: SourceMetrics, interval_ns: int = 0) -> None:
        self._part, self._usage, self._counts, self._interval_ns = part, usage, counts, interval_ns
        self._sum = np.zeros(len(part.statistics))
        self._count = 0
        self._last_ns: int | None = None

    def __call__(self, frame: Frame, result: Result, time_ns: int) -> None:
        """Compare a frame.

        Args:
            frame: With its picture.
            result: As decoded.
            time_ns: Of the frame, by the source's own clock.
        """
        if self._last_ns is not None and time_ns - self._last_ns < self._interval_ns:
            return
        self._last_ns = time_ns
        found = statistics_of(frame.image, result, self._usage)
        self._sum += self._part.scores(found)
        self._count += 1
        ratio = float(self._part.distance(found)) / max(self._part.threshold, np.finfo(float).tiny)
        self._counts.compare(ratio, self._part.furthest(self._sum / self._count))
