"""What is remembered of training pictures, so that a camera's frames can be told from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from edgecnn.core.part import Part

# A camera's frames are like each other, so they are unlike the training pictures together: some by chance is no sign.
_SIGN = 5.0


class ShiftPart(Part):
    """Statistics of training pictures, and how far pictures that were kept back lie from them."""

    statistics: tuple[str, ...] = Field(description="their names, in the order of all else")
    means: tuple[float, ...] = Field(description="over the pictures that were learnt from")
    deviations: tuple[float, ...] = Field(description="standard deviations there")
    precision: tuple[tuple[float, ...], ...] = Field(description="inverse of the correlations between them")
    threshold: float = Field(description="the distance beyond which a frame is unlike the training pictures")
    false_alarm_rate: float = Field(
        description="part of frames like the training pictures that lie beyond it, at most, by the count of pictures "
        "kept back"
    )
    learned: int = Field(description="pictures that were learnt from")
    held_out: int = Field(description="pictures that the threshold was taken from")

    @property
    def most_unlike(self) -> float:
        """The part of unlike frames above which a run is warned of: five times what chance gives."""
        return min(_SIGN * self.false_alarm_rate, 1.0)

    def scores(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Statistics (..., D) as standard deviations from the mean."""
        return (np.asarray(found, np.float64) - self.means) / self.deviations

    def distance(self, found: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Mahalanobis distances (...) of statistics (..., D)."""
        scores = self.scores(found)
        return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", scores, np.asarray(self.precision), scores), 0))

    def furthest(self, scores: npt.NDArray[Any]) -> str:
        """The statistic of mean scores (D,) that is furthest off, such as ``brightness -3.1``."""
        place = int(np.abs(scores).argmax())
        return f"{self.statistics[place]} {scores[place]:+.1f}"
