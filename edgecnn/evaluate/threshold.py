"""The score threshold of a quantized detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Detections
from edgecnn.vision.boxes import iou_matrix
from edgecnn.vision.detection_set import DetectionSet

# A box is right that overlaps an object of its class by this much, as in Pascal VOC.
RIGHT_IOU = 0.5


def refit_threshold(
    detections: Sequence[Detections],
    truth: DetectionSet | None,
    reference: Sequence[Detections],
    threshold: float,
) -> float:
    """The score threshold at which a network is as precise as the reference is at the user's threshold.

    Quantization moves scores, so that the same threshold shows more or fewer wrong boxes. Precision is the part of
    the shown boxes, of all pictures and classes together, that overlap an object of their class by ``RIGHT_IOU``,
    each object counting once. From the user's threshold the search goes down while the network is more precise than
    the reference, else up until it is as precise. Without labels no precision is known but against the reference's
    own boxes, which it would have to reach 1 of: there, precision shall equal recall, which is the threshold that
    shows as many boxes as the reference shows.

    Args:
        detections: Of the network in question.
        truth: The objects, with the detector's class numbers, where there are labels.
        reference: The FP32 network's detections on the same pictures.
        threshold: The user's, for the reference.

    Returns:
        A threshold between two scores that occur; ``threshold`` where nothing is to be gained.
    """
    if truth is None:
        shown = sum(len(found.above(threshold)) for found in reference)
        scores = np.sort(np.concatenate([found.scores for found in detections]))[::-1]
        if shown == int((scores >= threshold).sum()) or not scores.size:
            return threshold
        return _between(scores, min(shown, scores.size))
    scores, right = _judged(reference, truth)
    shown = scores >= threshold
    if not shown.any():
        return threshold
    target = float(right[shown].mean())
    scores, right = _judged(detections, truth)
    # A threshold shows all boxes of one score or none, so that only the last of equal scores counts.
    counts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) + 1 if scores.size else np.zeros(0, int)
    precision = np.cumsum(right)[counts - 1] / counts
    start = int(np.searchsorted(-scores[counts - 1], -threshold, side="right"))  # so many lie at or above the threshold
    now = precision[start - 1] if start else 1.0
    if now == target or not counts.size:
        return threshold
    if now > target:
        worse = np.flatnonzero(precision[start:] < target)
        end = start + int(worse[0]) if worse.size else len(counts)
        return threshold if end == start else _between(scores, int(counts[end - 1]))
    good = np.flatnonzero(precision[:start] >= target)
    best = int(good[-1]) if good.size else int(np.argmax(precision[:start]))
    return _between(scores, int(counts[best]))


def _between(scores: npt.NDArray[np.float32], shown: int) -> float:
    """A threshold that shows the first ``shown`` of descending scores."""
    if shown == 0:
        return float(scores[0] + 1) / 2
    last = float(scores[shown - 1])
    return (last + float(scores[shown])) / 2 if shown < len(scores) else last


def _judged(
    detections: Sequence[Detections], truth: DetectionSet
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores of all boxes, descending, and whether each is right; those of ignored objects are left out."""
    scores: list[Any] = [np.zeros(0, np.float32)]
    right: list[Any] = [np.zeros(0, bool)]
    for found, objects in zip(detections, truth.objects, strict=True):
        overlap = iou_matrix(found.boxes_xyxy, objects.boxes_xyxy)
        overlap *= found.classes[:, None] == objects.classes[None]
        ignored = (overlap[:, objects.ignored] >= RIGHT_IOU).any(axis=1)
        overlap[:, objects.ignored] = 0
        hits = np.zeros(len(found), dtype=bool)
        for index in np.flatnonzero((overlap >= RIGHT_IOU).any(axis=1)):  # best first, as detections are
            nearest = int(overlap[index].argmax())
            if overlap[index, nearest] >= RIGHT_IOU:
                hits[index] = True
                overlap[:, nearest] = 0
        kept = hits | ~ignored
        scores.append(found.scores[kept])
        right.append(hits[kept])
    together = np.concatenate(scores)
    order = np.argsort(-together, kind="stable")
    return together[order], np.concatenate(right)[order]
