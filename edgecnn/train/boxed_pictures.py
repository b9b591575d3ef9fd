"""Batches of pictures with their boxes, the same for a seed whatever ran before; see ``edgecnn.train.loader``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torchvision.tv_tensors import BoundingBoxes
from torchvision.tv_tensors import Image as Planes

from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import drawn_affine, transform_of
from edgecnn.train.box_loss import FILLING, IGNORED
from edgecnn.train.loader import KEPT_BYTES, Batch, loaded
from edgecnn.train.order import Key, Order, drawing_from, in_order
from edgecnn.vision.boxes import box_areas, clip_boxes
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.preprocess import preprocess, resize_and_crop
from edgecnn.vision.target_set import tags_of_boxes

# Of an object that is cut by the picture's edge this much must be left, or it is neither object nor background.
_LEAST_VISIBLE = 0.25
_SMALLEST_SIDE = 2.0
Rows = npt.NDArray[np.float32]


class BoxedBatches:
    """Pictures from the disk; targets are float32 (N, M, 5): class and corners in pixels of the input.

    The class is ``FILLING`` in rows beyond a picture's objects, and ``IGNORED`` for what is neither object nor
    background: objects that the labels say to ignore, or of which augmentation has left little.

    Args:
        boxes: The pictures and their objects.
        spec: The preprocessing that the deployed network gets.
        config: Seed, batch size and augmentation.
    """

    def __init__(self, boxes: DetectionSet, spec: Preprocess, config: TrainPart) -> None:
        self.boxes, self._config = boxes, config
        self._order = Order(tags_of_boxes(boxes).targets, config)
        self._pictures = _BoxedPictures(boxes, spec, config)

    def steps(self) -> int:
        """See ``Batches.steps``."""
        return self._order.steps

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """See ``Batches.epoch``."""
        return loaded(self._pictures, self._order.keys(number, begin, rank, ranks), _stacked, self._config)

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """See ``Batches.plain``."""
        keys = in_order(len(self.boxes), count, self._config.batch_size)
        return loaded(self._pictures, keys, _stacked, self._config)


class _BoxedPictures(Dataset[Any]):
    """Pictures and rows by (epoch, index); an epoch of None is the picture as it is."""

    def __init__(self, boxes: DetectionSet, spec: Preprocess, config: TrainPart) -> None:
        self._boxes, self._spec, self._config = boxes, spec, config
        still = {"degrees": 0.0, "translate": 0.0, "scale": (1.0, 1.0)}
        self._transform = transform_of(config.augment.model_copy(update=still), spec)
        # What is left to do for a picture that has the input's size already.
        self._rest = spec.model_copy(update={"resize": "stretch", "shorter_side": None})
        self._kept: dict[int, Image] = {}
        self._room = KEPT_BYTES // max(config.workers, 1)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, Rows]:
        epoch, index = key
        objects = self._boxes.objects[index]
        classes = np.where(objects.ignored, IGNORED, objects.classes).astype(np.float32)
        if epoch is None:
            picture = self._boxes.picture(index)
            place = _from_picture(self._boxes.sizes_hw[index], self._spec)
            rows = _rows(objects.boxes_xyxy, classes, place, self._spec.size_hw)
            return self._tensor(resize_and_crop(picture, self._spec)), rows
        with drawing_from(self._config.seed, epoch, index):
            size_hw = self._spec.size_hw
            change = drawn_affine(self._config.augment, size_hw)
            place = change @ _from_picture(self._boxes.sizes_hw[index], self._spec)
            rows = _rows(objects.boxes_xyxy, classes, place, size_hw)
            seen = self._warped(self._large(index), change)
            if self._transform is not None:
                seen, rows = self._changed(seen, rows)
            return self._tensor(seen), rows

    def _large(self, index: int) -> Image:
        """The picture no larger than augmentation can need it, from memory where it is there."""
        kept = self._kept.get(index)
        if kept is None:
            picture = self._boxes.picture(index)
            place = self._spec.placement(self._boxes.sizes_hw[index])
            most = self._config.augment.scale[1]
            wanted = [round(side * most) for side in place.resized_hw]
            if wanted[0] < picture.shape[0] and wanted[1] < picture.shape[1]:
                picture = cv2.resize(picture, (wanted[1], wanted[0]), interpolation=cv2.INTER_AREA)
            if self._spec.color == "gray":
                picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
            kept = picture.astype(np.uint8, copy=False)
            if kept.nbytes <= self._room:
                self._room -= kept.nbytes
                self._kept[index] = kept
        return kept

    def _warped(self, picture: Image, change: npt.NDArray[np.float64]) -> Image:
        """A picture, whatever size it is kept in, changed and at the input's size, with padding around it."""
        height, width = self._spec.size_hw
        matrix = change @ _from_picture((picture.shape[0], picture.shape[1]), self._spec)
        # OpenCV counts from the centres of pixels, boxes and placements from their corners.
        half = np.asarray([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        whole = np.linalg.inv(half) @ matrix @ half
        grey = (self._spec.padding,) * 3
        return cv2.warpAffine(picture, whole[:2], (width, height), borderValue=grey).astype(np.uint8, copy=False)

    def _changed(self, picture: Image, rows: Rows) -> tuple[Image, Rows]:
        assert self._transform is not None
        planes = picture[None] if picture.ndim == 2 else picture[:, :, ::-1].transpose(2, 0, 1)
        boxes = BoundingBoxes(torch.from_numpy(rows[:, 1:].copy()), format="XYXY", canvas_size=self._spec.size_hw)  # type: ignore[call-overload]
        made, moved = self._transform(Planes(torch.from_numpy(np.ascontiguousarray(planes))), boxes)
        image, corners = made.numpy(), moved.numpy()
        image = image[0] if picture.ndim == 2 else np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
        return image, np.concatenate([rows[:, :1], corners.reshape(-1, 4)], axis=1).astype(np.float32)

    def _tensor(self, picture: Image) -> torch.Tensor:
        return torch.from_numpy(preprocess(picture, self._rest)[0])


def _from_picture(picture_hw: tuple[int, int], spec: Preprocess) -> npt.NDArray[np.float64]:
    """(3, 3): from points of a picture to those of the input, both counted from the corners of pixels."""
    place = spec.placement(picture_hw)
    down, across = (made / size for made, size in zip(place.resized_hw, picture_hw, strict=True))
    return np.asarray([[across, 0, place.left], [0, down, place.top], [0, 0, 1]], dtype=np.float64)


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
    pictures = torch.stack([picture for picture, _ in items])
    # The order in which convolutions of a CPU, depthwise ones above all, are fastest.
    return pictures.contiguous(memory_format=torch.channels_last), torch.from_numpy(targets)
