"""The part of a recipe that says how a detector is used."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgecnn.core.detector import Kind, Nms
from edgecnn.core.part import Part
from edgecnn.core.watch import Tiles, Watch


class LayoutPart(Part):
    """What a detector's outputs mean, where their shapes and values do not show it. What is left out is found out."""

    kind: Kind | None = None
    boxes: str | None = Field(default=None, description="name of the output with the boxes, or with all")
    scores: str | None = Field(
        default=None, description="name of the output with the scores, for kind: boxes_scores, anchors or torchvision"
    )
    numbers: str | None = Field(
        default=None, description="name of the output with the class numbers, for kind: torchvision"
    )
    classes: int | None = Field(default=None, gt=0)
    activation: Literal["none", "sigmoid", "softmax"] | None = Field(
        default=None, description="what must still be applied to objectness and classes"
    )
    strides: tuple[int, ...] | None = Field(
        default=None, description="of the grids, in their order, for kind: yolox or nanodet"
    )
    cell_point: Literal["corner", "centre"] | None = Field(
        default=None, description="where in its cell a box is measured from, for kind: nanodet"
    )
    bins: int | None = Field(
        default=None, gt=1, description="of the distribution of each side's distance, for kind: nanodet"
    )
    box_format: Literal["xyxy", "cxcywh"] | None = Field(default=None, description="for kind: boxes_scores")
    box_unit: Literal["pixels", "relative"] | None = Field(default=None, description="for kind: boxes_scores or rtdetr")
    background: Literal["first", "last"] | None = Field(
        default=None, description="which column of the scores is no class; null: none is"
    )
    anchors: str | None = Field(
        default=None,
        description="for kind: anchors, a .npy file with the anchors (N, 4), corners in pixels of the network's input",
    )
    anchor_weights: tuple[float, float, float, float] | None = Field(
        default=None, description="for kind: anchors; SSD has 10, 10, 5, 5, which is the default, RetinaNet 1, 1, 1, 1"
    )

    def stated(self) -> dict[str, Any]:
        """What was written down."""
        return self.model_dump(exclude_unset=True)


class DetectionPart(Part):
    """For task: detection: which boxes are shown, and what the outputs mean."""

    score_threshold: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="boxes with a lower score are not shown; stated for FP32, and fitted anew for other precisions so "
        "that as many of the boxes shown are right",
    )
    iou_threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="of two boxes that overlap by more, the lower score's is dropped; 1 keeps all, and is what a "
        "network gets that names each object once (DETR, RT-DETR), if nothing is stated",
    )
    max_detections: int = Field(default=100, gt=0, description="boxes kept of one frame, at most")
    class_agnostic: bool = Field(default=False, description="whether a box also drops those of other classes")
    nms: Nms = Field(
        default="none",
        description="where overlapping boxes are dropped: none: after the network; onnx: in it, by NonMaxSuppression "
        "(TensorRT 8.5 or later, ONNX Runtime); efficient_nms_trt: in it, by a plugin that only TensorRT runs",
    )
    layout: LayoutPart = LayoutPart()
    tiles: Tiles | None = Field(default=None, description="cut frames into tiles, so that small objects are found")
    watch: Watch = Watch()
