"""What a detector's outputs mean, by what they say about pictures where their shapes do not show it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import Layout
from edgecnn.core.layouts import nanodet_layout
from edgecnn.errors import InputError
from edgecnn.vision.raw_boxes import raw_parts

Array = npt.NDArray[Any]
# Sums of softmax in FP16 are this near to 1.
_SUM_TOLERANCE = 0.02
# Parts of the picture: a box may reach over its edge, but not by its whole size.
_LARGEST_PART = 2.0
# Corners are in order in every row, but for a few that mean nothing.
_ORDERED = 0.99


def settle_layout(
    layout: Layout, samples: Iterable[Mapping[str, Array]], input_hw: tuple[int, int], stated: Collection[str] = ()
) -> Layout:
    """Find out from what a network says about pictures what its outputs' shapes do not show.

    * Scores beyond 0 to 1 have yet to go through a sigmoid, or a softmax where there is a background.
    * Scores of a row that sum to 1 come from a softmax, and their most probable column is the background.
    * YOLOX's boxes with centres all over the picture are pixels already: those of kind ``yolov5``.
    * YOLOX's columns that are probabilities at first, and not at the end, are NanoDet's classes and distributions.
    * Separate boxes, and RT-DETR's, are pixels where they reach beyond 2; separate boxes are corners where nearly every
      second one is right of and below the first.
    * Six columns are two classes of RT-DETR where the last has fractions; and RT-DETR's best where they are centres and
      sizes as parts of the picture.

    Args:
        layout: As ``detect_layout`` gives it.
        samples: Outputs, by name, for at least one picture.
        input_hw: Height and width of the network's input, pixels.
        stated: Fields that the user stated, which stay as they are.

    Raises:
        InputError: The values are those of no layout with such shapes.
    """
    seen = list(samples)
    if not seen:
        return layout
    if "kind" not in stated:
        layout = _settled_kind(layout, seen, input_hw)
    if layout.is_final:
        return layout
    parts = [raw_parts(sample, layout) for sample in seen]
    boxes = np.concatenate([part[0] for part in parts])
    scores = np.concatenate([part[1] for part in parts])
    found: dict[str, Any] = {}
    beyond = not _are_probabilities(scores)
    exclusive = layout.background is not None or layout.kind == "fastestdet"
    found["activation"] = "none" if not beyond else "softmax" if exclusive else "sigmoid"
    if layout.kind in ("boxes_scores", "rtdetr"):
        found["box_unit"] = "relative" if _are_parts(boxes) else "pixels"
    if layout.kind == "boxes_scores":
        found["box_format"] = "xyxy" if _are_corners(boxes) else "cxcywh"
        sums_to_one = not beyond and scores.shape[1] > 1 and np.abs(scores.sum(axis=1) - 1).max() < _SUM_TOLERANCE
        if layout.background is not None or (sums_to_one and "background" not in stated):
            mean = scores.mean(axis=0)
            found["background"] = "first" if mean[0] >= mean[-1] else "last"
            found["classes"] = scores.shape[1] - 1
    return layout.model_copy(update={name: value for name, value in found.items() if name not in stated})


def _settled_kind(layout: Layout, samples: list[Mapping[str, Array]], input_hw: tuple[int, int]) -> Layout:
    """The layout, or another one of the same shapes."""
    if layout.kind == "yolox":
        rows = np.concatenate([sample[layout.boxes][0] for sample in samples]).astype(np.float32)
        other = nanodet_layout(layout.boxes, rows.shape[1], layout.strides)
        if other is not None and other.classes is not None:
            classes, sides = rows[:, : other.classes], rows[:, other.classes :]
            if _are_probabilities(classes) and not _are_probabilities(sides):
                return other
        if float(np.median(np.abs(rows[:, :2]))) > min(input_hw) / 8:
            return layout.model_copy(update={"kind": "yolov5"})
    if layout.kind == "end_to_end":
        rows = np.concatenate([sample[layout.boxes][0] for sample in samples]).astype(np.float32)
        if (rows[:, 5] != np.rint(rows[:, 5])).any():
            return layout.model_copy(update={"kind": "rtdetr", "classes": rows.shape[1] - 4})
        boxes = rows[rows[:, 4] > 0, :4]
        if len(boxes) and _are_parts(boxes):
            if _are_corners(boxes):
                raise InputError(
                    f"output {layout.boxes}: boxes as parts of the picture, either corners or large ones by centre and "
                    "size",
                    "for centre and size state detection.layout: {kind: rtdetr_top}; corners are wanted in pixels: "
                    "multiply them in the graph, and state {kind: end_to_end}",
                )
            return layout.model_copy(update={"kind": "rtdetr_top"})
    return layout


def _are_probabilities(values: Array) -> bool:
    return bool(values.min() >= -_SUM_TOLERANCE and values.max() <= 1 + _SUM_TOLERANCE)


def _are_parts(boxes: Array) -> bool:
    return float(np.quantile(np.abs(boxes), 0.99)) <= _LARGEST_PART


def _are_corners(boxes: Array) -> bool:
    return bool((boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean() > _ORDERED)
