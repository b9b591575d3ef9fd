"""From a camera's frame to a network's input: the one implementation that every stage uses."""

from __future__ import annotations

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
    if spec.resize == "stretch":
        return _resize(image, (height, width), spec)
    assert spec.shorter_side is not None  # the model's validator saw to it
    source_h, source_w = image.shape[:2]
    factor = spec.shorter_side / min(source_h, source_w)
    # The longer side is cut, not rounded, as torchvision's Resize does.
    target = (
        spec.shorter_side if source_h <= source_w else int(spec.shorter_side * source_h / source_w),
        spec.shorter_side if source_w <= source_h else int(spec.shorter_side * source_w / source_h),
    )
    resized = image if factor == 1 else _resize(image, target, spec)
    top = round((resized.shape[0] - height) / 2)
    left = round((resized.shape[1] - width) / 2)
    return resized[top : top + height, left : left + width]


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
