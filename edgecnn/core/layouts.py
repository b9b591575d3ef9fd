"""A detector's layout, recognized by its outputs' names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from edgecnn.core.detector import SUPPRESSED_OUTPUTS, WITH_SCORES, Layout
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError

# Cells of a grid: P3 to P5 is what nearly every anchor-free network has, P3 to P6 what their larger inputs take.
_PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64))
_FASTESTDET_STRIDE = 16
_YOLOV5_ANCHORS = 3
# Objects that networks of DETR's family look for: 100, 200, 300, 900.
_QUERY_STEP, _MOST_QUERIES = 100, 1000
_SIDES = 4
_KNOWN = (
    "known are: YOLOX (1, cells, 5 + classes); YOLOv5 and v7 (1, 3 * cells, 5 + classes); YOLOv8 to v11 and 26 "
    "(1, 4 + classes, cells); with NMS in the graph, or YOLOv10's and 26's own, (1, boxes, 6); NanoDet "
    "(1, cells, classes + 32); RT-DETR (1, 300, 4 + classes); FastestDet (1, 5 + classes, height / 16, width / 16); "
    "boxes (1, N, 4) with scores (1, N, classes); torchvision's boxes (K, 4), scores (K) and labels (K); the four "
    "outputs of EfficientNMS_TRT. "
    "State the layout in the recipe, or export the model with one of these outputs and fixed sizes"
)


def detect_layout(
    outputs: Sequence[TensorSpec],
    input_hw: tuple[int, int],
    classes: int | None = None,
    stated: Mapping[str, Any] | None = None,
) -> Layout:
    """Recognize a detector's layout by its outputs' names and shapes.

    What shapes do not show, such as whether a sigmoid is in the graph, gets the usual value here and is settled
    by ``edgecnn.vision.settle_layout`` from what the network says about pictures.

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
    if found is None or stated.get("kind", found.kind) not in (found.kind, *_ALSO.get(found.kind, ())):
        base: dict[str, Any] = {"boxes": outputs[0].name, "classes": classes}
    else:
        base = found.model_dump()
    try:
        layout = Layout.model_validate(base | dict(stated))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"layout: {'.'.join(map(str, first['loc']))}: {first['msg']}", _KNOWN) from None
    _require_outputs(layout, [spec.name for spec in outputs])
    return layout


# Of the same outputs: what another kind that is stated may take over from the one that is recognized.
_ALSO = {"boxes_scores": ("anchors",), "end_to_end": ("rtdetr_top",)}


def _require_outputs(layout: Layout, names: Sequence[str]) -> None:
    missing = [name for name in (layout.boxes, layout.scores, layout.numbers) if name is not None and name not in names]
    wants = (layout.kind in WITH_SCORES, layout.kind == "torchvision")
    if missing or wants != (layout.scores is not None, layout.numbers is not None):
        raise InputError(
            f"layout: kind {layout.kind} with boxes: {layout.boxes}, scores: {layout.scores}, numbers: "
            f"{layout.numbers}; the outputs are {', '.join(names)}",
            f"name the output with the boxes; for kind: {', '.join(WITH_SCORES)} the one with the scores; and for "
            "torchvision's the one with the class numbers",
        )
    if (layout.kind == "anchors") != (layout.anchors is not None):
        raise InputError(
            f"layout: kind {layout.kind} with anchors: {layout.anchors}",
            "kind: anchors wants a .npy file with the anchors (N, 4), corners in pixels of the network's input",
        )


def _recognize(outputs: Sequence[TensorSpec], input_hw: tuple[int, int], classes: int | None) -> Layout | None:
    if (triple := _torchvision(outputs, classes)) is not None:
        return triple
    shapes = {spec.name: spec.shape[1:] for spec in outputs if all(isinstance(size, int) for size in spec.shape[1:])}
    sizes = {name: tuple(int(size) for size in shape) for name, shape in shapes.items()}
    if set(sizes) == set(SUPPRESSED_OUTPUTS):
        return Layout(kind="suppressed", boxes="detection_boxes", classes=classes)
    if len(outputs) == 1 and len(sizes) == 1:
        name, shape = next(iter(sizes.items()))
        return _single(name, shape, input_hw, classes)
    return _pair(sizes, classes)


