"""How good masks are where it is known what is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.readings import NOT_SEEN
from edgecnn.vision.mask_png import IGNORED

Array = npt.NDArray[Any]


def pixel_confusion(found: Array, truth: Array, classes: int) -> npt.NDArray[np.int64]:
    """How many pixels of each class, a row, were taken for each, a column: (classes, classes).

    Args:
        found: Class numbers; ``NOT_SEEN`` where a crop has cut the picture off, which is not counted.
        truth: Of the same shape; ``IGNORED`` is not counted.
        classes: How many.
    """
    counts = (truth != IGNORED) & (found != NOT_SEEN)
    pairs = truth[counts].astype(np.int64) * classes + found[counts]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_iou(confusion: Array) -> npt.NDArray[np.float64]:
    """(classes,): intersection over union of each class; NaN for one that no pixel is of."""
    right = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    return np.where(confusion.sum(axis=1) > 0, right / np.maximum(union, 1), np.nan)


def mean_iou(confusion: Array) -> float | None:
    """The mean of the classes that occur; None where none does."""
    found = class_iou(confusion)
    there = ~np.isnan(found)
    return float(found[there].mean()) if there.any() else None
