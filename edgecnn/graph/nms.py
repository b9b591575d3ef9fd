"""Non-maximum suppression as nodes, with outputs of fixed sizes.

Both forms give, with K the most boxes to keep, best first and zeros after the last:

- ``num_detections`` INT32 (1, 1),
- ``detection_boxes`` FP32 (1, K, 4), corners in pixels of the network's input,
- ``detection_scores`` FP32 (1, K),
- ``detection_classes`` INT32 (1, K).

A box counts for its most probable class only, as in ``edgecnn.vision.decode_detections``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.core.detector import SUPPRESSED_OUTPUTS, Detector, Layout, Nms
from edgecnn.errors import InputError
from edgecnn.graph.added import AddedNodes
from edgecnn.graph.model import PassResult

_PREFIX = "nms."
Outputs = dict[str, ir.Value]

SUPPRESSED = Layout(kind="suppressed", boxes="detection_boxes")
"""What the outputs mean afterwards."""


def add_nms(model: ir.Model, detector: Detector, nms: Nms) -> PassResult:
    """Let a network whose outputs are decoded drop the boxes that overlap better ones, and those below the threshold.

    A graph that has these outputs already stays as it is.

    Args:
        model: With the outputs of ``decode_outputs``; changed in place.
        detector: What to keep.
        nms: ONNX's NonMaxSuppression; or the plugin EfficientNMS_TRT, which only full TensorRT runs.

    Raises:
        InputError: The outputs are others.
    """
    outputs = {str(value.name): value for value in model.graph.outputs}
    if nms == "none" or set(outputs) == set(SUPPRESSED_OUTPUTS):
        return PassResult(modified=False)
    boxes, scores = outputs.get("boxes"), outputs.get("scores")
    shape = None if scores is None or scores.shape is None else list(scores.shape)
    if boxes is None or scores is None or shape is None or not all(isinstance(size, int) for size in shape):
        raise InputError(
            f"NMS in the graph: decoded outputs boxes and scores of fixed sizes are wanted, found {', '.join(outputs)}",
            "set detection.nms to none",
        )
    added = AddedNodes(model.graph, _PREFIX)
    counts = (int(str(shape[1])), int(str(shape[2])))
    model.graph.outputs.clear()
    if nms == "onnx":
        found = _add_onnx_nms(added, boxes, scores, counts, detector)
    else:
        found = _add_efficient_nms(added, boxes, scores, counts, detector)
        model.opset_imports["TRT"] = 1
    for name, value in found.items():
        value.name = name
        model.graph.outputs.append(value)
    model.graph.extend(added.nodes)
    common.ShapeInferencePass()(model)
    return PassResult(modified=True, counts={"nodes for NMS": len(added.nodes)})


def _add_onnx_nms(
    added: AddedNodes, boxes: ir.Value, scores: ir.Value, shape: tuple[int, int], detector: Detector
) -> Outputs:
    """ONNX's NonMaxSuppression, and what makes fixed sizes of its list of varying length.

    The list is lengthened by K entries with a score of 0, and the K best of that are taken. TensorRT runs it since 8.5
    (its INMSLayer compares the 5,000 best of each class at most); TensorRT-RTX has no kernel for it.

    Args:
        added: Where the nodes go.
        boxes: (1, N, 4), corners.
        scores: (1, N, classes).
        shape: N and the number of classes.
        detector: What to keep.
    """
    count, classes = shape
    keep = min(detector.max_detections, count)
    best, of_best = _best_class(added, scores, classes, by_class=not detector.class_agnostic)
    top = added.op("top_score", "GatherElements", [scores, best], axis=2)
    candidates = added.op("candidates", "Transpose", [top if detector.class_agnostic else of_best], perm=[0, 2, 1])
    limits = [
        added.integers("most", [keep]),
        added.floats("iou_threshold", [detector.iou_threshold]),
        # The operator drops what is not above, and a score equal to the threshold is to be kept; but 0 says nothing.
        added.floats("score_threshold", [max(np.nextafter(np.float32(detector.score_threshold), np.float32(-1)), 0)]),
    ]
    selected = added.op("selected", "NonMaxSuppression", [boxes, candidates, *limits])  # (D, 3): batch, class, box
    flat = added.integers("flat", [-1])
    chosen = added.op("chosen_column", "Gather", [selected, added.integers("box_column", 2)], axis=1)
    chosen_scores = added.op("chosen_score", "Gather", [added.op("top_flat", "Reshape", [top, flat]), chosen], axis=0)
    padded = added.op("padded_box", "Concat", [chosen, added.integers("no_box", np.zeros(keep))], axis=0)
    padded_scores = added.op(
        "padded_score", "Concat", [chosen_scores, added.floats("no_score", np.zeros(keep))], axis=0
    )
    values, ranks = added.ops("best", "TopK", [padded_scores, limits[0]], ("best_score", "best_rank"), axis=0)
    box = added.op("box", "Gather", [padded, ranks], axis=0)

    exists = added.op("exists", "Greater", [values, added.floats("nothing", 0)])
    row = added.integers("row", [1, keep])
    flags = added.op(
        "exists_int", "Cast", [added.op("exists_row", "Reshape", [exists, row])], to=int(ir.DataType.INT32)
    )
    mask = added.op("exists_float", "Cast", [exists], to=int(ir.DataType.FLOAT))
    column = added.op("exists_column", "Reshape", [mask, added.integers("column", [1, keep, 1])])
    class_of_all = added.op("class_row", "Reshape", [best, added.integers("all", [1, count])])
    class_of_box = added.op("class_of_box", "Gather", [class_of_all, box], axis=1)
    class_of_box = added.op("class_int", "Cast", [class_of_box], to=int(ir.DataType.INT32))
    return {
        "num_detections": added.op("number", "ReduceSum", [flags, added.integers("over", [1])], keepdims=1),
        "detection_boxes": added.op(
            "boxes_or_zero", "Mul", [added.op("box_of", "Gather", [boxes, box], axis=1), column]
        ),
        "detection_scores": added.op("score_row", "Reshape", [values, row]),
        "detection_classes": added.op("class_or_zero", "Mul", [class_of_box, flags]),
    }


def _add_efficient_nms(
    added: AddedNodes, boxes: ir.Value, scores: ir.Value, shape: tuple[int, int], detector: Detector
) -> Outputs:
    """TensorRT's plugin EfficientNMS_TRT, version 1: not in TensorRT-RTX or ONNX Runtime, deprecated since 10.12.

    Args:
        added: Where the nodes go.
        boxes: (1, N, 4), corners.
        scores: (1, N, classes).
        shape: N and the number of classes.
        detector: What to keep.
    """
    _, of_best = _best_class(added, scores, shape[1], by_class=True)
    keep = min(detector.max_detections, shape[0])
    outputs = added.ops(
        "nms",
        "EfficientNMS_TRT",
        [boxes, of_best],
        ("number", "kept_boxes", "kept_scores", "kept_classes"),
        domain="TRT",
        plugin_version="1",
        score_threshold=float(detector.score_threshold),
        iou_threshold=float(detector.iou_threshold),
        max_output_boxes=keep,
        background_class=-1,
        score_activation=0,
        box_coding=0,
        class_agnostic=int(detector.class_agnostic),
    )
    # Shape inference does not know the operator.
    floating, integer = ir.DataType.FLOAT, ir.DataType.INT32
    named = zip(
        ("num_detections", "detection_boxes", "detection_scores", "detection_classes"),
        outputs,
        ((integer, [1, 1]), (floating, [1, keep, 4]), (floating, [1, keep]), (integer, [1, keep])),
        strict=True,
    )
    found: Outputs = {}
    for name, value, (dtype, sizes) in named:
        value.dtype, value.shape = dtype, ir.Shape(sizes)
        found[name] = value
    return found


def _best_class(added: AddedNodes, scores: ir.Value, classes: int, by_class: bool) -> tuple[ir.Value, ir.Value]:
    """Each box's most probable class (1, N, 1) and, if ``by_class``, the scores with all others 0."""
    best = added.op("class", "ArgMax", [scores], axis=2, keepdims=1)
    if not by_class:
        return best, scores
    is_best = added.op("is_best", "Equal", [best, added.integers("class_numbers", np.arange(classes))])
    mask = added.op("is_best_float", "Cast", [is_best], to=int(ir.DataType.FLOAT))
    return best, added.op("best_scores", "Mul", [scores, mask])