def _torchvision(outputs: Sequence[TensorSpec], classes: int | None) -> Layout | None:
    """Boxes (K, 4), scores (K) and whole numbers (K): as many as there are, and no batch."""
    boxes = [spec.name for spec in outputs if len(spec.shape) == 2 and spec.shape[1] == _SIDES]
    scores = [spec.name for spec in outputs if len(spec.shape) == 1 and spec.dtype.startswith("float")]
    numbers = [spec.name for spec in outputs if len(spec.shape) == 1 and spec.dtype.startswith("int")]
    if len(outputs) != 3 or not (len(boxes) == len(scores) == len(numbers) == 1):
        return None
    return Layout(
        kind="torchvision",
        boxes=boxes[0],
        scores=scores[0],
        numbers=numbers[0],
        classes=classes,
        background="first",
    )


def _single(name: str, shape: tuple[int, ...], input_hw: tuple[int, int], classes: int | None) -> Layout | None:
    """The layout of a network with one output, of this shape without the batch."""
    if len(shape) == 3 and shape[1:] == tuple(side // _FASTESTDET_STRIDE for side in input_hw) and shape[0] > 5:
        return Layout(kind="fastestdet", boxes=name, classes=shape[0] - 5)
    if len(shape) != 2:
        return None
    rows, columns = shape
    for strides in _PYRAMIDS:
        cells = sum((input_hw[0] // stride) * (input_hw[1] // stride) for stride in strides)
        if rows == cells and columns > 5 and not _is_nanodet(columns, classes):
            return Layout(kind="yolox", boxes=name, classes=columns - 5, strides=strides)
        if rows == _YOLOV5_ANCHORS * cells and columns > 5:
            return Layout(kind="yolov5", boxes=name, classes=columns - 5)
        if columns == cells and rows > 4:
            return Layout(kind="yolov8", boxes=name, classes=rows - 4)
    for strides in _PYRAMIDS:
        # NanoDet's grids also have the cells that reach over the edge.
        if rows == sum(-(-input_hw[0] // stride) * -(-input_hw[1] // stride) for stride in strides):
            return nanodet_layout(name, columns, strides)
    if columns == 6:
        return Layout(kind="end_to_end", boxes=name, classes=classes)
    if _is_queries(rows) and columns > _SIDES:
        return Layout(kind="rtdetr", boxes=name, classes=columns - _SIDES)
    return None


def _is_nanodet(columns: int, classes: int | None) -> bool:
    """Whether the number of classes says so; where nobody names it, values must."""
    bins = Layout.model_fields["bins"].default
    return classes is not None and columns == classes + _SIDES * bins


def nanodet_layout(name: str, columns: int, strides: tuple[int, ...]) -> Layout | None:
    """NanoDet's layout, if it can have so many columns. Its first version has three grids and cell centres."""
    bins: int = Layout.model_fields["bins"].default
    if columns <= _SIDES * bins:
        return None
    point = "centre" if len(strides) == len(_PYRAMIDS[0]) else "corner"
    return Layout(kind="nanodet", boxes=name, classes=columns - _SIDES * bins, strides=strides, cell_point=point)


def _is_queries(rows: int) -> bool:
    return rows % _QUERY_STEP == 0 and 0 < rows <= _MOST_QUERIES


def _pair(sizes: Mapping[str, tuple[int, ...]], classes: int | None) -> Layout | None:
    """Boxes (N, 4) and scores (N, C), whatever else there is."""
    quads = [name for name, shape in sizes.items() if len(shape) == 2 and shape[1] == _SIDES]
    # Four classes make two outputs of the same shape, which only their names tell apart.
    boxes = quads if len(quads) == 1 else [name for name in quads if "box" in name.lower() or "loc" in name.lower()]
    if len(boxes) != 1:
        return None
    rows = sizes[boxes[0]][0]
    scores = [name for name, shape in sizes.items() if len(shape) == 2 and shape[0] == rows and name != boxes[0]]
    if len(scores) != 1:  # such as the last hidden state beside a DETR's logits
        scores = [name for name in scores if "logit" in name.lower() or "score" in name.lower()]
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
        box_format="cxcywh" if _is_queries(rows) else "xyxy",
    )
