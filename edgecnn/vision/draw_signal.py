"""A signal as a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Image

_BACKGROUND, _INK = 255, (194, 120, 42)


def draw_signal(signal: npt.NDArray[np.float32], size_hw: tuple[int, int]) -> Image:
    """The waveform of each channel, one below the other, each from its least to its largest value.

    Args:
        signal: float32 (channels, samples).
        size_hw: Of the picture, pixels.

    Returns:
        uint8 BGR (height, width, 3).
    """
    height, width = size_hw
    picture = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    edges = np.linspace(0, len(signal[0]), width + 1).astype(int)
    lane = height / len(signal)
    for number, channel in enumerate(signal):
        low, high = float(channel.min()), float(channel.max())
        # The highest value is at the top of the lane.
        rows = ((high - channel) / (high - low or 1) * (lane - 1) + number * lane).astype(int)
        for column in range(width):
            seen = rows[edges[column] : max(edges[column + 1], edges[column] + 1)]
            picture[seen.min() : seen.max() + 1, column] = _INK
    return picture
