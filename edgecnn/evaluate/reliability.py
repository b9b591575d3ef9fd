"""Whether a classifier's probabilities mean what they say, and which classes it takes for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Answers by how sure the network was of them.

    Attributes:
        count: Answers in each of ten ranges of confidence, from 0 to 1.
        confidence: Mean confidence of each range; 0 where it is empty.
        accuracy: Part of the answers that are right; 0 where it is empty.
        error: Expected calibration error: the mean distance of the two, weighted by count (Guo et al., "On Calibration
            of Modern Neural Networks", 2017).
    """

    count: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    error: float


def reliability(probabilities: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Reliability:
    """Compare the probability of the class that is named with how often it is right.

    Args:
        probabilities: (N, classes), rows that sum to 1.
        labels: (N,) class numbers.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    full = np.maximum(count, 1)
    confidence = np.bincount(bins, weights=sure, minlength=_BINS) / full
    accuracy = np.bincount(bins, weights=right, minlength=_BINS) / full
    error = float((count * np.abs(confidence - accuracy)).sum() / max(len(labels), 1))
    return Reliability(tuple(count.tolist()), tuple(confidence.tolist()), tuple(accuracy.tolist()), error)


def confusion(named: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int) -> npt.NDArray[np.int64]:
    """How often each class, a row, was taken for each, a column: (classes, classes)."""
    return np.bincount(labels * classes + named, minlength=classes * classes).reshape(classes, classes)
