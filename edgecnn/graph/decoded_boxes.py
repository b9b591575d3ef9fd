"""The nodes that turn raw boxes and scores into corners and probabilities, layout by layout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.core.detector import Layout
from edgecnn.core.priors import LARGEST_ANCHOR_EXPONENT, LARGEST_EXPONENT, anchors_of, cells_of
from edgecnn.graph.added import AddedNodes

# FastestDet's own weights of objectness and class in the score.
_OBJECTNESS_POWER, _CLASS_POWER = 0.6, 0.4

Array = npt.NDArray[np.float64]


def decoded_boxes(
    added: AddedNodes, layout: Layout, raw: list[ir.Value], classes: int, input_hw: tuple[int, int]
) -> tuple[ir.Value, ir.Value]:
    """Corners (1, N, 4) in pixels and scores (1, N, classes), of outputs with the layout's shapes."""
    size = np.array([input_hw[1], input_hw[0]], np.float64)
    match layout.kind:
        case "boxes_scores":
            return _pair(added, layout, raw, classes, size)
        case "anchors":
            return _from_anchors(added, layout, raw[0], size), _classes(added, layout, raw[1], classes)
        case "nanodet":
            scores, sides = _split(added, raw[0], (classes, 4 * layout.bins))
            return _from_sides(added, layout, sides, input_hw), _classes(added, layout, scores, classes)
        case _:
            return _from_rows(added, layout, raw[0], classes, input_hw)


def _from_rows(
    added: AddedNodes, layout: Layout, raw: ir.Value, classes: int, input_hw: tuple[int, int]
) -> tuple[ir.Value, ir.Value]:
    """Of one output with a centre, a size and classes for each box, and for some an objectness."""
    size = np.array([input_hw[1], input_hw[0]], np.float64)
    shape, objectness = sizes_of(raw), None
    if layout.kind in ("yolox", "yolov5"):
        centre, extent, objectness, scores = _split(added, raw, (2, 2, 1, classes))
    elif layout.kind == "rtdetr":
        centre, extent, scores = _split(added, raw, (2, 2, classes))
    elif layout.kind == "yolov8":
        rows = added.op("rows", "Transpose", [raw], perm=[0, 2, 1])
        centre, extent, scores = _split(added, rows, (2, 2, classes))
    else:
        flat = added.integers("cells_shape", [1, shape[1], shape[2] * shape[3]])
        rows = added.op("rows", "Transpose", [added.op("cells", "Reshape", [raw, flat])], perm=[0, 2, 1])
        objectness, centre, extent, scores = _split(added, rows, (1, 2, 2, classes))

    if layout.kind == "yolox":
        cells, stride = cells_of(input_hw, layout.strides)
        centre = _with(added, "centre", "Mul", _with(added, "centre_in_cells", "Add", centre, cells), stride)
        extent = added.op("exponent", "Min", [extent, added.floats("largest_exponent", LARGEST_EXPONENT)])
        half = _with(added, "half_size", "Mul", added.op("size", "Exp", [extent]), stride / 2)
    elif layout.kind == "fastestdet":
        cells, _ = cells_of((shape[2], shape[3]), (1,))
        centre = _with(added, "centre_in_cells", "Add", added.op("offset", "Tanh", [centre]), cells)
        centre = _with(added, "centre", "Mul", centre, size / (shape[3], shape[2]))
        half = _with(added, "half_size", "Mul", added.op("size", "Sigmoid", [extent]), size / 2)
    elif layout.kind == "rtdetr" and layout.box_unit == "relative":
        centre, half = _with(added, "centre", "Mul", centre, size), _with(added, "half_size", "Mul", extent, size / 2)
    else:
        half = _with(added, "half_size", "Mul", extent, 0.5)

    scores = _activated(added, "class", scores, layout.activation, classes)
    if objectness is not None:
        objectness = _activated(added, "objectness", objectness, layout.activation, 1)
        if layout.kind == "fastestdet":
            objectness = _power(added, "objectness", objectness, _OBJECTNESS_POWER)
            scores = _power(added, "class", scores, _CLASS_POWER)
        scores = added.op("scores", "Mul", [scores, objectness])
    return _corners(added, centre, half), scores


def _from_sides(added: AddedNodes, layout: Layout, sides: ir.Value, input_hw: tuple[int, int]) -> ir.Value:
    """Corners from the distributions of the distances of each side (Generalized Focal Loss, 2020)."""
    cells, stride = cells_of(input_hw, layout.strides, whole=False)
    point = (cells + 0.5 * (layout.cell_point == "centre")) * stride
    shape = added.integers("distributions_shape", [1, len(cells), 4, layout.bins])
    likely = added.op("likely", "Softmax", [added.op("distributions", "Reshape", [sides, shape])], axis=3)
    mean = _with(added, "mean", "Mul", likely, np.arange(layout.bins))
    axes = added.integers("bins_axis", [3])
    distance = _with(added, "distance", "Mul", added.op("in_strides", "ReduceSum", [mean, axes], keepdims=0), stride)
    before, after = _split(added, distance, (2, 2))
    low = added.op("low", "Sub", [added.floats("point", point), before])
    high = added.op("high", "Add", [added.floats("points", point), after])
    return _inside(added, added.op("corners", "Concat", [low, high], axis=2), input_hw)


