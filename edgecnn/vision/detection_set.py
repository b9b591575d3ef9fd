"""Pictures with labelled boxes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.core.files import hash_file
from edgecnn.core.frame import Image
from edgecnn.errors import InputError
from edgecnn.vision.images import read_image, spread_indices


@dataclass(frozen=True, eq=False)
class Annotations:
    """The labelled objects of one picture.

    Attributes:
        boxes_xyxy: float32 (K, 4), pixels.
        classes: int64 (K,), class numbers.
        ignored: bool (K,): a crowd, or difficult. To find such an object is neither right nor wrong.
        areas: float32 (K,), square pixels that decide whether an object is small: of its outline where that is known,
            as COCO has it, else of its box.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetectionSet:
    """Pictures in a fixed order, and where objects are in them.

    Attributes:
        name: Where they came from, for messages.
        paths: The files.
        sizes_hw: Height and width of each, pixels.
        objects: Those of each picture; a picture may have none.
        classes: Names of the classes in the order of their numbers; empty where nothing names them.
    """

    name: str
    paths: tuple[Path, ...]
    sizes_hw: tuple[tuple[int, int], ...]
    objects: tuple[Annotations, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def places(self) -> tuple[Path, ...]:
        """What is read for each, as of other sets."""
        return self.paths

    def spread(self, count: int) -> DetectionSet:
        """At most ``count`` pictures, evenly spread over the set."""
        return self.chosen(spread_indices(len(self), count))

    def picture(self, index: int) -> Image:
        """A picture as uint8 BGR (height, width, 3).

        Raises:
            InputError: It has not the size that its annotations name, so that the boxes cannot fit.
        """
        image, size = read_image(self.paths[index]), self.sizes_hw[index]
        if image.shape[:2] != size:
            raise InputError(
                f"picture {self.paths[index]}: {image.shape[1]} x {image.shape[0]} pixels, and its annotations are for "
                f"{size[1]} x {size[0]}",
                "give the pictures that were annotated",
            )
        return image

    def chosen(self, indices: Sequence[int]) -> DetectionSet:
        """Some of them, in the order of ``indices``."""
        return replace(
            self,
            paths=tuple(self.paths[index] for index in indices),
            sizes_hw=tuple(self.sizes_hw[index] for index in indices),
            objects=tuple(self.objects[index] for index in indices),
        )

    def sha256(self) -> str:
        """Hash of the pictures' contents and objects; a renamed file leaves it as it was."""
        digest = hashlib.sha256(json.dumps(self.classes).encode())
        for path, size, found in zip(self.paths, self.sizes_hw, self.objects, strict=True):
            digest.update(f"{hash_file(path)} {size} {len(found.classes)}".encode())
            for array in (found.boxes_xyxy, found.classes, found.ignored, found.areas):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def labelled_for(self, names: Sequence[str]) -> DetectionSet:
        """The set with the class numbers of a network whose classes have these names.

        Classes that have objects are matched by name; where none is the network's and there are as many names as
        classes, by their order. Without names the numbers stay.

        Raises:
            InputError: Neither rule holds.
        """
        used = sorted({int(number) for found in self.objects for number in found.classes})
        if not self.classes:
            if used and used[-1] >= len(names):
                raise InputError(f"{self.name}: class {used[-1]} found, but the network has {len(names)} classes")
            return replace(self, classes=tuple(names))
        numbers = {name: number for number, name in enumerate(names)}
        unknown = [self.classes[number] for number in used if self.classes[number] not in numbers]
        if not unknown:
            table = np.asarray([numbers.get(name, -1) for name in self.classes], dtype=np.int64)
        elif len(self.classes) == len(names) and not any(name in numbers for name in self.classes):
            table = np.arange(len(names))
        else:
            raise InputError(
                f"{self.name}: '{unknown[0]}' is none of the network's {len(names)} classes",
                f"name the classes alike; the network's are {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",
            )
        objects = tuple(replace(found, classes=table[found.classes]) for found in self.objects)
        return replace(self, objects=objects, classes=tuple(names))
