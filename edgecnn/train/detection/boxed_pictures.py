"""Batches of pictures with their boxes, the same for a seed whatever ran before; see ``edgecnn.train.loader``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torchvision.tv_tensors import BoundingBoxes

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import drawn_affine
from edgecnn.train.detection.box_loss import FILLING, IGNORED
from edgecnn.train.loader import Batch, DiskBatches
from edgecnn.train.order import Key, drawing_from
from edgecnn.train.warping import Warping, from_picture, stacked
from edgecnn.vision.boxes import box_areas, clip_boxes
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.preprocess import resize_and_crop
from edgecnn.vision.target_set import tags_of_boxes

# Of an object that is cut by the picture's edge this much must be left, or it is neither object nor background.
_LEAST_VISIBLE = 0.25
_SMALLEST_SIDE = 2.0
Rows = npt.NDArray[np.float32]


class BoxedBatches(DiskBatches):
    """Pictures from the disk; targets are float32 (N, M, 5): class and corners in pixels of the input.

    The class is ``FILLING`` in rows beyond a picture's objects, and ``IGNORED`` for what is neither object nor
    background: objects that the labels say to ignore, or of which augmentation has left little.

    Args:
        boxes: The pictures and their objects.
        spec: The preprocessing that the deployed network gets.
        config: Seed, batch size and augmentation.
    """

    def __init__(self, boxes: DetectionSet, spec: Preprocess, config: TrainPart) -> None:
        super().__init__(_BoxedPictures(boxes, spec, config), tags_of_boxes(boxes).targets, _stacked, config)
        self.boxes = boxes


class _BoxedPictures(Dataset[Any]):
    """Pictures and rows by (epoch, index); an epoch of None is the picture as it is."""

    def __init__(self, boxes: DetectionSet, spec: Preprocess, config: TrainPart) -> None:
        self._boxes, self._spec, self._config = boxes, spec, config
        self._warping = Warping(spec, config)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, Rows]:
        epoch, index = key
        objects = self._boxes.objects[index]
        classes = np.where(objects.ignored, IGNORED, objects.classes).astype(np.float32)
        place, size_hw = from_picture(self._boxes.sizes_hw[index], self._spec), self._spec.size_hw
        if epoch is None:
            picture = self._boxes.picture(index)
            rows = _rows(objects.boxes_xyxy, classes, place, size_hw)
            return self._warping.tensor(resize_and_crop(picture, self._spec)), rows
        with drawing_from(self._config.seed, epoch, index):
            change = drawn_affine(self._config.augment, size_hw)
            rows = _rows(objects.boxes_xyxy, classes, change @ place, size_hw)
            (picture,) = self._warping.large(index, lambda: (self._boxes.picture(index),))
            boxes = BoundingBoxes(torch.from_numpy(rows[:, 1:].copy()), format="XYXY", canvas_size=size_hw)  # type: ignore[call-overload]
            seen, moved = self._warping.changed(self._warping.warped(picture, change), boxes)
            rows = np.concatenate([rows[:, :1], moved.numpy().reshape(-1, 4)], axis=1).astype(np.float32)
            return self._warping.tensor(seen), rows


def _rows(boxes_xyxy: Rows, classes: Rows, place: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> Rows:
    """Rows of those objects of which something is in the input."""
    left, top, right, bottom = boxes_xyxy.astype(np.float64).T
    corners = np.stack([[left, right, right, left], [top, top, bottom, bottom], np.ones((4, len(left)))])
    x, y, _ = np.einsum("ij,jkn->ikn", place, corners)
    whole = np.stack([x.min(axis=0), y.min(axis=0), x.max(axis=0), y.max(axis=0)], axis=1)
    seen = clip_boxes(whole.astype(np.float32), size_hw)
    sides = seen[:, 2:] - seen[:, :2]
    visible = box_areas(seen) / np.maximum(box_areas(whole), 1e-9)
    enough = (visible >= _LEAST_VISIBLE) & (sides.min(axis=1, initial=np.inf) >= _SMALLEST_SIDE)
    named = np.where(enough, classes, IGNORED)
    there = (sides > 0).all(axis=1)
    return np.concatenate([named[:, None], seen], axis=1)[there].astype(np.float32)


def _stacked(items: Sequence[tuple[torch.Tensor, Rows]]) -> Batch:
    most = max(len(rows) for _, rows in items)
    targets = np.zeros((len(items), most, 5), dtype=np.float32)
    targets[:, :, 0] = FILLING
    for target, (_, rows) in zip(targets, items, strict=True):
        target[: len(rows)] = rows
    return stacked([picture for picture, _ in items]), torch.from_numpy(targets)
