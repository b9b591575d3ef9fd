"""From a detector's raw outputs to boxes in the frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Detections
from edgecnn.errors import GateMissed, InputError
from edgecnn.vision.boxes import clip_boxes, non_maximum_suppression, row_maxima
from edgecnn.vision.preprocess import boxes_in_frame
from edgecnn.vision.raw_boxes import boxes_of, raw_parts, sigmoid, softmax_rows

Array = npt.NDArray[Any]
# FastestDet's own weights of objectness and class in the score.
_OBJECTNESS_POWER, _CLASS_POWER = 0.6, 0.4


def decode_detections(outputs: Mapping[str, Array], detector: Detector, frame_hw: tuple[int, int]) -> Detections:
    """The objects that a detector found in one frame.

    A box gets its most probable class only. What lies wholly in the padding is dropped, and what reaches over the
    frame's edge is cut there.

    Args:
        outputs: The network's, by name, for a batch of one.
        detector: What they mean.
        frame_hw: Height and width of the frame that they were made from, pixels.

    Raises:
        GateMissed: The outputs hold NaN or infinite scores.
        InputError: The network names a class that has no label.
    """
    boxes, scores, classes = candidates(outputs, detector.layout, detector.preprocess.size_hw, detector.score_threshold)
    if detector.layout.is_final:
        kept = np.argsort(-scores, kind="stable")[: detector.max_detections]
    else:
        kept = non_maximum_suppression(
            boxes,
            scores,
            None if detector.class_agnostic else classes,
            detector.iou_threshold,
            detector.max_detections,
        )
    found = clip_boxes(boxes_in_frame(boxes[kept], detector.preprocess, frame_hw), frame_hw)
    inside = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    classes = classes[kept][inside]
    if classes.size and not 0 <= classes.min() <= classes.max() < len(detector.labels):
        raise InputError(
            f"the network names class {classes.max()}, and there are {len(detector.labels)} labels",
            "give a label for each class",
        )
    return Detections(
        boxes_xyxy=found[inside],
        scores=scores[kept][inside],
        classes=classes,
        labels=tuple(detector.labels[number] for number in classes),
    )


def candidates(
    outputs: Mapping[str, Array], layout: Layout, input_hw: tuple[int, int], threshold: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Everything whose score reaches a threshold, before suppression and in the outputs' order.

    Args:
        outputs: The network's, by name, for a batch of one.
        layout: What they mean.
        input_hw: Height and width of the network's input, pixels.
        threshold: Minus infinity keeps all.

    Returns:
        Boxes (K, 4) as corners in pixels of the input, scores (K,) and classes (K,).

    Raises:
        GateMissed: The outputs hold NaN or infinite scores.
    """
    raw, class_scores, objectness = raw_parts(outputs, layout)
    if layout.is_final:
        assert objectness is not None
        kept = np.flatnonzero(_finite(objectness) >= max(threshold, np.finfo(np.float32).tiny))
        boxes = boxes_of(raw[kept], kept, outputs, layout, input_hw)
        return boxes.astype(np.float32), objectness[kept], class_scores[kept, 0].astype(np.int64)
    possible = np.arange(len(raw))
    if objectness is not None:
        objectness = _activated(_finite(objectness)[:, None], layout.activation)[:, 0]
        if layout.kind == "fastestdet":
            objectness = np.maximum(objectness, 0) ** _OBJECTNESS_POWER
        possible = np.flatnonzero(objectness >= threshold)  # no class makes it more
    class_scores = class_scores if len(possible) == len(raw) else class_scores[possible]
    if layout.activation != "none":
        class_scores = _activated(class_scores, layout.activation)
    if layout.background is not None:
        class_scores = class_scores[:, 1:] if layout.background == "first" else class_scores[:, :-1]
    best = _finite(row_maxima(class_scores))
    if layout.kind == "fastestdet":
        best = np.maximum(best, 0) ** _CLASS_POWER
    scores = best if objectness is None else best * objectness[possible]
    reached = np.flatnonzero(scores >= threshold)
    kept = possible[reached]
    boxes = boxes_of(raw[kept], kept, outputs, layout, input_hw)
    if np.isnan(boxes).any():
        raise _not_a_number()
    return boxes.astype(np.float32), scores[reached].astype(np.float32), class_scores[reached].argmax(axis=1)


def _activated(values: Array, activation: str) -> Array:
    if activation == "none":
        return values
    if activation == "sigmoid" or values.shape[1] == 1:
        return sigmoid(values)
    return softmax_rows(values)


def _finite(values: Array) -> Array:
    if values.size and not np.isfinite(values.max()):
        raise _not_a_number()
    return values


def _not_a_number() -> GateMissed:
    return GateMissed("the network's output is not a number", "its values overflow: convert with --precision fp32")
