"""How a detector is used: what its input is made from, and how its outputs become boxes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.watch import Tiles, Watch

Kind = Literal[
    "yolox",
    "yolov5",
    "yolov8",
    "end_to_end",
    "nanodet",
    "rtdetr",
    "rtdetr_top",
    "fastestdet",
    "boxes_scores",
    "anchors",
    "torchvision",
    "suppressed",
]
Nms = Literal["none", "onnx", "efficient_nms_trt"]
# Kinds whose scores are an output of their own, which the layout names.
WITH_SCORES: tuple[Kind, ...] = ("boxes_scores", "anchors", "torchvision")
# Outputs of TensorRT's plugin EfficientNMS_TRT, whose names DeepStream and others know.
SUPPRESSED_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


class Layout(BaseModel):
    """What a detector's outputs mean. Pixels are those of the network's input.

    =========== ===================== ====================================================================
    kind        shape                 meaning
    =========== ===================== ====================================================================
    yolox       (1, cells, 5 + C)     centre from the cell's corner and log size, in strides; objectness; classes
    yolov5      (1, N, 5 + C)         centre and size in pixels; objectness; classes
    yolov8      (1, 4 + C, N)         centre and size in pixels; classes
    end_to_end  (1, K, 6)             corners in pixels, score, class; no NMS is wanted
    nanodet     (1, cells, C + 4 * R) classes; for each side the distribution over 0 to R - 1 strides of its distance
                                      from the cell's point, before softmax
    rtdetr      (1, N, 4 + C)         centre and size as ``box_unit`` says; classes; each object is named once
    rtdetr_top  (1, K, 6)             centre and size as parts of the picture, score, class; no NMS is wanted
    fastestdet  (1, 5 + C, h, w)      objectness; tanh of the centre from the cell's corner, sigmoid of the size as a
                                      part of the picture; classes. The score is objectness^0.6 * class^0.4
    boxes_      (1, N, 4), (1, N, C)  boxes as ``box_format`` and ``box_unit`` say; classes, with one for the background
    scores                            where ``background`` names its column
    anchors     (1, N, 4), (1, N, C)  shift of the centre and log size against ``anchors``, times ``anchor_weights``;
                                      classes as above
    torchvision (K, 4), (K), (K)      corners in pixels; scores; class numbers, from 1 where ``background`` is first;
                                      as many as there are; no NMS is wanted
    suppressed  (1, 1), (1, K, 4),    ``SUPPRESSED_OUTPUTS``: how many boxes there are, best first; corners in pixels;
                (1, K), (1, K)        scores; classes; no NMS is wanted
    =========== ===================== ====================================================================
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    boxes: str = Field(description="name of the output with the boxes, and with all else where there is one output")
    scores: str | None = Field(
        default=None, description="name of the output with the scores, for kind: boxes_scores, anchors or torchvision"
    )
    numbers: str | None = Field(
        default=None, description="name of the output with the class numbers, for kind: torchvision"
    )
    classes: int | None = Field(default=None, gt=0, description="how many; none where the outputs do not show it")
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="what must still be applied to objectness and classes"
    )
    strides: tuple[int, ...] = Field(
        default=(8, 16, 32), description="of the grids, in their order, for kind: yolox or nanodet"
    )
    cell_point: Literal["corner", "centre"] = Field(
        default="corner", description="where in its cell a box is measured from, for kind: nanodet"
    )
    bins: int = Field(default=8, gt=1, description="of the distribution of each side's distance, for kind: nanodet")
    box_format: Literal["xyxy", "cxcywh"] = Field(default="xyxy", description="for kind: boxes_scores")
    box_unit: Literal["pixels", "relative"] = Field(default="relative", description="for kind: boxes_scores or rtdetr")
    background: Literal["first", "last"] | None = Field(
        default=None, description="which column of the scores is no class but the background"
    )
    anchors: str | None = Field(
        default=None,
        description="for kind: anchors, a .npy file with the anchors (N, 4), corners in pixels of the network's input",
    )
    anchor_weights: tuple[float, float, float, float] = Field(
        default=(10.0, 10.0, 5.0, 5.0),
        description="what shift and log size were multiplied by: SSD has 10, 10, 5, 5, RetinaNet 1, 1, 1, 1",
    )

    @property
    def is_final(self) -> bool:
        """Whether the boxes that overlap better ones are gone already."""
        return self.kind in ("end_to_end", "rtdetr_top", "torchvision", "suppressed")

    @property
    def names_once(self) -> bool:
        """Whether the network was trained to give one box for each object, as the DETR family is (Carion, 2020)."""
        relative_centres = self.box_format == "cxcywh" and self.box_unit == "relative"
        return self.kind == "rtdetr" or (self.kind == "boxes_scores" and relative_centres)


@dataclass(frozen=True)
class Detector:
    """Everything about a detector but the network.

    Attributes:
        preprocess: From a frame to the network's input.
        labels: A name for each class.
        layout: What the outputs mean.
        score_threshold: Boxes with a lower score are dropped.
        iou_threshold: Of two boxes that overlap by more, the one with the lower score is dropped; 1 keeps all.
        max_detections: Boxes kept of one frame, at most.
        class_agnostic: Whether a box also drops those of other classes.
        tiles: How a frame is cut for it; none: the network sees the frame once.
        watch: What is followed and counted.
    """

    preprocess: Preprocess
    labels: tuple[str, ...]
    layout: Layout
    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    max_detections: int = 100
    class_agnostic: bool = False
    tiles: Tiles | None = None
    watch: Watch = field(default_factory=Watch)
