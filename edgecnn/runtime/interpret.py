"""What results mean over time: probabilities averaged, objects followed and counted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Classification, Detections, Embedding, Frame
from edgecnn.core.readings import Embedder
from edgecnn.core.usage import Result, Usage
from edgecnn.runtime.counting import LineCounter, count_zone
from edgecnn.runtime.shift import ShiftWatch
from edgecnn.runtime.tracking import Tracker
from edgecnn.vision.decode import named_classes
from edgecnn.vision.gallery import Gallery

# After so many time constants what was before has a weight below 5%, and is no longer about the same thing.
_GAP = 3.0


class Interpreter:
    """Makes more of the results of one source, one by one and in order.

    Args:
        usage: How the network is used: which classes are named, what is followed and counted.
        fps: Of a file, whose frames come as fast as they are processed; none for a live source, whose frames have the
            time at which they were captured.
        gallery: The vectors that an embedding network's results are compared with.
        shift: Is shown every frame with its result.

    Raises:
        EnvironmentMissing: Objects are to be followed, and edgefirst-tracker is not installed.
    """

    def __init__(
        self, usage: Usage, fps: float | None = None, gallery: Gallery | None = None, shift: ShiftWatch | None = None
    ) -> None:
        self._usage = usage
        self._shift = shift
        self._gallery = gallery
        self._interval_ns = round(1e9 / fps) if fps else None
        self._smooth: _Smooth | None = None
        self._tracker: Tracker | None = None
        self._counters: tuple[LineCounter, ...] = ()
        self._file: str | None = None
        if isinstance(usage, Detector) and usage.watch.tracks:
            self._tracker = Tracker(usage.watch.lost_s)
            self._counters = tuple(LineCounter(line, round(usage.watch.lost_s * 1e9)) for line in usage.watch.lines)

    def __call__(self, frame: Frame, result: Result) -> Result:
        """The result with what earlier ones add to it."""
        time_ns = frame.captured_ns if self._interval_ns is None else frame.index * self._interval_ns
        if self._shift is not None:
            self._shift(frame, result, time_ns)
        match result:
            case Classification():
                return self._classification(frame, result, time_ns)
            case Detections():
                return self._detections(frame, result, time_ns)
            case Embedding() if self._gallery is not None:
                assert isinstance(self._usage, Embedder)
                return self._gallery.named(result, self._usage.part.match_above)
            case _:
                return result

    def _classification(self, frame: Frame, result: Classification, time_ns: int) -> Classification:
        assert isinstance(self._usage, Classifier)
        seconds = self._usage.shown.smoothing_s
        if seconds is None or result.distribution is None:
            return result
        file = frame.span.file if frame.span is not None else None
        if self._smooth is None or file != self._file:  # of another signal nothing is carried over
            self._smooth, self._file = _Smooth(seconds), file
        return named_classes(self._smooth.update(result.distribution, time_ns), self._usage)

    def _detections(self, frame: Frame, found: Detections, time_ns: int) -> Detections:
        assert isinstance(self._usage, Detector)
        frame_hw = (frame.image.shape[0], frame.image.shape[1])
        if self._tracker is not None:
            found = self._tracker.update(found, frame.index, time_ns)
        if not self._usage.watch.zones and not self._counters:
            return found
        return replace(
            found,
            lines=tuple(counter.update(found, frame_hw, time_ns) for counter in self._counters),
            zones=tuple(count_zone(zone, found, frame_hw) for zone in self._usage.watch.zones),
        )


class _Smooth:
    """An exponential average over time: frames that come late weigh more."""

    def __init__(self, seconds: float) -> None:
        self._constant_ns = seconds * 1e9
        self._mean: npt.NDArray[np.float64] | None = None
        self._last_ns = 0

    def update(self, probabilities: npt.NDArray[np.floating], time_ns: int) -> npt.NDArray[np.float64]:
        passed = max(time_ns - self._last_ns, 0) / self._constant_ns
        self._last_ns = time_ns
        new = probabilities.astype(np.float64)
        if self._mean is None or passed > _GAP:
            self._mean = new
        else:
            self._mean = new + (self._mean - new) * math.exp(-passed)
        return self._mean
