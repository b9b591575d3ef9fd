"""How a detector is used: what its input is made from, and how its outputs become boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError

# Cells of a grid: P3 to P5 is what nearly every anchor-free network has, P3 to P6 what their larger inputs take.
_PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64))
_FASTESTDET_STRIDE = 16
_YOLOV5_ANCHORS = 3
_KNOWN = (
    "known are: YOLOX (1, cells, 5 + classes); YOLOv5 and v7 (1, 3 * cells, 5 + classes); YOLOv8 to v11 "
    "(1, 4 + classes, cells); with NMS in the graph, as YOLOv10's (1, boxes, 6); FastestDet "
    "(1, 5 + classes, height / 16, width / 16); boxes (1, N, 4) with scores (1, N, classes); the four outputs of "
    "EfficientNMS_TRT. "
    "State the layout in the recipe, or export the model with one of these outputs and fixed sizes"
)

Kind = Literal["yolox", "yolov5", "yolov8", "end_to_end", "fastestdet", "boxes_scores", "suppressed"]
Nms = Literal["none", "onnx", "efficient_nms_trt"]
# Outputs of TensorRT's plugin EfficientNMS_TRT, whose names DeepStream and others know.
SUPPRESSED_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


class Layout(BaseModel):
    """What a detector's outputs mean. Pixels are those of the network's input.

    ========== ===================== =====================================================================
    kind       shape                 meaning
    ========== ===================== =====================================================================
    yolox      (1, cells, 5 + C)     centre from the cell's corner and log size, in strides; objectness; classes
    yolov5     (1, N, 5 + C)         centre and size in pixels; objectness; classes
    yolov8     (1, 4 + C, N)         centre and size in pixels; classes
    end_to_end (1, K, 6)             corners in pixels, score, class; no NMS is wanted
    fastestdet (1, 5 + C, h, w)      objectness; tanh of the centre from the cell's corner, sigmoid of the size as a
                                     part of the picture; classes. The score is objectness^0.6 * class^0.4
    boxes_     (1, N, 4), (1, N, C)  boxes as ``box_format`` and ``box_unit`` say; classes, with one for the background
    scores                           where ``background`` names its column
    suppressed (1, 1), (1, K, 4),    ``SUPPRESSED_OUTPUTS``: how many boxes there are, best first; corners in pixels;
               (1, K), (1, K)        scores; classes; no NMS is wanted
    ========== ===================== =====================================================================
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    boxes: str = Field(description="name of the output with the boxes, and with all else where there is one output")
    scores: str | None = Field(default=None, description="name of the output with the scores, for kind: boxes_scores")
    classes: int | None = Field(default=None, gt=0, description="how many; none where the outputs do not show it")
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        default="none", description="what must still be applied to objectness and classes"
    )
    strides: tuple[int, ...] = Field(default=(8, 16, 32), description="of the grids, in their order, for kind: yolox")
    box_format: Literal["xyxy", "cxcywh"] = Field(default="xyxy", description="for kind: boxes_scores")
    box_unit: Literal["pixels", "relative"] = Field(default="relative", description="for kind: boxes_scores")
    background: Literal["first", "last"] | None = Field(
        default=None, description="which column of the scores is no class but the background, for kind: boxes_scores"
    )

    @property
    def is_final(self) -> bool:
        """Whether the boxes that overlap better ones are gone already."""
        return self.kind in ("end_to_end", "suppressed")


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
    """

    preprocess: Preprocess
    labels: tuple[str, ...]
    layout: Layout
    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    max_detections: int = 100
    class_agnostic: bool = False


def detect_layout(
    outputs: Sequence[TensorSpec],
    input_hw: tuple[int, int],
    classes: int | None = None,
    stated: Mapping[str, Any] | None = None,
) -> Layout:
    """Recognize a detector's layout by its outputs' names and shapes.

    What shapes do not show, such as whether a sigmoid is in the graph, gets the usual value here and is settled
    by ``edgecnn.vision.decode_detections.settle_layout`` from what the network says about pictures.

    Args:
        outputs: Of the graph, with fixed sizes.
        input_hw: Height and width of the network's input, pixels.
        classes: How many the user names, where known.
        stated: Fields of the layout that the recipe states; they win. With ``kind`` and ``boxes`` stated, the outputs
            are only looked at for the number of classes.

    Raises:
        InputError: The outputs are of no known layout, or what is stated contradicts itself.
    """
    stated = stated or {}
    found = _recognize(outputs, input_hw, classes)
    if found is None and not {"kind", "boxes"} <= stated.keys():
        listed = "; ".join(str(spec) for spec in outputs)
        raise InputError(f"outputs {listed}: not of a known detector with an input of {input_hw}", _KNOWN)
    if found is None or stated.get("kind", found.kind) != found.kind:
        base: dict[str, Any] = {"boxes": outputs[0].name, "classes": classes}
    else:
        base = found.model_dump()
    try:
        layout = Layout.model_validate(base | dict(stated))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"layout: {'.'.join(map(str, first['loc']))}: {first['msg']}", _KNOWN) from None
    names = [spec.name for spec in outputs]
    missing = [name for name in (layout.boxes, layout.scores) if name is not None and name not in names]
    if missing or (layout.kind == "boxes_scores") != (layout.scores is not None):
        raise InputError(
            f"layout: kind {layout.kind} with boxes: {layout.boxes}, scores: {layout.scores}; the outputs are "
            f"{', '.join(names)}",
            "name the output with the boxes and, for kind: boxes_scores, the one with the scores",
        )
    return layout


def _recognize(outputs: Sequence[TensorSpec], input_hw: tuple[int, int], classes: int | None) -> Layout | None:
    shapes = {spec.name: spec.shape[1:] for spec in outputs if all(isinstance(size, int) for size in spec.shape[1:])}
    sizes = {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}
    if set(sizes) == set(SUPPRESSED_OUTPUTS):
        return Layout(kind="suppressed", boxes="detection_boxes", classes=classes)
    if len(outputs) == 1 and len(sizes) == 1:
        name, shape = next(iter(sizes.items()))
        return _single(name, shape, input_hw, classes)
    return _pair(sizes, classes)


def _single(name: str, shape: tuple[int, ...], input_hw: tuple[int, int], classes: int | None) -> Layout | None:
    """The layout of a network with one output, of this shape without the batch."""
    if len(shape) == 3 and shape[1:] == tuple(side // _FASTESTDET_STRIDE for side in input_hw) and shape[0] > 5:
        return Layout(kind="fastestdet", boxes=name, classes=shape[0] - 5)
    if len(shape) != 2:
        return None
    rows, columns = shape
    for strides in _PYRAMIDS:
        cells = sum((input_hw[0] // stride) * (input_hw[1] // stride) for stride in strides)
        if rows == cells and columns > 5:
            return Layout(kind="yolox", boxes=name, classes=columns - 5, strides=strides)
        if rows == _YOLOV5_ANCHORS * cells and columns > 5:
            return Layout(kind="yolov5", boxes=name, classes=columns - 5)
        if columns == cells and rows > 4:
            return Layout(kind="yolov8", boxes=name, classes=rows - 4)
    if columns == 6:
        return Layout(kind="end_to_end", boxes=name, classes=classes)
    return None


def _pair(sizes: Mapping[str, tuple[int, ...]], classes: int | None) -> Layout | None:
    """Boxes (N, 4) and scores (N, C), whatever else there is."""
    quads = [name for name, shape in sizes.items() if len(shape) == 2 and shape[1] == 4]
    # Four classes make two outputs of the same shape, which only their names tell apart.
    boxes = quads if len(quads) == 1 else [name for name in quads if "box" in name.lower() or "loc" in name.lower()]
    if len(boxes) != 1:
        return None
    rows = sizes[boxes[0]][0]
    scores = [name for name, shape in sizes.items() if len(shape) == 2 and shape[0] == rows and name != boxes[0]]
    if len(scores) != 1:
        return None
    columns = sizes[scores[0]][1]
    background = "first" if classes is not None and columns == classes + 1 else None
    return Layout(
        kind="boxes_scores",
        boxes=boxes[0],
        scores=scores[0],
        classes=columns - (background is not None),
        background=background,
        activation="sigmoid" if "logit" in scores[0].lower() else "none",
    )
