"""Labelled boxes on disk: COCO's JSON, YOLO's text files and Pascal VOC's XML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import yaml

from edgecnn.errors import InputError
from edgecnn.vision.boxes import box_areas, xyxy_from_cxcywh
from edgecnn.vision.detection_set import Annotations, DetectionSet
from edgecnn.vision.images import SUFFIXES, read_image

_LAYOUTS = (
    "give a COCO JSON file, a folder with images/ and labels/ (YOLO) or its data.yaml, or a folder with Annotations/ "
    "and JPEGImages/ (Pascal VOC) or one of its ImageSets/Main/*.txt"
)
_NAME_FILES = ("classes.txt", "obj.names")
# Box, class number, ignored, area.
_Row = tuple[Sequence[float], int, bool, float]


def open_detection_set(source: str) -> DetectionSet:
    """Find labelled boxes by the path of a file or folder.

    A folder is COCO's where exactly one JSON file lies in it or in its ``annotations``, else YOLO's where it has
    ``labels``, else Pascal VOC's where it has ``Annotations``.

    Raises:
        InputError: Nothing known is there, a file is damaged, or a picture is missing.
    """
    path = Path(source)
    if path.is_file():
        match path.suffix.lower():
            case ".json":
                return _open_coco(path)
            case ".yaml" | ".yml":
                return _open_yolo_yaml(path)
            case ".txt" if path.parent.parent.name == "ImageSets":
                return _open_voc(path.parents[2], path.read_text(encoding="utf-8").split())
            case _:
                pass
    if path.is_dir():
        documents = [*path.glob("*.json"), *path.glob("annotations/*.json")]
        if len(documents) == 1:
            return _open_coco(documents[0])
        if (path / "data.yaml").is_file():
            return _open_yolo_yaml(path / "data.yaml")
        if (path / "labels").is_dir():
            return _open_yolo(str(path), _pictures_below(path / "images"), _yolo_names(path))
        if (path / "Annotations").is_dir():
            return _open_voc(path, None)
    raise InputError(f"labelled pictures {source}: nothing known is there", _LAYOUTS)


def open_training_set(source: str) -> tuple[DetectionSet, DetectionSet | None]:
    """Labelled boxes to learn from, and those that the layout itself keeps back: ``train`` and ``val`` of a data.yaml.

    Raises:
        InputError: As ``open_detection_set``.
    """
    path = Path(source)
    document = path / "data.yaml" if path.is_dir() else path
    if document.suffix.lower() not in (".yaml", ".yml") or not document.is_file():
        return open_detection_set(source), None
    learn, keep = (_open_yolo_yaml(document, *order) for order in (("train", "val"), ("val", "train")))
    return learn, keep if keep.paths != learn.paths else None


def _open_coco(path: Path) -> DetectionSet:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        categories = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
        numbers = {number: index for index, number in enumerate(sorted(categories))}
        images = {
            entry["id"]: (str(entry["file_name"]), (int(entry["height"]), int(entry["width"])))
            for entry in document["images"]
        }
        rows: dict[Any, list[_Row]] = {number: [] for number in images}
        for entry in document["annotations"]:
            left, top, width, height = (float(value) for value in entry["bbox"])
            box = [left, top, left + width, top + height]
            area = float(entry.get("area", width * height))
            rows[entry["image_id"]].append((box, numbers[entry["category_id"]], bool(entry.get("iscrowd", 0)), area))
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        _damaged(path, "COCO's JSON", error)
    folder = _coco_folder(path, next((name for name, _ in images.values()), ""))
    paths = tuple(folder / name for name, _ in images.values())
    sizes = tuple(size for _, size in images.values())
    objects = tuple(_annotations(rows[number]) for number in images)
    return _complete(str(path), paths, sizes, objects, tuple(categories[number] for number in numbers))


def _coco_folder(path: Path, first: str) -> Path:
    """Where the pictures of a COCO file are: beside it, or in ``images`` or a folder named as the file's split."""
    split = path.stem.rpartition("_")[2]
    root = path.parent.parent
    folders = [path.parent, path.parent / "images", root / "images" / split, root / split, root / "images", root]
    found = next((folder for folder in folders if (folder / first).is_file()), None)
    if found is None:
        looked = ", ".join(str(folder) for folder in folders)
        raise InputError(f"labelled pictures {path}: {first} is listed and not found", f"looked in {looked}")
    return found


