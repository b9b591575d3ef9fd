"""Lists of the pictures on both sides of a training's split, for the recipe of the finished network."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.build.training_plan import Plan
from edgecnn.core.files import write_text
from edgecnn.core.recipe import Recipe
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.target_set import NAMES_PARTED_BY

if TYPE_CHECKING:
    from edgecnn.train.samples import Samples

# For each key of the recipe's data the list's name, and its suffixes for classes and for boxes.
SETS = {"train": "learned", "calibration": "learned", "evaluation": "heldout"}
SUFFIXES = (".csv", ".json")


def write_sets(plan: Plan, folder: Path) -> None:
    """Write ``learned`` and ``heldout``: CSV of pictures and classes or masks, or COCO's JSON of pictures and boxes.

    What has no such list, as parts of pictures, is left out.
    """
    for name, found in (("learned", plan.train), ("heldout", plan.validation)):
        if isinstance(found, DetectionSet):
            write_text(folder / f"{name}.json", coco_document(found))
        elif isinstance(found, MaskSet):
            write_text(folder / f"{name}.csv", _masks_listed(found))
        elif found is not None:
            listed = _listed(found, plan.recipe)
            if listed.count("\n") > 1:
                write_text(folder / f"{name}.csv", listed)


def coco_document(boxes: DetectionSet) -> str:
    """COCO's JSON of pictures, by their whole paths, and their objects; ignored ones as crowds."""
    annotations: list[dict[str, Any]] = []
    for number, found in enumerate(boxes.objects):
        rows = zip(found.boxes_xyxy.tolist(), found.classes.tolist(), found.ignored, found.areas.tolist(), strict=True)
        for (left, top, right, bottom), kind, ignored, area in rows:
            place = {"bbox": [left, top, right - left, bottom - top], "area": area, "iscrowd": int(ignored)}
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": kind, **place})
    images = [
        {"id": number, "file_name": str(path.resolve()), "height": height, "width": width}
        for number, (path, (height, width)) in enumerate(zip(boxes.paths, boxes.sizes_hw, strict=True))
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(boxes.classes)]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})


def _masks_listed(masks: MaskSet) -> str:
    """Pictures and their masks as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["path", "mask"])
    for pair in zip(masks.paths, masks.masks, strict=True):
        writer.writerow([path.resolve() for path in pair])
    return stream.getvalue()


def _listed(samples: Samples, recipe: Recipe) -> str:
    """Whole pictures, or signals, and their targets as CSV; parts of pictures cannot be listed, and are left out."""
    labels = recipe.labels
    assert isinstance(labels, tuple)
    assert recipe.train is not None
    objective = recipe.train.objective
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["path", *(labels if objective == "regression" else ["label"])])
    rows = zip(samples.paths, samples.boxes, samples.targets, strict=True)
    if isinstance(recipe.preprocess, SignalPreprocess):
        # All windows of a signal are on one side: the signal stands for them.
        rows = {path: (path, None, target) for path, _, target in rows}.values()
    for path, box, target in rows:
        if box is not None:
            continue
        if objective == "regression":
            cells = target.tolist()
        elif objective == "multilabel":
            cells = [NAMES_PARTED_BY.join(label for label, there in zip(labels, target, strict=True) if there)]
        else:
            cells = [labels[int(target)]]
        writer.writerow([path.resolve(), *cells])
    return stream.getvalue()
