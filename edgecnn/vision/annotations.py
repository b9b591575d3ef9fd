"""Labelled boxes on disk: COCO's JSON, YOLO's text files and Pascal VOC's XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgecnn.errors import InputError
from edgecnn.vision.annotation_rows import LAYOUTS, Row, annotations_of, complete_set, refuse_damaged
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.voc_annotations import open_voc
from edgecnn.vision.yolo_annotations import open_yolo, open_yolo_yaml, pictures_below, yolo_names


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
                return open_yolo_yaml(path)
            case ".txt" if path.parent.parent.name == "ImageSets":
                return open_voc(path.parents[2], path.read_text(encoding="utf-8").split())
            case _:
                pass
    if path.is_dir():
        documents = [*path.glob("*.json"), *path.glob("annotations/*.json")]
        if len(documents) == 1:
            return _open_coco(documents[0])
        if (path / "data.yaml").is_file():
            return open_yolo_yaml(path / "data.yaml")
        if (path / "labels").is_dir():
            return open_yolo(str(path), pictures_below(path / "images"), yolo_names(path))
        if (path / "Annotations").is_dir():
            return open_voc(path, None)
    raise InputError(f"labelled pictures {source}: nothing known is there", LAYOUTS)


def open_training_set(source: str) -> tuple[DetectionSet, DetectionSet | None]:
    """Labelled boxes to learn from, and those that the layout itself keeps back: ``train`` and ``val`` of a data.yaml.

    Raises:
        InputError: As ``open_detection_set``.
    """
    path = Path(source)
    document = path / "data.yaml" if path.is_dir() else path
    if document.suffix.lower() not in (".yaml", ".yml") or not document.is_file():
        return open_detection_set(source), None
    learn, keep = (open_yolo_yaml(document, *order) for order in (("train", "val"), ("val", "train")))
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
        rows: dict[Any, list[Row]] = {number: [] for number in images}
        for entry in document["annotations"]:
            left, top, width, height = (float(value) for value in entry["bbox"])
            box = [left, top, left + width, top + height]
            area = float(entry.get("area", width * height))
            rows[entry["image_id"]].append((box, numbers[entry["category_id"]], bool(entry.get("iscrowd", 0)), area))
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        refuse_damaged(path, "COCO's JSON", error)
    folder = _coco_folder(path, next((name for name, _ in images.values()), ""))
    paths = tuple(folder / name for name, _ in images.values())
    sizes = tuple(size for _, size in images.values())
    objects = tuple(annotations_of(rows[number]) for number in images)
    return complete_set(str(path), paths, sizes, objects, tuple(categories[number] for number in numbers))


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
