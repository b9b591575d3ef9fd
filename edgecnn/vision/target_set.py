"""Pictures with several labels each, or with values: what networks for these learn from and are judged on."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgecnn.core.files import hash_file
from edgecnn.errors import InputError
from edgecnn.signals.windows import Window, places_of
from edgecnn.vision.annotations import open_detection_set
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import PICTURES, FileKind, ImageSet, open_image_set

NAMES_PARTED_BY = "|"
"""Between several names in a CSV file's column label."""
TargetKind = Literal["tags", "values"]


@dataclass(frozen=True, eq=False)
class TargetSet:
    """Pictures, or windows of signals, in a fixed order, each with a row of targets.

    Attributes:
        name: Where they came from, for messages.
        paths: The files.
        targets: float32 (N, columns): 1 for each label that a picture has and else 0, or values.
        classes: Names of the labels or values, in order; empty where nothing names them.
        kind: What the targets are.
        begins: Of signals, the first sample of each window; see ``ImageSet``.
    """

    name: str
    paths: tuple[Path, ...]
    targets: npt.NDArray[np.float32]
    classes: tuple[str, ...]
    kind: TargetKind
    begins: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def places(self) -> tuple[Path | Window, ...]:
        """What is read for each: a file, or a window of one."""
        return places_of(self.paths, self.begins)

    def sha256(self) -> str:
        """Hash of the pictures' contents and targets; a renamed file leaves it as it was."""
        begins = [self.begins] if self.begins is not None else []
        digest = hashlib.sha256(repr((self.kind, self.classes, *begins)).encode())
        known = {path: hash_file(path) for path in set(self.paths)}
        for path in self.paths:
            digest.update(known[path].encode())
        digest.update(self.targets.tobytes())
        return digest.hexdigest()

    def labelled_for(self, names: tuple[str, ...]) -> TargetSet:
        """The set with the columns of a network whose labels or values have these names.

        Columns are matched by name; by their order if no name is the network's and there are as many. A label of the
        network that no picture has is 0 throughout; columns of values that the network does not give are left out.

        Raises:
            InputError: There is a label that the network does not know, or a value of the network is missing.
        """
        known = set(names) & set(self.classes)
        if not known and self.targets.shape[1] == len(names):
            return replace(self, classes=names)
        if self.kind == "tags":
            strange = [name for name in self.classes if name not in names]
            if strange or not self.classes:
                found = f"the label '{strange[0]}'" if strange else f"{self.targets.shape[1]} labels without names"
                raise InputError(
                    f"{self.name}: {found}, and the network knows {_few(names)}",
                    "write the labels as the network's, or leave those pictures out",
                )
            targets = np.zeros((len(self), len(names)), dtype=np.float32)
            targets[:, [names.index(name) for name in self.classes]] = self.targets
            return replace(self, targets=targets, classes=names)
        missing = [name for name in names if name not in known]
        if missing:
            raise InputError(
                f"{self.name}: no column '{missing[0]}', which the network gives; found {_few(self.classes)}",
                "name the columns as the network's values",
            )
        order = [self.classes.index(name) for name in names]
        return replace(self, targets=np.ascontiguousarray(self.targets[:, order]), classes=names)


def open_tags(source: str) -> TargetSet:
    """Pictures with any number of labels each.

    Args:
        source: A CSV file with the columns ``path`` and ``label``, which holds names parted by ``|``; or boxes (COCO,
            YOLO, Pascal VOC), of which the classes that are in a picture count.

    Raises:
        InputError: Nothing there, or not with labels.
    """
    path = Path(source)
    if holds_boxes(path):
        return tags_of_boxes(open_detection_set(source))
    if not is_csv(path):
        raise InputError(
            f"pictures {source}: multilabel wants a CSV file or boxes", "columns: path and label (names parted by |)"
        )
    columns, rows = csv_rows(path)
    if columns != ["label"] or not rows:
        raise InputError(
            f"pictures {path}: wanted are the columns path and label",
            "mend the first line; there must be rows under it",
        )
    names = [{part.strip() for part in row["label"].split(NAMES_PARTED_BY)} - {""} for row in rows]
    classes = tuple(sorted(set[str]().union(*names)))
    targets = np.asarray([[name in there for name in classes] for there in names], dtype=np.float32)
    return TargetSet(str(path), _paths(path, rows), targets.reshape(len(rows), len(classes)), classes, "tags")


