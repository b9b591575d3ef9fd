"""A camera's frame and what the network said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Span:
    """Where a window of a signal lies.

    Attributes:
        file: Its file's name; empty for a stream.
        begin_s: Seconds from the signal's begin to the window's.
        end_s: To its end.
    """

    file: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Frame:
    """One picture, or window of a signal, on its way from the camera or microphone.

    Attributes:
        index: Counts what the source delivered, from 0, dropped frames included.
        captured_ns: Monotonic time at which the picture arrived from the camera, nanoseconds.
        image: uint8 BGR, (height, width, 3); of a signal float32 (channels, samples). The reader owns it; sources do
            not write into it again.
        source: The name of the source, as a run knows it.
        span: Of a signal: where the window lies.
    """

    index: int
    captured_ns: int
    image: npt.NDArray[Any]
    source: str = ""
    span: Span | None = None


UNKNOWN = -1
"""The class number of what is none of the classes for sure."""


@dataclass(frozen=True)
class Classification:
    """The most probable classes, best first.

    Attributes:
        classes: Class numbers; ``UNKNOWN`` first where none is probable enough.
        probabilities: Their softmax probabilities; of ``UNKNOWN`` what the best class lacks to 1.
        labels: Their names.
        distribution: float (classes,), the probabilities of all classes, where the network gave them.
    """

    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    labels: tuple[str, ...]
    distribution: npt.NDArray[np.floating[Any]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LineCount:
    """How many objects have crossed a line since the run began.

    Attributes:
        name: The line's.
        ends: Its ends, pixels of the frame.
        into: How many came in, by label.
        out: How many went out, by label.
    """

    name: str
    ends: tuple[tuple[float, float], ...]
    into: Mapping[str, int]
    out: Mapping[str, int]


@dataclass(frozen=True)
class ZoneCount:
    """How many objects are in a zone.

    Attributes:
        name: The zone's.
        corners: Of the polygon, pixels of the frame.
        inside: How many are in it now, by label.
    """

    name: str
    corners: tuple[tuple[float, float], ...]
    inside: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one frame, best first.

    Attributes:
        boxes_xyxy: float32 (K, 4), pixels of the frame, corners with whole coordinates.
        scores: float32 (K,), 0 to 1.
        classes: int64 (K,), class numbers.
        labels: K names, of the objects' classes.
        tracks: int64 (K,), a number from 1 on for each object, which it keeps from frame to frame, 0 where it has none
            yet; none where objects are not followed.
        lines: Counts of what crossed each line.
        zones: Counts of what is in each zone.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    tracks: npt.NDArray[np.int64] | None = None
    lines: tuple[LineCount, ...] = ()
    zones: tuple[ZoneCount, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = (self.boxes_xyxy.shape, self.scores.shape, self.classes.shape, (len(self.labels),))
        if shapes != ((count, 4), (count,), (count,), (count,)):
            raise ValueError(f"boxes, scores, classes and labels of (K, 4), (K,), (K,) and (K,) expected, got {shapes}")
        if self.tracks is not None and self.tracks.shape != (count,):
            raise ValueError(f"tracks of ({count},) expected, got {self.tracks.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Those with at least this score."""
        return self.at(np.flatnonzero(self.scores >= threshold))

    def at(self, indices: npt.NDArray[np.intp]) -> Detections:
        """Those at the indices (K,), in their order."""
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[indices],
            scores=self.scores[indices],
            classes=self.classes[indices],
            labels=tuple(self.labels[index] for index in indices),
            tracks=self.tracks[indices] if self.tracks is not None else None,
        )


@dataclass(frozen=True)
class Tags:
    """The labels that a picture has, the surest first; any number of them.

    Attributes:
        classes: Their numbers.
        probabilities: Of each that it is there, 0 to 1.
        labels: Their names.
        distribution: float64 (all labels,), the probabilities of those that are not there, too.
    """

    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    labels: tuple[str, ...]
    distribution: npt.NDArray[np.float64] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Measurements:
    """The numbers that a regression network gives.

    Attributes:
        values: In the units.
        labels: Their names.
        units: Empty texts where there are none.
    """

    values: tuple[float, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Where a picture lies among others, and who it is nearest to.

    Attributes:
        vector: float32 (D,), of length 1.
        label: The name of the gallery that it is nearest to; "unknown" where that is too far off; none without gallery.
        similarity: The cosine with the nearest vector; none without gallery.
    """

    vector: npt.NDArray[np.float32]
    label: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of a frame.

    Attributes:
        mask: uint8 (height, width) of the frame, class numbers; 255 where the network has not seen it.
        labels: Names of all classes.
        shares: The part of the seen pixels of each class, 0 to 1.
    """

    mask: npt.NDArray[np.uint8]
    labels: tuple[str, ...]
    shares: tuple[float, ...]