def _from_anchors(added: AddedNodes, layout: Layout, raw: ir.Value, size: Array) -> ir.Value:
    """Corners from shifts and log sizes against anchors (Faster R-CNN, 2015)."""
    centre, extent = anchors_of(layout, sizes_of(raw)[1])
    shift, growth = _split(added, _with(added, "change", "Mul", raw, 1 / np.asarray(layout.anchor_weights)), (2, 2))
    middle = _with(added, "centre", "Add", _with(added, "shift", "Mul", shift, extent), centre)
    growth = added.op("exponent", "Min", [growth, added.floats("largest_exponent", LARGEST_ANCHOR_EXPONENT)])
    half = _with(added, "half_size", "Mul", added.op("size", "Exp", [growth]), extent / 2)
    return _inside(added, _corners(added, middle, half), (int(size[1]), int(size[0])))


def _inside(added: AddedNodes, corners: ir.Value, input_hw: tuple[int, int]) -> ir.Value:
    """The parts of boxes that lie in the network's input."""
    height, width = input_hw
    largest = added.floats("largest", [width, height, width, height])
    return added.op("inside", "Min", [added.op("positive", "Max", [corners, added.floats("zero", 0.0)]), largest])


def _pair(
    added: AddedNodes, layout: Layout, raw: list[ir.Value], classes: int, size: Array
) -> tuple[ir.Value, ir.Value]:
    """Of boxes and scores that come apart."""
    boxes = raw[0]
    if layout.box_format == "cxcywh":
        centre, extent = _split(added, boxes, (2, 2))
        boxes = _corners(added, centre, _with(added, "half_size", "Mul", extent, 0.5))
    if layout.box_unit == "relative":
        boxes = _with(added, "in_pixels", "Mul", boxes, np.tile(size, 2))
    return _own(added, "boxes", boxes, raw[0]), _classes(added, layout, raw[1], classes)


def _classes(added: AddedNodes, layout: Layout, raw: ir.Value, classes: int) -> ir.Value:
    """Probabilities of the classes, without the background's."""
    scores = _activated(added, "class", raw, layout.activation, classes + (layout.background is not None))
    if layout.background is not None:
        first = int(layout.background == "first")
        start, end = added.integers("class_from", [first]), added.integers("class_to", [first + classes])
        scores = added.op("scores", "Slice", [scores, start, end, added.integers("class_axis", [2])])
    return _own(added, "scores", scores, raw)


def _own(added: AddedNodes, name: str, value: ir.Value, raw: ir.Value) -> ir.Value:
    """A value that is made by a node of this pass, by which a graph that was decoded before is known."""
    return added.op(name, "Identity", [value]) if value is raw else value


def sizes_of(value: ir.Value) -> list[int]:
    """A shape that is known, as numbers."""
    assert value.shape is not None
    return [size for size in value.shape if isinstance(size, int)]


def _split(added: AddedNodes, rows: ir.Value, widths: tuple[int, ...]) -> list[ir.Value]:
    """Groups of columns of (1, N, columns)."""
    prefix = f"columns_{len(added.nodes)}"
    names = [f"{prefix}_{index}" for index in range(len(widths))]
    return list(added.ops(prefix, "Split", [rows, added.integers(f"{prefix}_widths", widths)], names, axis=2))


def _with(added: AddedNodes, name: str, operator: str, value: ir.Value, number: npt.ArrayLike) -> ir.Value:
    """The sum or product of a value and a constant."""
    return added.op(name, operator, [value, added.floats(f"{name}.{operator.lower()}", number)])


def _corners(added: AddedNodes, centre: ir.Value, half: ir.Value) -> ir.Value:
    low, high = added.op("low", "Sub", [centre, half]), added.op("high", "Add", [centre, half])
    return added.op("corners", "Concat", [low, high], axis=2)


def _activated(added: AddedNodes, name: str, value: ir.Value, activation: str, columns: int) -> ir.Value:
    """Probabilities; of a single column a softmax would be 1, and a sigmoid is what a network can mean."""
    if activation == "none":
        return value
    if activation == "softmax" and columns > 1:
        return added.op(f"{name}_probability", "Softmax", [value], axis=2)
    return added.op(f"{name}_probability", "Sigmoid", [value])


def _power(added: AddedNodes, name: str, value: ir.Value, exponent: float) -> ir.Value:
    positive = added.op(f"{name}_positive", "Relu", [value])
    return _with(added, f"{name}_power", "Pow", positive, exponent)
