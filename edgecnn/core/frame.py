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
