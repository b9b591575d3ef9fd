"""What is remembered of training pictures, so that a camera's frames can be told from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgecnn.core.part import Part

# A camera's frames are like each other, so they are unlike the training pictures together: some by chance is no sign.
_SIGN = 5.0
_TINY = float(np.finfo(float).tiny)


def mahalanobis(centred: npt.NDArray[Any], precision: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The distances (...) of differences from a mean (..., D), by the inverse (D, D) of a covariance."""
    return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", centred, precision, centred), 0))


class ClassScoresPart(Part):
    """Where a classifier's scores lie on training pictures of each class that it names."""

    means: tuple[tuple[float, ...], ...] = Field(description="a row for each class: the mean score of all classes")
    precision: tuple[tuple[float, ...], ...] = Field(description="inverse of the covariance that all classes share")
    threshold: float = Field(description="the distance beyond which a frame is unlike the training pictures")

    def distance(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Mahalanobis distances (...) of scores (..., C) from the mean of the best class."""
        scores = np.asarray(found, np.float64)
        return mahalanobis(scores - np.asarray(self.means)[scores.argmax(axis=-1)], np.asarray(self.precision))


class ShiftPart(Part):
    """Statistics of training pictures, and how far pictures that were kept back lie from them."""

    statistics: tuple[str, ...] = Field(description="their names, in the order of all else")
    means: tuple[float, ...] = Field(description="over the pictures that were learnt from")
    deviations: tuple[float, ...] = Field(description="standard deviations there")
    precision: tuple[tuple[float, ...], ...] = Field(description="inverse of the correlations between them")
    threshold: float = Field(description="the distance beyond which a frame is unlike the training pictures")
    false_alarm_rate: float = Field(
        description="part of frames like the training pictures that are called unlike them, at most, by the count of "
        "pictures kept back"
    )
    learned: int = Field(description="pictures that were learnt from")
    held_out: int = Field(description="pictures that the thresholds were taken from")
    classes: ClassScoresPart | None = Field(default=None, description="of classifiers with few classes")

    @property
    def most_unlike(self) -> float:
        """The part of unlike frames above which a run is warned of: five times what chance gives."""
        return min(_SIGN * self.false_alarm_rate, 1.0)

    def scores(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Statistics (..., D) as standard deviations from the mean."""
        return (np.asarray(found, np.float64) - self.means) / self.deviations

    def distance(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Mahalanobis distances (...) of statistics (..., D)."""
        return mahalanobis(self.scores(found), np.asarray(self.precision))

    def ratio(self, found: npt.NDArray[Any], class_scores: npt.NDArray[Any] | None) -> npt.NDArray[np.float64]:
        """The distance as a part of its threshold, the larger one of the two (...): a frame above 1 is unlike.

        Args:
            found: Statistics (..., D).
            class_scores: (..., C), of a classifier.
        """
        ratio = self.distance(found) / max(self.threshold, _TINY)
        if self.classes is None or class_scores is None:
            return ratio
        return np.maximum(ratio, self.classes.distance(class_scores) / max(self.classes.threshold, _TINY))

    def furthest(self, scores: npt.NDArray[Any]) -> str:
        """The statistic of mean scores (D,) that is furthest off, such as ``brightness -3.1``."""
        place = int(np.abs(scores).argmax())
        return f"{self.statistics[place]} {scores[place]:+.1f}"
