"""Turn a detector's raw outputs into boxes and scores inside the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.core.detector import Detector, Layout
from edgecnn.errors import InputError
from edgecnn.graph.added import AddedNodes, names_with_prefix
from edgecnn.graph.decoding_nodes import decoding_nodes
from edgecnn.graph.model import PassResult
from edgecnn.graph.opset import LOWEST

_PREFIX = "detections."
# FastestDet's own weights of objectness and class in the score.
_OBJECTNESS_POWER, _CLASS_POWER = 0.6, 0.4
# A cell that means nothing may say e^100: wider than any picture is wide enough.
_LARGEST_EXPONENT = 20.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DetectionResult(PassResult):
    """What the pass did.

    Attributes:
        keep_fp32: Names of the nodes that must stay in FP32, for ``cast_to_fp16`` and for quantization to leave out.
    """

    keep_fp32: tuple[str, ...] = ()


DECODED = Layout(kind="boxes_scores", boxes="boxes", scores="scores", box_format="xyxy", box_unit="pixels")
"""What the outputs mean afterwards."""


def decode_outputs(model: ir.Model, detector: Detector) -> DetectionResult:
    """Replace the outputs by decoded ones.

    They are what ``edgecnn.vision.decode_detections`` computes outside: ``boxes`` FP32 (1, N, 4), corners in pixels of
    the network's input, and ``scores`` FP32 (1, N, classes), objectness included and the background left out.

    Everything from the last layers with weights to the outputs must stay in FP32: beyond 256 FP16 tells only quarters
    of a pixel apart, beyond 512 halves, and the size of a box is an exponential that overflows it. (Corners of
    YOLOX-nano at 416: 0.055 px from FP32 on average with these nodes kept, 0.080 without; UltraFace 0.015 and 0.039.)
    They are a few operations for each of some thousand boxes, so FP32 costs nothing to speak of. Their names, of those
    found in the graph and of those added, are in the result.

    A graph whose outputs are final (NMS is in it), or decoded before, stays as it is.

    Args:
        model: FP32, opset 13 or later, with the batch size fixed to 1; changed in place.
        detector: The layout of the outputs, and the input's size.

    Raises:
        InputError: The outputs have not the shapes that the layout says, or the opset is too old.
    """
    layout = detector.layout
    done = names_with_prefix(model, _PREFIX)
    if done or layout.is_final:
        reason = "decoded before" if done else "end to end already"
        return DetectionResult(modified=False, counts={reason: 1}, keep_fp32=decoding_nodes(model))
    if (opset := model.opset_imports.get("", 0)) < LOWEST:
        raise InputError(f"decoding in the graph: opset {opset}; {LOWEST} is the oldest", "raise the opset first")
    outputs = {str(value.name): value for value in model.graph.outputs}
    names = [name for name in (layout.boxes, layout.scores) if name is not None]
    if missing := [name for name in names if name not in outputs]:
        raise InputError(
            f"decoding in the graph: no output {', '.join(missing)}; the outputs are {', '.join(outputs)}",
            "correct the layout's names",
        )
    raw = [outputs[name] for name in names]
    _check(layout, raw, detector.preprocess.size_hw)
    common.NameFixPass()(model)  # the nodes to keep are told by their names
    for value in outputs.values():
        value.name = f"{value.name}.raw"  # its name may be one of the new outputs'
    model.graph.outputs.clear()

    added = AddedNodes(model.graph, _PREFIX)
    counts = _counts(layout, raw)
    boxes, scores = _decoded(added, layout, raw, counts[1], detector.preprocess.size_hw)
    for name, value in (("boxes", boxes), ("scores", scores)):
        value.name = name
        model.graph.outputs.append(value)
    model.graph.extend(added.nodes)
    common.RemoveUnusedNodesPass()(model)
    common.ShapeInferencePass()(model)
    return DetectionResult(modified=True, counts={"decoding nodes": len(added.nodes)}, keep_fp32=decoding_nodes(model))


def _check(layout: Layout, raw: list[ir.Value], input_hw: tuple[int, int]) -> None:
    shapes = [[] if value.shape is None else list(value.shape) for value in raw]
    dimensions = {"fastestdet": [4], "boxes_scores": [3, 3]}.get(layout.kind, [3])
    fixed = all(isinstance(size, int) for shape in shapes for size in shape)
    if [len(shape) for shape in shapes] != dimensions or not fixed or any(shape[0] != 1 for shape in shapes):
        listed = ", ".join(f"{value.name}: {shape}" for value, shape in zip(raw, shapes, strict=True))
        raise InputError(
            f"decoding in the graph: layout {layout.kind} has outputs of fixed sizes with {dimensions} dimensions and "
            f"a batch of 1; found {listed}",
            "correct the layout, or fix the sizes when exporting",
        )
    cells = sum((input_hw[0] // stride) * (input_hw[1] // stride) for stride in layout.strides)
    if layout.kind == "yolox" and shapes[0][1] != cells:
        raise InputError(
            f"decoding in the graph: strides {layout.strides} have {cells} cells at {input_hw}, and {raw[0].name} has "
            f"{shapes[0][1]} rows",
            "correct the layout's strides or the input's size",
        )


def _decoded(
    added: AddedNodes, layout: Layout, raw: list[ir.Value], classes: int, input_hw: tuple[int, int]
) -> tuple[ir.Value, ir.Value]:
    """Corners (1, N, 4) in pixels and scores (1, N, classes)."""
    size = np.array([input_hw[1], input_hw[0]], np.float64)
    shape = _sizes(raw[0])
    if layout.kind == "boxes_scores":
        return _decoded_pair(added, layout, raw, classes, size)
    if layout.kind in ("yolox", "yolov5"):
        centre, extent, objectness, scores = _split(added, raw[0], (2, 2, 1, classes))
    elif layout.kind == "yolov8":
        rows = added.op("rows", "Transpose", [raw[0]], perm=[0, 2, 1])
        centre, extent, scores = _split(added, rows, (2, 2, classes))
        objectness = None
    else:
        flat = added.integers("cells_shape", [1, shape[1], shape[2] * shape[3]])
        rows = added.op("rows", "Transpose", [added.op("cells", "Reshape", [raw[0], flat])], perm=[0, 2, 1])
        objectness, centre, extent, scores = _split(added, rows, (1, 2, 2, classes))

    if layout.kind == "yolox":
        corners, strides = _grid([(input_hw[0] // stride, input_hw[1] // stride) for stride in layout.strides])
        stride = np.asarray(layout.strides, np.float64)[strides][:, None]
        centre = _with(added, "centre", "Mul", _with(added, "centre_in_cells", "Add", centre, corners), stride)
        extent = added.op("exponent", "Min", [extent, added.floats("largest_exponent", _LARGEST_EXPONENT)])
        half = _with(added, "half_size", "Mul", added.op("size", "Exp", [extent]), stride / 2)
    elif layout.kind == "fastestdet":
        offset = added.op("offset", "Tanh", [centre])
        centre = _with(added, "centre_in_cells", "Add", offset, _grid([(shape[2], shape[3])])[0])
        centre = _with(added, "centre", "Mul", centre, size / (shape[3], shape[2]))
        half = _with(added, "half_size", "Mul", added.op("size", "Sigmoid", [extent]), size / 2)
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


def _decoded_pair(
    added: AddedNodes, layout: Layout, raw: list[ir.Value], classes: int, size: Array
) -> tuple[ir.Value, ir.Value]:
    """The same of boxes and scores that come apart."""
    boxes = raw[0]
    if layout.box_format == "cxcywh":
        centre, extent = _split(added, boxes, (2, 2))
        boxes = _corners(added, centre, _with(added, "half_size", "Mul", extent, 0.5))
    if layout.box_unit == "relative":
        boxes = _with(added, "in_pixels", "Mul", boxes, np.tile(size, 2))
    scores = _activated(added, "class", raw[1], layout.activation, _sizes(raw[1])[2])
    if layout.background is not None:
        first = int(layout.background == "first")
        start, end = added.integers("class_from", [first]), added.integers("class_to", [first + classes])
        scores = added.op("scores", "Slice", [scores, start, end, added.integers("class_axis", [2])])
    # Every output is made by a node of its own, by which a graph that was decoded before is known.
    if boxes is raw[0]:
        boxes = added.op("boxes", "Identity", [boxes])
    if scores is raw[1]:
        scores = added.op("scores", "Identity", [scores])
    return boxes, scores


def _counts(layout: Layout, raw: list[ir.Value]) -> tuple[int, int]:
    """How many boxes and how many classes."""
    shape = _sizes(raw[0])
    match layout.kind:
        case "yolox" | "yolov5":
            return shape[1], shape[2] - 5
        case "yolov8":
            return shape[2], shape[1] - 4
        case "fastestdet":
            return shape[2] * shape[3], shape[1] - 5
        case _:
            return shape[1], _sizes(raw[1])[2] - (layout.background is not None)


def _grid(grids: list[tuple[int, int]]) -> tuple[Array, npt.NDArray[np.intp]]:
    """Column and row (N, 2) of every cell of every (rows, columns) grid, row by row, and which grid it is of (N,)."""
    cells: list[Array] = []
    for height, width in grids:
        row, column = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
        cells.append(np.stack([column, row], axis=1))
    return np.concatenate(cells), np.repeat(np.arange(len(cells)), [len(each) for each in cells])


def _sizes(value: ir.Value) -> list[int]:
    assert value.shape is not None  # _check saw to it
    return [size for size in value.shape if isinstance(size, int)]


def _split(added: AddedNodes, rows: ir.Value, widths: tuple[int, ...]) -> list[ir.Value]:
    """Groups of columns of (1, N, columns)."""
    names = [f"columns_{index}" for index in range(len(widths))]
    return list(added.ops("columns", "Split", [rows, added.integers("widths", widths)], names, axis=2))


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
