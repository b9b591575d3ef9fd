"""What all layouts of labelled boxes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from edgecnn.errors import InputError
from edgecnn.vision.detection_set import Annotations, DetectionSet

LAYOUTS = (
    "give a COCO JSON file, a folder with images/ and labels/ (YOLO) or its data.yaml, or a folder with Annotations/ "
    "and JPEGImages/ (Pascal VOC) or one of its ImageSets/Main/*.txt"
)
# Box, class number, ignored, area.
Row = tuple[Sequence[float], int, bool, float]


def annotations_of(rows: Sequence[Row]) -> Annotations:
    """A picture's objects."""
    return Annotations(
        boxes_xyxy=np.asarray([row[0] for row in rows], dtype=np.float32).reshape(-1, 4),
        classes=np.asarray([row[1] for row in rows], dtype=np.int64),
        ignored=np.asarray([row[2] for row in rows], dtype=np.bool_),
        areas=np.asarray([row[3] for row in rows], dtype=np.float32),
    )


def complete_set(
    name: str,
    paths: tuple[Path, ...],
    sizes: tuple[tuple[int, int], ...],
    objects: tuple[Annotations, ...],
    classes: tuple[str, ...],
) -> DetectionSet:
    """The set, once its pictures are known to exist.

    Raises:
        InputError: A picture is missing, or there is no object in any.
    """
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"labelled pictures {name}: {missing} is listed and does not exist", "copy the pictures again")
    if not any(len(found.classes) for found in objects):
        raise InputError(f"labelled pictures {name}: {len(paths)} pictures and no object in them", LAYOUTS)
    return DetectionSet(name, paths, sizes, objects, classes)


def refuse_damaged(path: Path, wanted: str, error: Exception) -> NoReturn:
    """Say that a file is not what was ``wanted``.

    Raises:
        InputError: Always.
    """
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    raise InputError(f"labelled pictures {path}: not {wanted}: {what}", "mend the file, or export it again") from None
