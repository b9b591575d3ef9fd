"""Pictures with a labelled class for each pixel."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.core.files import hash_file
from edgecnn.core.frame import Image
from edgecnn.errors import InputError
from edgecnn.vision.images import SUFFIXES, ImageSet, open_image_set, read_image, spread_indices
from edgecnn.vision.mask_png import IGNORED, read_mask
from edgecnn.vision.target_set import csv_rows, is_csv
from edgecnn.vision.yolo_annotations import pictures_below, yolo_names

_LAYOUTS = (
    "give a folder with images/ and masks/ (PNG, of the same names), one with JPEGImages/ and SegmentationClass/ "
    "(Pascal VOC) or one of its ImageSets/Segmentation/*.txt, or a CSV file with the columns path and mask"
)
_VOC = "SegmentationClass"


@dataclass(frozen=True, eq=False)
class MaskSet:
    """Pictures in a fixed order, and where their masks are.

    Attributes:
        name: Where they came from, for messages.
        paths: The pictures' files.
        masks: The masks' files: see ``read_mask``.
        counts: int64 (N, 255): how many pixels of each picture have each class number; those to ignore are left out.
        classes: Names of the classes in the order of their numbers; empty where nothing names them.
    """

    name: str
    paths: tuple[Path, ...]
    masks: tuple[Path, ...]
    counts: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def places(self) -> tuple[Path, ...]:
        """What is read for each, as of other sets."""
        return self.paths

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers of the classes as names, up to the largest one that occurs."""
        return tuple(str(number) for number in range(1 + max(self._used(), default=0)))

    @property
    def presence(self) -> npt.NDArray[np.float32]:
        """(N, classes): 1 for each class that is in a picture."""
        return (self.counts[:, : len(self.classes)] > 0).astype(np.float32)

    def pair(self, index: int) -> tuple[Image, npt.NDArray[np.uint8]]:
        """A picture as uint8 BGR (height, width, 3), and the class numbers of its pixels (height, width)."""
        return read_image(self.paths[index]), read_mask(self.masks[index])

    def spread(self, count: int) -> MaskSet:
        """At most ``count`` pictures, evenly spread over the set."""
        return self.chosen(spread_indices(len(self), count))

    def chosen(self, indices: Sequence[int]) -> MaskSet:
        """Some of them, in the order of ``indices``."""
        paths, masks = (tuple(files[index] for index in indices) for files in (self.paths, self.masks))
        return replace(self, paths=paths, masks=masks, counts=self.counts[list(indices)])

    def sha256(self) -> str:
        """Hash of the pictures' and masks' contents; a renamed file leaves it as it was."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for files in zip(self.paths, self.masks, strict=True):
            digest.update(" ".join(map(hash_file, files)).encode())
        return digest.hexdigest()

    def labelled_for(self, names: tuple[str, ...]) -> MaskSet:
        """The set for a network whose classes have these names, in the order of the masks' numbers.

        Where the set names its classes, those that occur must be the network's at the same numbers; other names for
        all of them do as well.

        Raises:
            InputError: It is not so, or a mask has a number that there is no class for.
        """
        used = self._used()
        if used and used[-1] >= len(names):
            first = self.masks[int((self.counts[:, used[-1]] > 0).argmax())]
            raise InputError(
                f"mask {first}: a pixel of class {used[-1]}, and there are {len(names)} classes",
                f"name all classes in labels or classes.txt, from number 0 on; {IGNORED} is for pixels to ignore",
            )
        own = dict(enumerate(self.classes))
        wrong = next((number for number in used if own.get(number, names[number]) != names[number]), None)
        if wrong is not None and (set(names) & set(self.classes) or len(names) != len(self.classes)):
            raise InputError(
                f"{self.name}: class {wrong} is '{own[wrong]}', and the network's class {wrong} is '{names[wrong]}'",
                "name the classes alike, in the order of the masks' numbers",
            )
        return replace(self, classes=names)

    def _used(self) -> list[int]:
        """Class numbers that occur, ascending."""
        return np.flatnonzero(self.counts.any(axis=0)).tolist()


def open_masks(source: str) -> MaskSet:
    """Find pictures and their masks by the path of a folder or file.

    All of them are read once, so that what is wrong is found before anything long begins.

    Raises:
        InputError: Nothing known is there, or a picture has no mask, one of another size, or one that is damaged.
    """
    pairs, names = _found(Path(source))
    if not pairs:
        raise InputError(f"pictures with masks {source}: there are none", _LAYOUTS)
    for picture, mask in pairs:
        if not picture.is_file():
            raise InputError(f"pictures with masks {source}: {picture} does not exist", "copy the pictures again")
        if not mask.is_file():
            raise InputError(
                f"picture {picture}: its mask {mask} does not exist",
                f"add it, or take the picture out; a mask may be of {IGNORED}s, which count for nothing",
            )
    pictures, masks = zip(*pairs, strict=True)
    counts = np.asarray([_counted(*pair) for pair in pairs], dtype=np.int64)
    return MaskSet(source, pictures, masks, counts, names)


def open_masks_or_pictures(source: str) -> MaskSet | ImageSet:
    """Pictures with masks, or plain ones where a folder or a CSV file of pictures is all there is.

    Raises:
        InputError: There are none, or a mask is missing.
    """
    path = Path(source)
    listed = is_csv(path) and "mask" in csv_rows(path)[0]
    if listed or path.suffix == ".txt" or (path / "masks").is_dir() or (path / _VOC).is_dir():
        return open_masks(source)
    return replace(open_image_set(source), labels=None, classes=())


def _found(path: Path) -> tuple[list[tuple[Path, Path]], tuple[str, ...]]:
    """Pictures with their masks' files, and the names of the classes if there are any."""
    if is_csv(path):
        return _listed(path), ()
    if path.is_file() and path.parent.parent.name == "ImageSets":
        root = path.parents[2]
        return _voc(root, path.read_text(encoding="utf-8").split()), yolo_names(root)
    if (path / _VOC).is_dir():
        return _voc(path, sorted(found.stem for found in (path / _VOC).glob("*.png"))), yolo_names(path)
    if (path / "masks").is_dir():
        images, masks = path / "images", path / "masks"
        pairs = [(found, (masks / found.relative_to(images)).with_suffix(".png")) for found in pictures_below(images)]
        return pairs, yolo_names(path)
    raise InputError(f"pictures with masks {path}: nothing known is there", _LAYOUTS)


def _counted(picture: Path, mask: Path) -> npt.NDArray[np.int64]:
    """How many pixels have each class number, once picture and mask are known to be of one size."""
    numbers, (height, width) = read_mask(mask), read_image(picture).shape[:2]
    if numbers.shape != (height, width):
        raise InputError(
            f"mask {mask}: {numbers.shape[1]} x {numbers.shape[0]} pixels, and its picture {picture} has "
            f"{width} x {height}",
            "give each picture a mask of its own size",
        )
    return np.bincount(numbers.ravel(), minlength=IGNORED + 1)[:IGNORED]


def _listed(path: Path) -> list[tuple[Path, Path]]:
    columns, rows = csv_rows(path)
    if "mask" not in columns:
        raise InputError(f"pictures {path}: wanted are the columns path and mask", "mend the first line")
    return [(path.parent / row["path"], path.parent / row["mask"]) for row in rows]


def _voc(root: Path, names: Sequence[str]) -> list[tuple[Path, Path]]:
    folder = root / "JPEGImages"
    pictures = {found.stem: found for found in folder.glob("*") if found.suffix.lower() in SUFFIXES}
    return [(pictures.get(name, folder / f"{name}.jpg"), root / _VOC / f"{name}.png") for name in names]