def _open_yolo_yaml(path: Path, first: str = "val", second: str = "train") -> DetectionSet:
    """The pictures of ``val``, or where there is none of ``train``; or the other way round."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = document["names"]
        names = tuple(str(names[key]) for key in sorted(names)) if isinstance(names, dict) else tuple(map(str, names))
        parts = document.get(first) or document[second]
        root = path.parent / str(document.get("path") or "")
        folders = [root / str(part) for part in (parts if isinstance(parts, list) else [parts])]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        _damaged(path, "a data.yaml with names and val", error)
    pictures = [picture for folder in folders for picture in _pictures_below(folder)]
    return _open_yolo(str(path), pictures, names)


def _yolo_names(root: Path) -> tuple[str, ...]:
    found = next((root / name for name in _NAME_FILES if (root / name).is_file()), None)
    lines = found.read_text(encoding="utf-8").splitlines() if found is not None else []
    return tuple(line.strip() for line in lines if line.strip())


def _open_yolo(name: str, pictures: Sequence[Path], names: tuple[str, ...]) -> DetectionSet:
    """A text file for each picture: class, then centre and size or an outline, as parts of the picture's sides."""
    labels = [_yolo_label(picture) for picture in pictures]
    if not any(label.is_file() for label in labels):
        expected = f"no labels such as {labels[0]}" if labels else "no pictures in images/"
        raise InputError(f"labelled pictures {name}: {expected}", _LAYOUTS)
    sizes: list[tuple[int, int]] = []
    objects: list[Annotations] = []
    for picture, label in zip(pictures, labels, strict=True):
        height, width = read_image(picture).shape[:2]
        rows: list[_Row] = []
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
                _damaged(label, f"class, x, y, width and height in line {number}", error)
            rows.append((list(box), int(values[0]), False, float(box_areas(box[None])[0])))
        sizes.append((height, width))
        objects.append(_annotations(rows))
    return _complete(name, tuple(pictures), tuple(sizes), tuple(objects), names)


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


def _open_voc(root: Path, chosen: list[str] | None) -> DetectionSet:
    folder = root / "Annotations"
    documents = sorted(folder.glob("*.xml")) if chosen is None else [folder / f"{name}.xml" for name in chosen]
    paths: list[Path] = []
    sizes: list[tuple[int, int]] = []
    named: list[list[tuple[list[float], str, bool]]] = []
    for document in documents:
        try:
            tree = ElementTree.parse(document).getroot()  # noqa: S314 - expat expands no external entities
            size = tuple(int(float(_text(tree, f"size/{side}"))) for side in ("height", "width"))
            rows: list[tuple[list[float], str, bool]] = []
            for found in tree.iterfind("object"):
                box = [float(_text(found, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
                # Pixels are counted from 1 there, and the last one belongs to the object. Some tools count from 0.
                box = [max(box[0] - 1, 0), max(box[1] - 1, 0), box[2], box[3]]
                rows.append((box, _text(found, "name"), found.findtext("difficult", "0").strip() == "1"))
        except (ElementTree.ParseError, OSError, ValueError) as error:
            _damaged(document, "Pascal VOC's XML", error)
        paths.append(_voc_picture(root, document.stem, tree.findtext("filename", "").strip()))
        sizes.append((size[0], size[1]))
        named.append(rows)
    classes = tuple(sorted({name for rows in named for _, name, _ in rows}))
    objects = tuple(
        _annotations(
            [(box, classes.index(name), hard, (box[2] - box[0]) * (box[3] - box[1])) for box, name, hard in rows]
        )
        for rows in named
    )
    return _complete(str(root), tuple(paths), tuple(sizes), objects, classes)


def _voc_picture(root: Path, stem: str, name: str) -> Path:
    """By the annotation's name; the name inside it is often one from before the files were renamed."""
    folder = root / "JPEGImages"
    candidates = [folder / f"{stem}{suffix}" for suffix in sorted(SUFFIXES)]
    return next((found for found in candidates if found.is_file()), folder / (name or f"{stem}.jpg"))


def _text(tree: ElementTree.Element, place: str) -> str:
    text = tree.findtext(place)
    if text is None or not text.strip():
        raise ValueError(f"{place} is missing")
    return text.strip()


def _pictures_below(place: Path) -> list[Path]:
    """Of a folder and those in it, or of a text file that lists them."""
    if place.is_file() and place.suffix == ".txt":
        return [place.parent / line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    return sorted(found for found in place.rglob("*") if found.suffix.lower() in SUFFIXES and found.is_file())


def _annotations(rows: Sequence[_Row]) -> Annotations:
    return Annotations(
        boxes_xyxy=np.asarray([row[0] for row in rows], dtype=np.float32).reshape(-1, 4),
        classes=np.asarray([row[1] for row in rows], dtype=np.int64),
        ignored=np.asarray([row[2] for row in rows], dtype=np.bool_),
        areas=np.asarray([row[3] for row in rows], dtype=np.float32),
    )


def _complete(
    name: str,
    paths: tuple[Path, ...],
    sizes: tuple[tuple[int, int], ...],
    objects: tuple[Annotations, ...],
    classes: tuple[str, ...],
) -> DetectionSet:
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise InputError(f"labelled pictures {name}: {missing} is listed and does not exist", "copy the pictures again")
    if not any(len(found.classes) for found in objects):
        raise InputError(f"labelled pictures {name}: {len(paths)} pictures and no object in them", _LAYOUTS)
    return DetectionSet(name, paths, sizes, objects, classes)


def _damaged(path: Path, wanted: str, error: Exception) -> NoReturn:
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    raise InputError(f"labelled pictures {path}: not {wanted}: {what}", "mend the file, or export it again") from None
