"""Pictures at the input's size under random changes, and from memory where they have been read before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torchvision.tv_tensors import Image as Planes

from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import transform_of
from edgecnn.train.loader import KEPT_BYTES
from edgecnn.vision.preprocess import preprocess

Matrix = npt.NDArray[np.float64]
# OpenCV counts from the centres of pixels; boxes, masks and placements from their corners.
_HALF = np.asarray([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])


class Warping:
    """What is done to pictures whose labels have places in them.

    Args:
        spec: The preprocessing that the deployed network gets.
        config: Augmentation, and how many workers share the memory.
    """

    def __init__(self, spec: Preprocess, config: TrainPart) -> None:
        self._spec, self._largest_zoom = spec, config.augment.scale[1]
        still = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0)}
        self._transform = transform_of(config.augment.model_copy(update=still), spec)
        # What is left to do for a picture that has the input's size already.
        self._rest = spec.model_copy(update={"resize": "stretch", "shorter_side": None})
        self._kept: dict[int, tuple[Image, ...]] = {}
        self._room = KEPT_BYTES // max(config.workers, 1)

    def large(self, index: int, read: Callable[[], tuple[Image, ...]]) -> tuple[Image, ...]:
        """A picture and its masks, no larger than augmentation can need them, from memory where they are there."""
        kept = self._kept.get(index)
        if kept is None:
            picture, *masks = read()
            place = self._spec.placement((picture.shape[0], picture.shape[1]))
            wanted = [round(side * self._largest_zoom) for side in place.resized_hw]
            if wanted[0] < picture.shape[0] and wanted[1] < picture.shape[1]:
                size = (wanted[1], wanted[0])
                picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
                masks = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for mask in masks]
            if self._spec.color == "gray":
                picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            kept = tuple(one.astype(np.uint8, copy=False) for one in (picture, *masks))
            size_bytes = sum(one.nbytes for one in kept)
            if size_bytes <= self._room:
                self._room -= size_bytes
                self._kept[index] = kept
        return kept

    def warped(self, picture: Image, change: Matrix) -> Image:
        """A picture, whatever size it is kept in, changed and at the input's size, with padding around it.

        Args:
            picture: uint8 (height, width, 3) BGR, or (height, width).
            change: (3, 3), of points of the input; see ``augment.drawn_affine``.
        """
        return self._warp(picture, change, cv2.INTER_LINEAR, self._spec.padding)

    def warped_mask(self, mask: Image, change: Matrix, outside: int) -> Image:
        """Likewise a mask: each pixel gets the number that it falls on, or ``outside``."""
        return self._warp(mask, change, cv2.INTER_NEAREST, outside)

    def _warp(self, picture: Image, change: Matrix, interpolation: int, outside: int) -> Image:
        height, width = self._spec.size_hw
        matrix = change @ from_picture((picture.shape[0], picture.shape[1]), self._spec)
        whole = np.linalg.inv(_HALF) @ matrix @ _HALF
        made = cv2.warpAffine(picture, whole[:2], (width, height), flags=interpolation, borderValue=(outside,) * 3)
        return made.astype(np.uint8, copy=False)

    def changed(self, picture: Image, places: Any) -> tuple[Image, Any]:
        """A picture of the input's size flipped, and its colours changed, and with it a tv_tensor of its places."""
        if self._transform is None:
            return picture, places
        planes = picture[None] if picture.ndim == 2 else picture[:, :, ::-1].transpose(2, 0, 1)
        made, moved = self._transform(Planes(torch.from_numpy(np.ascontiguousarray(planes))), places)
        image = made.numpy()
        return image[0] if picture.ndim == 2 else np.ascontiguousarray(image[::-1].transpose(1, 2, 0)), moved

    def tensor(self, picture: Image) -> torch.Tensor:
        """What the network takes of a picture of the input's size: (channels, height, width)."""
        return torch.from_numpy(preprocess(picture, self._rest)[0])


def from_picture(picture_hw: tuple[int, int], spec: Preprocess) -> Matrix:
    """(3, 3): from points of a picture to those of the input, both counted from the corners of pixels."""
    place = spec.placement(picture_hw)
    down, across = (made / size for made, size in zip(place.resized_hw, picture_hw, strict=True))
    return np.asarray([[across, 0, place.left], [0, down, place.top], [0, 0, 1]], dtype=np.float64)


def stacked(pictures: list[torch.Tensor]) -> torch.Tensor:
    """A batch in the order in memory in which convolutions of a CPU, depthwise ones above all, are fastest."""
    return torch.stack(pictures).contiguous(memory_format=torch.channels_last)
