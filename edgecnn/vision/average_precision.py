"""How good detections are: COCO's average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.core.frame import Detections
from edgecnn.errors import missing_extra
from edgecnn.vision.detection_set import Annotations, DetectionSet

# Average precision asks for the doubtful boxes too: those that a user's threshold would hide.
EVALUATION_THRESHOLD = 0.001


def average_precisions(detections: Sequence[Detections], truth: DetectionSet) -> dict[str, float | None]:
    """COCO's mean average precision, as its reference evaluation defines it (Lin et al., 2014; 100 boxes a picture).

    Args:
        detections: One of each picture.
        truth: The pictures, with the detector's class numbers.

    Returns:
        ``map``, ``map50``, ``map_small``, ``map_medium`` and ``map_large``, 0 to 1; none of sizes that no object has.

    Raises:
        EnvironmentMissing: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise missing_extra("faster-coco-eval", "convert") from None
    rows = [(index, *row) for index, objects in enumerate(truth.objects) for row in _rows(objects)]
    reference = COCO(
        {
            "images": [{"id": index, "height": size[0], "width": size[1]} for index, size in enumerate(truth.sizes_hw)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(truth.classes)],
            # An id of 0 reads as "not matched" there.
            "annotations": [
                {"id": number, "image_id": index, "bbox": box, "category_id": kind, "iscrowd": crowd, "area": area}
                for number, (index, box, kind, crowd, area) in enumerate(rows, start=1)
            ],
        }
    )
    results = [
        np.column_stack(
            [
                np.full(len(found), index),
                found.boxes_xyxy[:, :2],
                found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2],
                found.scores,
                found.classes,
            ]
        )
        for index, found in enumerate(detections)
    ]
    evaluation = COCOeval_faster(reference, reference.loadRes(np.concatenate(results)), iouType="bbox")
    evaluation.run()
    names = {"map": 0, "map50": 1, "map_small": 3, "map_medium": 4, "map_large": 5}
    figures = {name: float(evaluation.stats[place]) for name, place in names.items()}
    return {name: figure if figure >= 0 else None for name, figure in figures.items()}


def _rows(objects: Annotations) -> list[tuple[list[float], int, int, float]]:
    corner, opposite = objects.boxes_xyxy[:, :2].astype(float), objects.boxes_xyxy[:, 2:].astype(float)
    boxes = np.concatenate([corner, opposite - corner], axis=1).tolist()
    crowds = objects.ignored.astype(int).tolist()
    return list(zip(boxes, objects.classes.tolist(), crowds, objects.areas.tolist(), strict=True))
