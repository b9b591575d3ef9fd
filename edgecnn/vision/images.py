"""Sets of pictures on disk, with labels where the layout gives them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.core.files import hash_file
from edgecnn.core.frame import Image
from edgecnn.errors import InputError
from edgecnn.signals import files as signals
from edgecnn.signals.windows import Window, places_of

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class FileKind:
    """What a set's files are.

    Attributes:
        name: In the plural, for messages.
        suffixes: Theirs, in small letters.
    """

    name: str
    suffixes: frozenset[str]


PICTURES = FileKind("pictures", SUFFIXES)
SIGNALS = FileKind("signals", signals.SUFFIXES)


def spread_indices(total: int, count: int) -> list[int]:
    """At most ``count`` of the numbers below ``total``, evenly spread over all of them."""
    count = min(count, total)
    return [index * total // count for index in range(count)]


@dataclass(frozen=True)
class ImageSet:
    """Pictures, or windows of signals, in a fixed order.

    Attributes:
        name: Where they came from, for messages.
        paths: The files.
        labels: A class number for each file; none for unlabelled pictures.
        classes: Names of the classes that the layout names, in order of their numbers; empty where it names none.
        begins: Of signals, the first sample of each window; its file is in ``paths`` once for each.
    """

    name: str
    paths: tuple[Path, ...]
    labels: tuple[int, ...] | None
    classes: tuple[str, ...]
    begins: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def places(self) -> tuple[Path | Window, ...]:
        """What is read for each: a file, or a window of one."""
        return places_of(self.paths, self.begins)

    def at(self, chosen: Sequence[int]) -> ImageSet:
        """Those at the indices, in their order."""
        return replace(
            self,
            paths=tuple(self.paths[index] for index in chosen),
            labels=tuple(self.labels[index] for index in chosen) if self.labels is not None else None,
            begins=tuple(self.begins[index] for index in chosen) if self.begins is not None else None,
        )

    def spread(self, count: int) -> ImageSet:
        """At most ``count`` pictures, evenly spread over the set, so that sorted classes are all met."""
        return self.at(spread_indices(len(self), count))

    def sha256(self) -> str:
        """Hash of the pictures' contents and labels; a renamed file leaves it as it was."""
        digest = hashlib.sha256(repr(self.begins).encode() if self.begins is not None else b"")
        known = {path: hash_file(path) for path in set(self.paths)}
        for index, path in enumerate(self.paths):
            digest.update(known[path].encode())
            digest.update(str(self.labels[index] if self.labels is not None else None).encode())
        return digest.hexdigest()

    def labelled_for(self, names: tuple[str, ...]) -> ImageSet:
        """The set with the class numbers of a network whose classes have these names.

        Class folders are matched by name where all their names are the network's; else by their sorted order,
        if no name is the network's and there are as many folders as classes.

        Raises:
            InputError: There are no labels, or neither rule holds.
        """
        if self.labels is None:
            raise InputError(
                f"{self.name}: the pictures have no labels, and accuracy needs them",
                "put each class into a folder of its own, or give a CSV file with the columns path and label",
            )
        if not self.classes:
            if max(self.labels) >= len(names):
                raise InputError(
                    f"{self.name}: label {max(self.labels)} found, but the network has {len(names)} classes"
                )
            return self
        numbers = {name: number for number, name in enumerate(names)}
        if all(name in numbers for name in self.classes):
            return replace(self, labels=tuple(numbers[self.classes[label]] for label in self.labels), classes=names)
        if len(self.classes) == len(names) and not any(name in numbers for name in self.classes):
            return replace(self, classes=names)
        unknown = next(name for name in self.classes if name not in numbers)
        raise InputError(
            f"{self.name}: {len(self.classes)} classes, among them '{unknown}', do not fit the network's {len(names)}",
            "name the folders as the network's labels, or give a CSV file with class numbers",
        )


