"""A camera's frame and what the network said about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frame:
    """One picture on its way from the camera.

    Attributes:
        index: Counts what the source delivered, from 0, dropped frames included.
        captured_ns: Monotonic time at which the picture arrived from the camera, nanoseconds.
        image: uint8 BGR, (height, width, 3). The reader owns it; sources do not write into it again.
    """

    index: int
    captured_ns: int
    image: Image


@dataclass(frozen=True)
class Classification:
    """The most probable classes, best first.

    Attributes:
        classes: Class numbers.
        probabilities: Their softmax probabilities.
        labels: Their names.
    """

    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects found in one frame, best first.

    Attributes:
        boxes_xyxy: float32 (K, 4), pixels of the frame, corners with whole coordinates.
        scores: float32 (K,), 0 to 1.
        classes: int64 (K,), class numbers.
        labels: K names, of the objects' classes.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.scores)
        shapes = (self.boxes_xyxy.shape, self.scores.shape, self.classes.shape, (len(self.labels),))
        if shapes != ((count, 4), (count,), (count,), (count,)):
            raise ValueError(f"boxes, scores, classes and labels of (K, 4), (K,), (K,) and (K,) expected, got {shapes}")

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Those with at least this score."""
        kept = self.scores >= threshold
        labels = tuple(label for label, keep in zip(self.labels, kept, strict=True) if keep)
        return Detections(self.boxes_xyxy[kept], self.scores[kept], self.classes[kept], labels)
