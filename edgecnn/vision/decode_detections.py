"""From a detector's raw outputs to boxes in the frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import SUPPRESSED_OUTPUTS, Detector, Layout
from edgecnn.core.frame import Detections
from edgecnn.errors import GateMissed, InputError
from edgecnn.vision.boxes import clip_boxes, non_maximum_suppression, xyxy_from_cxcywh
from edgecnn.vision.preprocess import boxes_in_frame

Array = npt.NDArray[Any]
# FastestDet's own weights of objectness and class in the score.
_OBJECTNESS_POWER, _CLASS_POWER = 0.6, 0.4
# Sums of softmax in FP16 are this near to 1.
_SUM_TOLERANCE = 0.02


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
    raw, class_scores, objectness = _parts(outputs, layout)
    if layout.is_final:
        assert objectness is not None
        kept = np.flatnonzero(_finite(objectness) >= max(threshold, np.finfo(np.float32).tiny))
        return raw[kept], objectness[kept], class_scores[kept, 0].astype(np.int64)
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
    best = _finite(class_scores.max(axis=1))
    if layout.kind == "fastestdet":
        best = np.maximum(best, 0) ** _CLASS_POWER
    scores = best if objectness is None else best * objectness[possible]
    reached = np.flatnonzero(scores >= threshold)
    kept = possible[reached]
    boxes = _boxes(raw[kept], kept, outputs, layout, input_hw)
    if np.isnan(boxes).any():
        raise _not_a_number()
    return boxes.astype(np.float32), scores[reached].astype(np.float32), class_scores[reached].argmax(axis=1)


def _parts(outputs: Mapping[str, Array], layout: Layout) -> tuple[Array, Array, Array | None]:
    """Boxes (N, 4) as they come, scores of the classes (N, C), and objectness (N,) where there is one."""
    first = outputs[layout.boxes][0].astype(np.float32, copy=False)
    match layout.kind:
        case "yolox" | "yolov5":
            return first[:, :4], first[:, 5:], first[:, 4]
        case "yolov8":
            return first[:4].T, first[4:].T, None
        case "end_to_end":
            return first[:, :4], first[:, 5:], first[:, 4]
        case "fastestdet":
            rows = first.reshape(len(first), -1).T
            return rows[:, 1:5], rows[:, 5:], rows[:, 0]
        case "boxes_scores":
            assert layout.scores is not None  # detect_layout saw to it
            return first, outputs[layout.scores][0].astype(np.float32, copy=False), None
        case "suppressed":
            count, _, scores, classes = (outputs[name][0] for name in SUPPRESSED_OUTPUTS)
            found = slice(int(count[0]))
            return first[found], classes[found, None], scores[found]


def _boxes(raw: Array, kept: Array, outputs: Mapping[str, Array], layout: Layout, input_hw: tuple[int, int]) -> Array:
    """Corners in pixels of the input, of those rows ``kept`` whose boxes are ``raw``."""
    size = np.asarray([input_hw[1], input_hw[0]], dtype=np.float32)
    match layout.kind:
        case "yolox":
            corners, strides = _grid(input_hw, layout.strides)
            centre = (raw[:, :2] + corners[kept]) * strides[kept]
            return xyxy_from_cxcywh(np.concatenate([centre, _exponential(raw[:, 2:]) * strides[kept]], axis=1))
        case "fastestdet":
            rows, columns = outputs[layout.boxes].shape[2:]
            corners = np.stack([kept % columns, kept // columns], axis=1).astype(np.float32)
            centre = (np.tanh(raw[:, :2]) + corners) / np.asarray([columns, rows], dtype=np.float32)
            return xyxy_from_cxcywh(np.concatenate([centre * size, _sigmoid(raw[:, 2:]) * size], axis=1))
        case "boxes_scores":
            corners = raw if layout.box_format == "xyxy" else xyxy_from_cxcywh(raw)
            return corners * np.tile(size, 2) if layout.box_unit == "relative" else corners
        case _:
            return xyxy_from_cxcywh(raw)


@lru_cache(maxsize=8)
def _grid(input_hw: tuple[int, int], strides: tuple[int, ...]) -> tuple[npt.NDArray[np.float32], Array]:
    """Column and row (N, 2) of every cell of every grid, row by row, and its stride (N, 1)."""
    corners: list[Array] = []
    sizes: list[Array] = []
    for stride in strides:
        rows, columns = np.indices((input_hw[0] // stride, input_hw[1] // stride), dtype=np.float32)
        corners.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        sizes.append(np.full((rows.size, 1), stride, dtype=np.float32))
    return np.concatenate(corners), np.concatenate(sizes)


def _exponential(values: Array) -> Array:
    # A cell that means nothing may say e^100: wider than any picture is wide enough.
    return np.exp(np.minimum(values, 20))


def _sigmoid(values: Array) -> Array:
    return 0.5 + 0.5 * np.tanh(0.5 * values)  # which, unlike 1 / (1 + exp(-x)), cannot overflow


def _activated(values: Array, activation: str) -> Array:
    if activation == "none":
        return values
    if activation == "sigmoid" or values.shape[1] == 1:
        return _sigmoid(values)
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def _finite(values: Array) -> Array:
    if values.size and not np.isfinite(values.max()):
        raise _not_a_number()
    return values


def _not_a_number() -> GateMissed:
    return GateMissed("the network's output is not a number", "its values overflow: convert with --precision fp32")


def settle_layout(
    layout: Layout, samples: Iterable[Mapping[str, Array]], input_hw: tuple[int, int], stated: Collection[str] = ()
) -> Layout:
    """Find out from what a network says about pictures what its outputs' shapes do not show.

    * Scores beyond 0 to 1 have yet to go through a sigmoid, or a softmax where there is a background.
    * Scores of a row that sum to 1 come from a softmax, and their most probable column is the background.
    * YOLOX's boxes with centres all over the picture are pixels already: those of kind ``yolov5``.
    * Separate boxes are pixels where they reach beyond 2, and corners where nearly every second one is right of and
      below the first.

    Args:
        layout: As ``detect_layout`` gives it.
        samples: Outputs, by name, for at least one picture.
        input_hw: Height and width of the network's input, pixels.
        stated: Fields that the user stated, which stay as they are.
    """
    parts = [_parts(sample, layout) for sample in samples]
    if layout.is_final or not parts:
        return layout
    boxes = np.concatenate([part[0] for part in parts])
    scores = np.concatenate([part[1] for part in parts])
    found: dict[str, Any] = {}
    beyond = scores.min() < -_SUM_TOLERANCE or scores.max() > 1 + _SUM_TOLERANCE
    exclusive = layout.background is not None or layout.kind == "fastestdet"
    found["activation"] = "none" if not beyond else "softmax" if exclusive else "sigmoid"
    if layout.kind == "yolox" and float(np.median(np.abs(boxes[:, :2]))) > min(input_hw) / 8:
        found["kind"] = "yolov5"
    if layout.kind == "boxes_scores":
        found["box_unit"] = "relative" if float(np.quantile(np.abs(boxes), 0.99)) <= 2 else "pixels"
        ordered = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean()
        found["box_format"] = "xyxy" if ordered > 0.99 else "cxcywh"
        sums_to_one = not beyond and scores.shape[1] > 1 and np.abs(scores.sum(axis=1) - 1).max() < _SUM_TOLERANCE
        if sums_to_one or layout.background is not None:
            mean = scores.mean(axis=0)
            found["background"] = "first" if mean[0] >= mean[-1] else "last"
            found["classes"] = scores.shape[1] - 1
    return layout.model_copy(update={name: value for name, value in found.items() if name not in stated})
