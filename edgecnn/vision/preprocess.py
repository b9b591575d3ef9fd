"""From a camera's frame to a network's input: the one implementation that every stage uses."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


def preprocess(image: Image, spec: Preprocess) -> npt.NDArray[np.float32]:
    """Turn a frame into the network's input.

    Args:
        image: uint8 BGR (height, width, 3), or grey (height, width).
        spec: What to do.

    Returns:
        float32 (1, channels, height, width), contiguous, in a new array.
    """
    picture = resize_and_crop(image, spec)
    # One multiplication and one addition a value: ((x * scale) - mean) / std.
    gain = (spec.scale / np.asarray(spec.std, dtype=np.float64)).astype(np.float32)
    offset = (-np.asarray(spec.mean, dtype=np.float64) / np.asarray(spec.std, dtype=np.float64)).astype(np.float32)
    if spec.color == "gray":
        planes = [picture]
    else:
        planes = [picture[:, :, channel] for channel in ((2, 1, 0) if spec.color == "rgb" else (0, 1, 2))]
    result = np.empty((1, spec.channels, *spec.size_hw), dtype=np.float32)
    for channel, plane in enumerate(planes):
        np.multiply(plane, gain[channel], out=result[0, channel])
        result[0, channel] += offset[channel]
    return result


def resize_and_crop(image: Image, spec: Preprocess) -> Image:
    """The part of the frame that the network sees, at its size: uint8 (h, w, 3) BGR, or (h, w) for grey."""
    if spec.color == "gray" and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
    elif spec.color != "gray" and image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    height, width = spec.size_hw
    place = spec.placement((image.shape[0], image.shape[1]))
    resized = _resize(image, place.resized_hw, spec)
    if spec.resize == "letterbox":
        bottom = height - place.top - place.resized_hw[0]
        right = width - place.left - place.resized_hw[1]
        return cv2.copyMakeBorder(
            resized, place.top, bottom, place.left, right, cv2.BORDER_CONSTANT, value=(spec.padding,) * 3
        ).astype(np.uint8, copy=False)
    return resized[-place.top : height - place.top, -place.left : width - place.left]


def boxes_in_frame(
    boxes_xyxy: npt.NDArray[Any], spec: Preprocess, frame_hw: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Undo the preprocessing's resize, padding and crop for boxes.

    Args:
        boxes_xyxy: (K, 4), pixels of the network's input.
        spec: What was done to the frame.
        frame_hw: The frame's height and width, pixels.

    Returns:
        float32 (K, 4), pixels of the frame. A box may reach over the frame's edges, as the network drew it.
    """
    place = spec.placement(frame_hw)
    factors = np.divide(frame_hw, place.resized_hw)
    offset = np.tile([place.left, place.top], 2)
    return ((boxes_xyxy - offset) * np.tile(factors[::-1], 2)).astype(np.float32)


def _resize(image: Image, target_hw: tuple[int, int], spec: Preprocess) -> Image:
    if image.shape[:2] == target_hw:
        return image
    method = _INTERPOLATION[spec.interpolation]
    if method == cv2.INTER_AREA:
        # Area only means something where it shrinks, which may be one side and not the other.
        smaller = (min(image.shape[0], target_hw[0]), min(image.shape[1], target_hw[1]))
        if smaller != target_hw:
            method = cv2.INTER_LINEAR
            if smaller != image.shape[:2]:
                image = _resize(image, smaller, spec)
    return cv2.resize(image, (target_hw[1], target_hw[0]), interpolation=method).astype(np.uint8, copy=False)
