"""Random changes of training pictures, from torchvision.transforms.v2."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms import v2

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import AugmentPart

Transform = Any  # a v2.Transform; torchvision is typed in part


def transform_of(config: AugmentPart, spec: Preprocess) -> Transform | None:
    """What is done to a uint8 (channels, height, width) picture of the input's size; None where nothing is.

    Cutting out (``crop``) comes earlier, on the picture in its own resolution: see ``crop_of``.
    """
    steps: list[Transform] = []
    if config.degrees or config.translate or config.scale != (1, 1):
        steps.append(_Affine(config))
    if config.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(config.horizontal_flip))
    if config.vertical_flip:
        steps.append(v2.RandomVerticalFlip(config.vertical_flip))
    if config.policy != "none":
        steps.append(v2.TrivialAugmentWide() if config.policy == "trivial" else v2.RandAugment())
    colour = spec.channels == 3
    saturation, hue = (config.saturation, config.hue) if colour else (0, 0)
    if config.brightness or config.contrast or saturation or hue:
        steps.append(v2.ColorJitter(config.brightness, config.contrast, saturation, hue))
    if config.blur:
        steps.append(v2.GaussianBlur(2 * math.ceil(2 * config.blur) + 1, (0.01, config.blur)))
    if config.erase:
        steps.append(v2.RandomErasing(config.erase, value=127))
    return v2.Compose(steps) if steps else None


def crop_of(config: AugmentPart, size_hw: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of a part to cut out of a picture of a size; None where the whole is taken."""
    if config.crop is None:
        return None
    canvas = torch.empty((1, *size_hw), device="meta")
    top, left, height, width = v2.RandomResizedCrop(1, scale=config.crop).make_params([canvas]).values()
    return int(top), int(left), int(height), int(width)


def drawn_affine(config: AugmentPart, size_hw: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(3, 3): a random rotation, shift and zoom of points in a picture, counted from the corners of pixels."""
    height, width = size_hw
    return np.concatenate([_matrix(config, size_hw, (width / 2, height / 2)), [[0, 0, 1]]])


def _matrix(config: AugmentPart, size_hw: tuple[int, int], middle: tuple[float, float]) -> npt.NDArray[np.float64]:
    degrees: Any = config.degrees  # torchvision's annotation leaves floats out
    random = v2.RandomAffine(degrees, translate=(config.translate, config.translate), scale=config.scale)
    drawn = random.make_params([torch.empty((1, *size_hw), device="meta")])
    matrix = cv2.getRotationMatrix2D(middle, drawn["angle"], drawn["scale"])
    matrix[:, 2] += drawn["translate"]
    return matrix.astype(np.float64, copy=False)


class _Affine:
    """Rotates, shifts and zooms; the border repeats outwards.

    The numbers are ``v2.RandomAffine``'s; its warp takes ten times as long as OpenCV's, and knows no such border.
    """

    def __init__(self, config: AugmentPart) -> None:
        self._config = config

    def __call__(self, picture: torch.Tensor) -> torch.Tensor:
        """Of a uint8 (channels, height, width) picture one of the same size."""
        height, width = picture.shape[1:]
        matrix = _matrix(self._config, (height, width), ((width - 1) / 2, (height - 1) / 2))
        image = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
        warped = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return torch.from_numpy(warped.reshape(height, width, -1)).permute(2, 0, 1)
