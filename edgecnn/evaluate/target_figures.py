"""How good labels, values and masks are where it is known what is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.vision.mask_figures import class_iou, mean_iou

Array = npt.NDArray[Any]


def average_precision(scores: Array, there: Array) -> float:
    """The area under precision over recall, in steps, without interpolation: sum of (R_n - R_(n-1)) P_n.

    Pictures with the same score are one step, so their order says nothing.

    Args:
        scores: (N,), the higher the surer.
        there: bool (N,), at least one of them true.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    right = np.cumsum(there[order])[ends]
    return float((np.diff(right / right[-1], prepend=0.0) * right / (ends + 1)).sum())


def f1_score(said: Array, there: Array) -> float:
    """2 TP / (2 TP + FP + FN) of two bool arrays of one shape; 1 where both are false throughout."""
    both, either = int((said & there).sum()), int(said.sum()) + int(there.sum())
    return 2 * both / either if either else 1.0


def tag_figures(
    probabilities: Array, targets: Array, thresholds: Sequence[float], labels: Sequence[str]
) -> dict[str, Any]:
    """Of a network for several labels: ``map``, ``f1``, and both of each label by name; labels of no picture are out.

    Args:
        probabilities: (N, labels).
        targets: (N, labels), above 0.5 where a picture has the label.
        thresholds: From which probability on each label is there.
        labels: Their names.
    """
    there, said = targets > 0.5, probabilities >= np.asarray(thresholds)
    known = [number for number in range(len(labels)) if there[:, number].any()]
    precision = {labels[number]: average_precision(probabilities[:, number], there[:, number]) for number in known}
    f1 = {labels[number]: f1_score(said[:, number], there[:, number]) for number in known}
    return {
        "map": float(np.mean(list(precision.values()))) if known else None,
        "f1": float(np.mean(list(f1.values()))) if known else None,
        "average_precision": precision,
        "label_f1": f1,
    }


def value_figures(values: Array, targets: Array, labels: Sequence[str]) -> dict[str, Any]:
    """Of a regression network: ``mean_absolute_error`` of each value by name, in its unit, and ``r2``.

    Args:
        values: (N, V).
        targets: (N, V), what is right.
        labels: Names of the values.

    Returns:
        ``r2`` is the mean over the values that are not the same in all pictures; None where there are none.
    """
    right = targets.astype(np.float64)
    errors = np.abs(values - right).mean(axis=0)
    total = ((right - right.mean(axis=0)) ** 2).sum(axis=0)
    residual = ((values - right) ** 2).sum(axis=0)
    varies = total > 0
    return {
        "mean_absolute_error": dict(zip(labels, errors.tolist(), strict=True)),
        "r2": float((1 - residual[varies] / total[varies]).mean()) if varies.any() else None,
    }


def mask_figures(confusion: Array, labels: Sequence[str]) -> dict[str, Any]:
    """Of a network for masks: ``mean_iou`` and ``class_iou`` of the classes that occur, and ``pixel_accuracy``.

    Args:
        confusion: (labels, labels), see ``edgecnn.vision.mask_figures.pixel_confusion``.
        labels: Names of the classes.
    """
    found = class_iou(confusion)
    total = int(confusion.sum())
    return {
        "mean_iou": mean_iou(confusion),
        "pixel_accuracy": float(confusion.trace()) / total if total else None,
        "class_iou": {label: float(iou) for label, iou in zip(labels, found, strict=True) if not np.isnan(iou)},
    }
