"""Batches of pictures with their masks, the same for a seed whatever ran before; see ``edgecnn.train.loader``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.tv_tensors import Mask

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import drawn_affine
from edgecnn.train.loader import Batch, DiskBatches
from edgecnn.train.order import Key, drawing_from
from edgecnn.train.warping import Warping, stacked
from edgecnn.vision.mask_png import IGNORED
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.preprocess import resize_and_crop

_AS_IT_IS = np.eye(3)


class MaskedBatches(DiskBatches):
    """Pictures from the disk; targets are int64 (N, height, width): the class of each pixel of the input.

    A pixel is ``IGNORED`` where its mask says so, and outside of the picture.

    Args:
        masks: The pictures and their masks.
        spec: The preprocessing that the deployed network gets.
        config: Seed, batch size and augmentation.
    """

    def __init__(self, masks: MaskSet, spec: Preprocess, config: TrainPart) -> None:
        super().__init__(_MaskedPictures(masks, spec, config), masks.presence, _stacked, config)
        self.masks = masks


class _MaskedPictures(Dataset[Any]):
    """Pictures and masks by (epoch, index); an epoch of None is the picture as it is."""

    def __init__(self, masks: MaskSet, spec: Preprocess, config: TrainPart) -> None:
        self._masks, self._spec, self._config = masks, spec, config
        self._warping = Warping(spec, config)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, torch.Tensor]:
        epoch, index = key
        if epoch is None:
            picture, mask = self._masks.pair(index)
            there = self._warping.warped_mask(mask, _AS_IT_IS, IGNORED)
            return self._warping.tensor(resize_and_crop(picture, self._spec)), torch.from_numpy(there)
        with drawing_from(self._config.seed, epoch, index):
            change = drawn_affine(self._config.augment, self._spec.size_hw)
            picture, mask = self._warping.large(index, lambda: self._masks.pair(index))
            there = Mask(torch.from_numpy(self._warping.warped_mask(mask, change, IGNORED)))
            seen, there = self._warping.changed(self._warping.warped(picture, change), there)
            return self._warping.tensor(seen), there.as_subclass(torch.Tensor)


def _stacked(items: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Batch:
    return stacked([picture for picture, _ in items]), torch.stack([mask for _, mask in items]).long()