def open_image_set(source: str, kind: FileKind = PICTURES) -> ImageSet:
    """Find the pictures, or the files with signals, of a folder or a CSV file.

    A folder with sub-folders is one class a sub-folder, in sorted order; a flat folder has no labels. A CSV file
    has a header with the column ``path`` (relative to the file) and, where there are labels, ``label``: a class
    number or a name.

    Args:
        source: Its path.
        kind: Which files count in a folder.

    Raises:
        InputError: Nothing there, no pictures in it, or the CSV file cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, kind)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _open_csv(path, kind.name)
    raise InputError(f"{kind.name} {source}: no such folder or CSV file", f"give a folder of {kind.name}")


def _open_folder(folder: Path, kind: FileKind) -> ImageSet:
    flat = _files_in(folder, kind)
    inner = next((found for found in sorted(folder.iterdir()) if found.is_dir() and _files_in(found, kind)), None)
    if flat and inner is not None:
        raise InputError(
            f"{kind.name} {folder}: {len(flat)} lie beside folders of {kind.name} such as {inner.name}",
            "give either a flat folder or one folder for each class",
        )
    if flat:
        return ImageSet(str(folder), tuple(flat), None, ())
    paths: list[Path] = []
    labels: list[int] = []
    folders = [
        (found.name, pictures)
        for found in sorted(folder.iterdir())
        if found.is_dir() and (pictures := _files_in(found, kind))
    ]
    for label, (_, pictures) in enumerate(folders):
        paths += pictures
        labels += [label] * len(pictures)
    if not paths:
        raise InputError(
            f"{kind.name} {folder}: the folder has no {kind.name}", f"looked for {', '.join(sorted(kind.suffixes))}"
        )
    return ImageSet(str(folder), tuple(paths), tuple(labels), tuple(name for name, _ in folders))


def _files_in(folder: Path, kind: FileKind) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in kind.suffixes and path.is_file())


def _open_csv(path: Path, kind: str) -> ImageSet:
    try:
        # Spreadsheets write a mark before the first column's name, which utf-8-sig drops.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True, restval="")
            columns = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{kind} {path}: not a CSV file: {error}", "save it as CSV in UTF-8") from None
    if "path" not in columns:
        raise InputError(f"{kind} {path}: the first line must name the column path; found {', '.join(columns)}")
    if not rows:
        raise InputError(f"{kind} {path}: the file lists no {kind}")
    paths = tuple(path.parent / row["path"] for row in rows)
    missing = next((found for found in paths if not found.is_file()), None)
    if missing is not None:
        raise InputError(f"{kind} {path}: {missing} is listed and does not exist")
    if "label" not in columns:
        return ImageSet(str(path), paths, None, ())
    texts = [row["label"].strip() for row in rows]
    if "" in texts:
        raise InputError(
            f"{kind} {path}: {rows[texts.index('')]['path']} has no label", "label it, or take it out of the file"
        )
    if all(text.isdecimal() for text in texts):
        return ImageSet(str(path), paths, tuple(int(text) for text in texts), ())
    classes = tuple(sorted(set(texts)))
    return ImageSet(str(path), paths, tuple(classes.index(text) for text in texts), classes)


def bgr_from_picture(picture: npt.NDArray[Any]) -> Image:
    """Whatever a camera delivers as the one kind of picture that all else takes.

    Args:
        picture: (height, width) or (height, width, 1) for grey, 3 channels for BGR, 4 for BGR and another that is
            left out; uint8, or uint16 whose upper 8 bits are taken.

    Returns:
        uint8 BGR (height, width, 3); the picture itself where it is that already.
    """
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if channels == 3:
        return picture
    code = cv2.COLOR_BGRA2BGR if channels == 4 else cv2.COLOR_GRAY2BGR
    return cv2.cvtColor(picture, code).astype(np.uint8, copy=False)


def read_image(path: Path) -> Image:
    """Read a picture as uint8 BGR (height, width, 3), turned as its EXIF orientation says.

    Raises:
        InputError: It cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"picture {path}: cannot be read: {error.strerror}", "check the path") from None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # a size beyond OpenCV's limits
        image = None
    if image is None:
        raise InputError(
            f"picture {path}: cannot be decoded ({data.size} bytes)", "repair the file or take it out of the folder"
        )
    return image.astype(np.uint8, copy=False)
