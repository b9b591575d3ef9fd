"""Which pictures calibrate and which judge, and the cache of what networks see of them."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import preprocess, resize_and_crop


@dataclass(frozen=True)
class Split:
    """Pictures of two purposes, none of both.

    Attributes:
        calibration: These set ranges.
        judged: On these figures are measured.
        labels: The class number of each of ``judged``; None for boxes, which are in ``truth``.
        calibration_source: The calibration pictures as ``edgecnn convert --calib`` takes them.
        truth: The judged pictures with their labels, as ``edgecnn convert --data`` takes them.
        names: The classes' names, for boxes.
        description: In words.
    """

    calibration: tuple[Path, ...]
    judged: tuple[Path, ...]
    labels: tuple[int, ...] | None
    calibration_source: Path
    truth: Path
    names: tuple[str, ...] | None
    description: str


def split_imagenet(data: Path, work: Path, first: int = 0) -> Split:
    """One picture a class, their names in the classes' order: every fifth from ``first`` calibrates, others judge."""
    paths = tuple(sorted((data / "images" / "imagenet-samples").glob("*.jpg")))
    if len(paths) != 1000:
        raise SystemExit(f"{data}: 1000 pictures are wanted in images/imagenet-samples, {len(paths)} are there")
    calibrating = paths[first % 5 :: 5]
    calibration, truth = work / "imagenet-calibration.csv", work / "imagenet-judged.csv"
    judged = [(path, label) for label, path in enumerate(paths) if label % 5 != first % 5]
    _write_csv(calibration, ("path",), [(path.resolve(),) for path in calibrating])
    _write_csv(truth, ("path", "label"), [(path.resolve(), label) for path, label in judged])
    return Split(
        calibration=calibrating,
        judged=tuple(path for path, _ in judged),
        labels=tuple(label for _, label in judged),
        calibration_source=calibration,
        truth=truth,
        names=None,
        description="ImageNet samples: 200 calibrate, 800 judge",
    )


def split_faces(data: Path, work: Path, first: int = 0) -> Split:
    """The ImageNet samples as ``split_imagenet`` has them, for boxes of faces, none of which is labelled."""
    return replace(split_imagenet(data, work, first), labels=None, names=("face",))


def split_coco(data: Path, work: Path, first: int = 0) -> Split:
    """coco128 in the order of names: every other from ``first`` calibrates, the others judge."""
    source = data / "detection" / "coco128"
    document = json.loads((source / "annotations" / "instances_train2017.json").read_text(encoding="utf-8"))
    images = sorted(document["images"], key=lambda image: image["file_name"])
    found = {path.name: path.resolve() for path in sorted((source / "images").rglob("*.jpg"))}
    paths = [found[Path(image["file_name"]).name] for image in images]
    calibrating, judging = slice(first % 2, None, 2), slice(1 - first % 2, None, 2)
    judged = [{**image, "file_name": str(path)} for image, path in zip(images[judging], paths[judging], strict=True)]
    numbers = {image["id"] for image in judged}
    annotations = [entry for entry in document["annotations"] if entry["image_id"] in numbers]
    calibration, truth = work / "coco128-calibration.csv", work / "coco128-judged.json"
    _write_csv(calibration, ("path",), [(path,) for path in paths[calibrating]])
    truth.write_text(json.dumps({**document, "images": judged, "annotations": annotations}), encoding="utf-8")
    return Split(
        calibration=tuple(paths[calibrating]),
        judged=tuple(paths[judging]),
        labels=None,
        calibration_source=calibration,
        truth=truth,
        names=tuple(entry["name"] for entry in sorted(document["categories"], key=lambda entry: entry["id"])),
        description=f"coco128: {len(paths[calibrating])} pictures calibrate, {len(judged)} judge",
    )


def network_inputs(paths: Sequence[Path], spec: Preprocess, cache: Path) -> Iterator[np.ndarray]:
    """What a network sees of pictures, one by one: float32 (1, C, H, W).

    Decoding and resizing happen once; their results are kept in ``cache`` as grey levels, a quarter of the size.
    """
    files = [(path.name, path.stat().st_size) for path in paths]
    geometry = spec.model_dump(mode="json", exclude={"scale", "mean", "std"})
    digest = hashlib.sha256(json.dumps([files, geometry]).encode()).hexdigest()[:16]
    kept = cache / f"pictures-{digest}.npy"
    if not kept.is_file():
        part = kept.with_suffix(".part")
        with part.open("wb") as stream:
            np.save(stream, np.stack([resize_and_crop(read_image(path), spec) for path in paths]))
        part.rename(kept)
    # They have their size already, and stretching to it changes nothing.
    as_it_is = spec.model_copy(update={"resize": "stretch", "shorter_side": None})
    for picture in np.load(kept, mmap_mode="r"):
        yield preprocess(np.asarray(picture), as_it_is)


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
