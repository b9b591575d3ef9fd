"""The score threshold of a quantized detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Detections
from edgecnn.vision.boxes import iou_matrix
from edgecnn.vision.detection_set import Annotations, DetectionSet

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
    each object counting once. It goes up and down along the scores; of the thresholds from which on it would fall
    below the reference's, that one is taken which shows the most nearly as many boxes as the reference shows.

    Without labels precision could only be counted against the reference's own boxes, where the reference's is 1 and
    no other network's. There, precision is made equal to recall: as many boxes are shown as the reference shows.

    Args:
        detections: Of the network in question, from ``predict_detections``.
        truth: The objects, with the detector's class numbers, where there are labels.
        reference: The FP32 network's detections on the same pictures.
        threshold: The user's, for the reference.

    Returns:
        A threshold between two scores that occur; that of the highest precision where the reference's is never
        reached; ``threshold`` where it does already or where one of the two shows nothing.
    """
    scores, right = _judged(reference, truth)
    shown = scores >= threshold
    target, wanted = right[shown].sum() / max(shown.sum(), 1), int(shown.sum())
    scores, right = _judged(detections, truth)
    if not wanted or not scores.size:
        return threshold
    # A threshold shows all boxes of one score or none of them, so that only the last of equal scores counts.
    counts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) + 1
    precision = np.cumsum(right)[counts - 1] / counts
    enough = precision >= target
    fitting = np.flatnonzero((precision == target) | (enough & ~np.append(enough[1:], False)))
    if not fitting.size:
        fitting = np.flatnonzero(precision == precision.max())
    count = int(counts[fitting[np.abs(counts[fitting] - wanted).argmin()]])
    return threshold if count == (scores >= threshold).sum() else _between(scores, count)


def best_threshold(detections: Sequence[Detections], truth: DetectionSet) -> float:
    """The score threshold with the best F1: the harmonic mean of how many boxes are right and objects found.

    Of equally good ones the highest. 0.5 where nothing is right.

    Args:
        detections: From ``predict_detections``, or of a network in training.
        truth: The objects, with the detector's class numbers.
    """
    scores, right = _judged(detections, truth)
    objects = sum(int((~found.ignored).sum()) for found in truth.objects)
    counts = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) + 1 if scores.size else np.zeros(0, np.intp)
    balance = 2 * np.cumsum(right)[counts - 1] / (counts + objects) if scores.size else np.zeros(0)
    if not balance.any():
        return 0.5
    return float(_between(scores, int(counts[balance.argmax()])))


def _between(scores: npt.NDArray[np.float32], shown: int) -> float:
    """A threshold that shows the first ``shown`` of descending scores."""
    last = float(scores[shown - 1])
    return (last + float(scores[shown])) / 2 if shown < len(scores) else last


def _judged(
    detections: Sequence[Detections], truth: DetectionSet | None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Scores of all boxes, descending, and whether each is right: all are without labels.

    Boxes of ignored objects are left out.
    """
    if truth is None:
        everything = np.sort(np.concatenate([found.scores for found in detections]))[::-1]
        return everything, np.ones(len(everything), dtype=bool)
    judged = [judged_boxes(found, objects) for found, objects in zip(detections, truth.objects, strict=True)]
    together = np.concatenate([found.scores[counts] for found, (_, counts) in zip(detections, judged, strict=True)])
    right = np.concatenate([hits[counts] for hits, counts in judged])
    order = np.argsort(-together, kind="stable")
    return together[order], right[order]


def judged_boxes(found: Detections, objects: Annotations) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which boxes of a picture are right, (K,), each object counting once, and which are not of ignored objects."""
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
    return hits, hits | ~ignored
