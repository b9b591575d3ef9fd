"""Turn a detector's raw outputs into boxes and scores inside the graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.core.detector import Detector, Layout
from edgecnn.core.priors import cells_of
from edgecnn.errors import InputError
from edgecnn.graph.added import AddedNodes, names_with_prefix
from edgecnn.graph.decoded_boxes import decoded_boxes, sizes_of
from edgecnn.graph.decoding_nodes import decoding_nodes
from edgecnn.graph.model import PassResult
from edgecnn.graph.opset import LOWEST

_PREFIX = "detections."


@dataclass(frozen=True)
class DetectionResult(PassResult):
    """What the pass did.

    Attributes:
        keep_fp32: Names of the nodes that must stay in FP32, for ``cast_to_fp16`` and for quantization to leave out.
    """

    keep_fp32: tuple[str, ...] = ()


DECODED = Layout(
    kind="boxes_scores",
    boxes="boxes",
    scores="scores",
    activation="none",
    box_format="xyxy",
    box_unit="pixels",
    background=None,
)
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
        value.name = raw_name(str(value.name))  # its name may be one of the new outputs'
    model.graph.outputs.clear()

    added = AddedNodes(model.graph, _PREFIX)
    counts = _counts(layout, raw)
    boxes, scores = decoded_boxes(added, layout, raw, counts[1], detector.preprocess.size_hw)
    for name, value in (("boxes", boxes), ("scores", scores)):
        value.name = name
        model.graph.outputs.append(value)
    model.graph.extend(added.nodes)
    common.RemoveUnusedNodesPass()(model)
    common.ShapeInferencePass()(model)
    return DetectionResult(modified=True, counts={"decoding nodes": len(added.nodes)}, keep_fp32=decoding_nodes(model))


def raw_name(output: str) -> str:
    """The name that a raw output has within the decoded graph."""
    return f"{output}.raw"


def _check(layout: Layout, raw: list[ir.Value], input_hw: tuple[int, int]) -> None:
    shapes = [[] if value.shape is None else list(value.shape) for value in raw]
    dimensions = {"fastestdet": [4], "boxes_scores": [3, 3], "anchors": [3, 3]}.get(layout.kind, [3])
    fixed = all(isinstance(size, int) for shape in shapes for size in shape)
    if [len(shape) for shape in shapes] != dimensions or not fixed or any(shape[0] != 1 for shape in shapes):
        listed = ", ".join(f"{value.name}: {shape}" for value, shape in zip(raw, shapes, strict=True))
        raise InputError(
            f"decoding in the graph: layout {layout.kind} has outputs of fixed sizes with {dimensions} dimensions and "
            f"a batch of 1; found {listed}",
            "correct the layout, or fix the sizes when exporting",
        )
    if layout.kind not in ("yolox", "nanodet"):
        return
    cells = len(cells_of(input_hw, layout.strides, whole=layout.kind == "yolox")[0])
    if shapes[0][1] != cells:
        raise InputError(
            f"decoding in the graph: strides {layout.strides} have {cells} cells at {input_hw}, and {raw[0].name} has "
            f"{shapes[0][1]} rows",
            "correct the layout's strides or the input's size",
        )


def _counts(layout: Layout, raw: list[ir.Value]) -> tuple[int, int]:
    """How many boxes and how many classes."""
    shape = sizes_of(raw[0])
    match layout.kind:
        case "yolox" | "yolov5":
            return shape[1], shape[2] - 5
        case "yolov8":
            return shape[2], shape[1] - 4
        case "rtdetr":
            return shape[1], shape[2] - 4
        case "nanodet":
            return shape[1], shape[2] - 4 * layout.bins
        case "fastestdet":
            return shape[2] * shape[3], shape[1] - 5
        case _:
            return shape[1], sizes_of(raw[1])[2] - (layout.background is not None)
