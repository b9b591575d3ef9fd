"""Parts of a bundle's manifest."""

from __future__ import annotations

from edgecnn.build.results import StageResult
from edgecnn.core.detector import Detector
from edgecnn.core.recipe import Recipe
from edgecnn.deploy.manifest import ControlPart, DetectorPart, StageRecord


def control_part(control: StageResult | None) -> ControlPart | None:
    """The network in FP16 that goes with one in INT8, if there is one."""
    if control is None:
        return None
    return ControlPart(
        stage=StageRecord(manifest=control.artifact.manifest, accuracy=control.accuracy),
        score_threshold=control.usage.score_threshold if isinstance(control.usage, Detector) else None,
    )


def detector_part(usage: Detector, recipe: Recipe) -> DetectorPart:
    """How a detector is used, beside its preprocessing and labels."""
    return DetectorPart(
        layout=usage.layout,
        score_threshold=usage.score_threshold,
        stated_threshold=recipe.detection.score_threshold,
        iou_threshold=usage.iou_threshold,
        max_detections=usage.max_detections,
        class_agnostic=usage.class_agnostic,
        tiles=usage.tiles,
        watch=usage.watch,
    )
