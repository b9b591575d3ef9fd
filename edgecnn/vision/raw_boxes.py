"""What a detector's raw outputs say, layout by layout: boxes, classes and objectness."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import SUPPRESSED_OUTPUTS, Layout
from edgecnn.core.priors import LARGEST_ANCHOR_EXPONENT, LARGEST_EXPONENT, anchors_of, cells_of
from edgecnn.vision.boxes import clip_boxes, xyxy_from_cxcywh

Array = npt.NDArray[Any]


def raw_parts(outputs: Mapping[str, Array], layout: Layout) -> tuple[Array, Array, Array | None]:
    """Boxes (N, ...) as they come, scores of the classes (N, C), and objectness (N,) where there is one.

    Of final boxes the scores are the objectness, and the classes (N, 1) are numbers.
    """
    first = outputs[layout.boxes] if layout.kind == "torchvision" else outputs[layout.boxes][0]
    first = first.astype(np.float32, copy=False)
    match layout.kind:
        case "yolox" | "yolov5":
            return first[:, :4], first[:, 5:], first[:, 4]
        case "yolov8":
            return first[:4].T, first[4:].T, None
        case "rtdetr":
            return first[:, :4], first[:, 4:], None
        case "nanodet":
            sides = first.shape[1] - 4 * layout.bins
            return first[:, sides:], first[:, :sides], None
        case "end_to_end" | "rtdetr_top":
            return first[:, :4], first[:, 5:], first[:, 4]
        case "fastestdet":
            rows = first.reshape(len(first), -1).T
            return rows[:, 1:5], rows[:, 5:], rows[:, 0]
        case "boxes_scores" | "anchors":
            assert layout.scores is not None  # detect_layout saw to it
            return first, outputs[layout.scores][0].astype(np.float32, copy=False), None
        case "torchvision":
            assert layout.scores is not None
            assert layout.numbers is not None
            numbers = outputs[layout.numbers] - (layout.background == "first")
            return first, numbers[:, None], outputs[layout.scores].astype(np.float32, copy=False)
        case "suppressed":
            count, _, scores, classes = (outputs[name][0] for name in SUPPRESSED_OUTPUTS)
            found = slice(int(count[0]))
            return first[found], classes[found, None], scores[found]


def boxes_of(raw: Array, kept: Array, outputs: Mapping[str, Array], layout: Layout, input_hw: tuple[int, int]) -> Array:
    """Corners (K, 4) in pixels of the input.

    Args:
        raw: The boxes of the rows ``kept``, as ``raw_parts`` gives them.
        kept: (K,), their indices.
        outputs: The network's, by name.
        layout: What they mean.
        input_hw: Height and width of the network's input, pixels.
    """
    size = np.asarray([input_hw[1], input_hw[0]], dtype=np.float32)
    match layout.kind:
        case "yolox":
            corners, strides = cells_of(input_hw, layout.strides)
            centre = (raw[:, :2] + corners[kept]) * strides[kept]
            extent = np.exp(np.minimum(raw[:, 2:], LARGEST_EXPONENT)) * strides[kept]
            return xyxy_from_cxcywh(np.concatenate([centre, extent], axis=1))
        case "nanodet":
            corners, strides = cells_of(input_hw, layout.strides, whole=False)
            point = (corners[kept] + 0.5 * (layout.cell_point == "centre")) * strides[kept]
            likely = softmax_rows(raw.reshape(-1, 4, layout.bins))
            sides = likely @ np.arange(layout.bins, dtype=np.float32) * strides[kept]
            return clip_boxes(
                np.concatenate([point - sides[:, :2], point + sides[:, 2:]], axis=1).astype(np.float32), input_hw
            )
        case "fastestdet":
            rows, columns = outputs[layout.boxes].shape[2:]
            corners = np.stack([kept % columns, kept // columns], axis=1).astype(np.float32)
            centre = (np.tanh(raw[:, :2]) + corners) / np.asarray([columns, rows], dtype=np.float32)
            return xyxy_from_cxcywh(np.concatenate([centre * size, sigmoid(raw[:, 2:]) * size], axis=1))
        case "boxes_scores":
            corners = raw if layout.box_format == "xyxy" else xyxy_from_cxcywh(raw)
            return corners * np.tile(size, 2) if layout.box_unit == "relative" else corners
        case "rtdetr" | "rtdetr_top":
            relative = layout.kind == "rtdetr_top" or layout.box_unit == "relative"
            return xyxy_from_cxcywh(raw) * (np.tile(size, 2) if relative else 1)
        case "anchors":
            centre, extent = (part[kept] for part in anchors_of(layout, outputs[layout.boxes].shape[1]))
            change = raw / np.asarray(layout.anchor_weights, dtype=np.float32)
            growth = np.exp(np.minimum(change[:, 2:], LARGEST_ANCHOR_EXPONENT))
            found = xyxy_from_cxcywh(np.concatenate([centre + change[:, :2] * extent, extent * growth], axis=1))
            return clip_boxes(found, input_hw)
        case "end_to_end" | "torchvision" | "suppressed":
            return raw
        case "yolov5" | "yolov8":
            return xyxy_from_cxcywh(raw)


def sigmoid(values: Array) -> Array:
    """The logistic function."""
    return 0.5 + 0.5 * np.tanh(0.5 * values)  # which, unlike 1 / (1 + exp(-x)), cannot overflow


def softmax_rows(values: Array) -> Array:
    """Softmax over the last axis, in the values' own type."""
    exponents = np.exp(values - values.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)
