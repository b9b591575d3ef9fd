"""Labelled boxes in YOLO's text files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from edgecnn.errors import InputError
from edgecnn.vision.annotation_rows import LAYOUTS, Row, annotations_of, complete_set, refuse_damaged
from edgecnn.vision.boxes import box_areas, xyxy_from_cxcywh
from edgecnn.vision.detection_set import Annotations, DetectionSet
from edgecnn.vision.images import SUFFIXES, read_image

_NAME_FILES = ("classes.txt", "obj.names")


def open_yolo_yaml(path: Path, first: str = "val", second: str = "train") -> DetectionSet:
    """The pictures of ``val``, or where there is none of ``train``; or the other way round."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = document["names"]
        names = tuple(str(names[key]) for key in sorted(names)) if isinstance(names, dict) else tuple(map(str, names))
        parts = document.get(first) or document[second]
        root = path.parent / str(document.get("path") or "")
        folders = [root / str(part) for part in (parts if isinstance(parts, list) else [parts])]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        refuse_damaged(path, "a data.yaml with names and val", error)
    pictures = [picture for folder in folders for picture in pictures_below(folder)]
    return open_yolo(str(path), pictures, names)


def yolo_names(root: Path) -> tuple[str, ...]:
    """Names of the classes, from a file in a folder with ``labels``; none where there is no such file."""
    found = next((root / name for name in _NAME_FILES if (root / name).is_file()), None)
    lines = found.read_text(encoding="utf-8").splitlines() if found is not None else []
    return tuple(line.strip() for line in lines if line.strip())


def open_yolo(name: str, pictures: Sequence[Path], names: tuple[str, ...]) -> DetectionSet:
    """A text file for each picture: class, then centre and size or an outline, as parts of the picture's sides."""
    labels = [_yolo_label(picture) for picture in pictures]
    if not any(label.is_file() for label in labels):
        expected = f"no labels such as {labels[0]}" if labels else "no pictures in images/"
        raise InputError(f"labelled pictures {name}: {expected}", LAYOUTS)
    sizes: list[tuple[int, int]] = []
    objects: list[Annotations] = []
    for picture, label in zip(pictures, labels, strict=True):
        height, width = read_image(picture).shape[:2]
        rows: list[Row] = []
        text = label.read_text(encoding="utf-8") if label.is_file() else ""  # nothing is in a picture without a file
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                values = np.asarray([float(part) for part in line.split()])
                if not values.size:
                    continue
                box = _yolo_box(values[1:]) * np.asarray([width, height, width, height])
                if values[0] != int(values[0]) or values[0] < 0 or (names and values[0] >= len(names)):
                    raise ValueError(f"class {values[0]:g}")
            except ValueError as error:
                refuse_damaged(label, f"class, x, y, width and height in line {number}", error)
            rows.append((list(box), int(values[0]), False, float(box_areas(box[None])[0])))
        sizes.append((height, width))
        objects.append(annotations_of(rows))
    return complete_set(name, tuple(pictures), tuple(sizes), tuple(objects), names)


def _yolo_box(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if len(values) == 4:
        return xyxy_from_cxcywh(values)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers after the class")
    corners = values.reshape(-1, 2)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def _yolo_label(picture: Path) -> Path:
    """The last folder named images becomes labels."""
    parts = list(picture.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def pictures_below(place: Path) -> list[Path]:
    """Of a folder and those in it, or of a text file that lists them."""
    if place.is_file() and place.suffix == ".txt":
        return [place.parent / line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    return sorted(found for found in place.rglob("*") if found.suffix.lower() in SUFFIXES and found.is_file())