def tags_of_boxes(found: DetectionSet) -> TargetSet:
    """The classes that are in each picture."""
    count = len(found.classes) or 1 + max(int(objects.classes.max(initial=0)) for objects in found.objects)
    targets = np.zeros((len(found), count), dtype=np.float32)
    for row, objects in zip(targets, found.objects, strict=True):
        row[objects.classes] = 1
    return TargetSet(found.name, found.paths, targets, found.classes, "tags")


def open_values(source: str) -> TargetSet:
    """Pictures with values.

    Args:
        source: A CSV file whose columns beside ``path`` are values.

    Raises:
        InputError: Nothing there, or not with values.
    """
    path = Path(source)
    if holds_boxes(path):
        raise InputError(f"pictures {source}: boxes are no values to regress", "give a CSV file: path and values")
    if not is_csv(path):
        raise InputError(f"pictures {source}: regression wants a CSV file", "columns: path and values")
    columns, rows = csv_rows(path)
    if not columns or not rows:
        raise InputError(
            f"pictures {path}: wanted are the columns path and one or more with values",
            "mend the first line; there must be rows under it",
        )
    try:
        targets = np.asarray([[float(row[name]) for name in columns] for row in rows], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"pictures {path}: a value is no number: {error}", "mend the row") from None
    if not (there := np.isfinite(targets).all(axis=1)).all():
        raise InputError(
            f"pictures {path}: a value of {rows[int(there.argmin())]['path']} is no number", "mend the row"
        )
    return TargetSet(str(path), _paths(path, rows), targets, tuple(columns), "values")


def open_targets(source: str, kind: TargetKind, files: FileKind = PICTURES) -> TargetSet | ImageSet:
    """Pictures with such targets, or plain ones where a folder, or a CSV file with nothing but paths, is all there is.

    Args:
        source: Its path.
        kind: Of the targets.
        files: Which files count in a folder.

    Raises:
        InputError: There are none, or what labels them is damaged.
    """
    path = Path(source)
    if kind == "tags" and holds_boxes(path):
        return open_tags(source)
    if is_csv(path) and csv_rows(path)[0]:
        return open_tags(source) if kind == "tags" else open_values(source)
    return replace(open_image_set(source, files), labels=None, classes=())


def holds_boxes(path: Path) -> bool:
    """Whether there is something that labels pictures with boxes: COCO, YOLO or Pascal VOC."""
    if path.is_file():
        return path.suffix.lower() in (".json", ".yaml", ".yml", ".txt")
    return (
        (path / "Annotations").is_dir()
        or (path / "labels").is_dir()
        or (path / "data.yaml").is_file()
        or (any(path.glob("*.json")) or any(path.glob("annotations/*.json")))
    )


def is_csv(path: Path) -> bool:
    """Whether it is a CSV file."""
    return path.suffix.lower() == ".csv" and path.is_file()


def csv_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a CSV file beside ``path``, and its rows.

    Raises:
        InputError: It is none, or has no such column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True, restval="")
            columns, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"pictures {path}: not a CSV file: {error}", "save it as CSV in UTF-8") from None
    if "path" not in columns:
        raise InputError(
            f"pictures {path}: wanted are the columns path and others for what is to be learnt; "
            f"found {', '.join(columns)}",
            "mend the first line",
        )
    return [name for name in columns if name != "path"], rows


def _paths(path: Path, rows: Sequence[dict[str, str]]) -> tuple[Path, ...]:
    paths = tuple(path.parent / row["path"] for row in rows)
    missing = next((found for found in paths if not found.is_file()), None)
    if missing is not None:
        raise InputError(f"pictures {path}: {missing} is listed and does not exist")
    return paths


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
