"""What a network learns from: pictures, parts of them, or windows of signals, each with its target."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.files import hash_file
from edgecnn.core.frame import Image
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.core.training_part import Objective
from edgecnn.errors import InputError
from edgecnn.signals.windows import read_signal, window_begins
from edgecnn.vision.annotations import open_detection_set
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.frame_sets import files_of
from edgecnn.vision.images import ImageSet, open_image_set, read_image
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.target_set import TargetSet, holds_boxes, open_tags, open_values, tags_of_boxes

_SMALLEST_SIDE = 2


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in a fixed order.

    Attributes:
        name: Where they came from, for messages.
        paths: The picture's file of each.
        boxes: Left, top, right and bottom, pixels, of the part that is the sample; None for the whole picture. Of a
            signal, whose array is (channels, samples), the window's.
        targets: int64 (N,) class numbers, or float32 (N, outputs): 1 for each class that is there, or values.
        classes: Names of the classes or values in order; empty where nothing names them.
    """

    name: str
    paths: tuple[Path, ...]
    boxes: tuple[tuple[int, int, int, int] | None, ...]
    targets: npt.NDArray[Any]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def picture(self, index: int) -> Image:
        """A sample as uint8 BGR (height, width, 3)."""
        image, box = read_image(self.paths[index]), self.boxes[index]
        return image if box is None else image[box[1] : box[3], box[0] : box[2]]

    def chosen(self, indices: Sequence[int]) -> Samples:
        """Some of them, in the order of ``indices``."""
        return replace(
            self,
            paths=tuple(self.paths[index] for index in indices),
            boxes=tuple(self.boxes[index] for index in indices),
            targets=self.targets[list(indices)],
        )

    def sha256(self) -> str:
        """Hash of contents, parts and targets; a renamed file leaves it as it was."""
        digest = hashlib.sha256(repr(self.classes).encode())
        known = {path: hash_file(path) for path in set(self.paths)}
        for path, box in zip(self.paths, self.boxes, strict=True):
            digest.update(f"{known[path]} {box}".encode())
        digest.update(self.targets.tobytes())
        return digest.hexdigest()


def samples_of(images: ImageSet) -> Samples:
    """Labelled pictures as samples.

    Raises:
        InputError: They have no labels.
    """
    if images.labels is None:
        raise InputError(
            f"{images.name}: the pictures have no labels to learn from",
            "put each class into a folder of its own, or give a CSV file with the columns path and label",
        )
    targets = np.asarray(images.labels, dtype=np.int64)
    return Samples(images.name, images.paths, (None,) * len(images), targets, images.classes)


def open_samples(source: str, objective: Objective, spec: InputSpec | None = None) -> Samples:
    """Find samples by the path of a folder or file.

    For softmax: a folder for each class, a CSV file with path and label, or boxes (COCO, YOLO, Pascal VOC), each of
    which is a sample. For multilabel: boxes, of which the classes in a picture count, or a CSV file whose ``label``
    holds names parted by ``|``. For regression: a CSV file whose columns beside ``path`` are values. Of a signal every
    window is a sample.

    Args:
        source: The path.
        objective: What is to be learnt.
        spec: Preprocessing; signals are cut into windows by theirs, and without any the samples are pictures.

    Raises:
        InputError: Nothing there, or not with such targets; or a signal is unfit for the network.
    """
    if objective == "multilabel":
        return _in_windows(_of_targets(open_tags(source)), spec)
    if objective == "regression":
        return _in_windows(_of_targets(open_values(source)), spec)
    if not isinstance(spec, SignalPreprocess) and holds_boxes(Path(source)):
        return _crops(open_detection_set(source))
    return _in_windows(samples_of(open_image_set(source, files_of(spec))), spec)


def _of_targets(found: TargetSet) -> Samples:
    return Samples(found.name, found.paths, (None,) * len(found), found.targets, found.classes)


def _in_windows(files: Samples, spec: InputSpec | None) -> Samples:
    """Signals as their windows; pictures as they are."""
    if not isinstance(spec, SignalPreprocess):
        return files
    found = [
        (row, (begin, 0, begin + spec.window, spec.channels))
        for row, path in enumerate(files.paths)
        for begin in window_begins(read_signal(path, spec).shape[1], spec)
    ]
    return replace(files.chosen([row for row, _ in found]), boxes=tuple(box for _, box in found))


def _crops(found: DetectionSet) -> Samples:
    paths: list[Path] = []
    boxes: list[tuple[int, int, int, int]] = []
    targets: list[int] = []
    for path, (height, width), objects in zip(found.paths, found.sizes_hw, found.objects, strict=True):
        edges = np.asarray([width, height, width, height])
        for box, number, ignored in zip(objects.boxes_xyxy, objects.classes, objects.ignored, strict=True):
            left, top, right, bottom = (int(value) for value in np.clip(np.round(box), 0, edges))
            if not ignored and min(right - left, bottom - top) >= _SMALLEST_SIDE:
                paths.append(path)
                boxes.append((left, top, right, bottom))
                targets.append(int(number))
    if not paths:
        raise InputError(f"{found.name}: no box is large enough to be a picture", "check the labels")
    return Samples(found.name, tuple(paths), tuple(boxes), np.asarray(targets, dtype=np.int64), found.classes)


def classes_of_pictures(found: DetectionSet) -> Samples:
    """Pictures with boxes as samples whose targets are the classes that are there: float32 (N, classes)."""
    return _of_targets(tags_of_boxes(found))


def classes_of_masks(found: MaskSet) -> Samples:
    """Pictures with masks as samples whose targets are the classes that are there: float32 (N, classes)."""
    return Samples(found.name, found.paths, (None,) * len(found), found.presence, found.classes)
