"""How far from training pictures a picture may lie before it is called unlike them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.shift import ClassScoresPart, ShiftPart, mahalanobis
from edgecnn.vision.shift import COLOUR, GREY

Array = npt.NDArray[Any]
FALSE_ALARMS = 0.01
"""Part of the pictures like those learnt from that may be called unlike them."""
# Correlations of few pictures are uncertain; this part of them is given up (Ledoit and Wolf, 2004).
_SHRINKAGE = 0.1
# Statistics that hardly vary over the training pictures would make everything else far away: a grey level, and of what
# has its own unit a millionth.
_LEAST_LEVEL, _LEAST_PART = 1 / 255, 1e-6


def fit_shift(
    names: Sequence[str],
    learned: Array,
    held_out: Array,
    scores: tuple[Array, Array] | None = None,
) -> ShiftPart:
    """What to remember of training pictures.

    Distances are Mahalanobis'; that of a classifier's scores is from the class that it names, with a covariance that
    all classes share (Lee et al., 2018). Each threshold is an order statistic of the pictures kept back, of which
    nothing else is taken, so a new picture of the same kind lies beyond the k-th smallest of n with a probability of
    1 - k / (n + 1) at most, whatever the distribution (split conformal prediction: Vovk et al., 2005; Bates et al.,
    2023); that of two thresholds is the sum at most.

    Args:
        names: Of the statistics.
        learned: (N, D), of pictures that were learnt from.
        held_out: (M, D), of pictures that were not, at least one.
        scores: The same pictures' (N, C) and (M, C), of a classifier with few classes.
    """
    means, deviations = learned.mean(axis=0), learned.std(axis=0)
    levels = np.array([name in GREY + COLOUR for name in names])
    deviations = np.maximum(deviations, np.where(levels, _LEAST_LEVEL, _LEAST_PART * (1 + np.abs(means))))
    centred = (learned - means) / deviations
    correlations = (1 - _SHRINKAGE) * (centred.T @ centred) / len(centred)
    np.fill_diagonal(correlations, 1.0)  # of what does not vary, too
    precision = np.linalg.inv(correlations)
    alarms = FALSE_ALARMS if scores is None else FALSE_ALARMS / 2
    threshold, rate = _threshold(mahalanobis((held_out - means) / deviations, precision), alarms)
    return ShiftPart(
        statistics=tuple(names),
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        precision=_rows(precision),
        threshold=threshold,
        false_alarm_rate=rate if scores is None else 2 * rate,
        learned=len(learned),
        held_out=len(held_out),
        classes=None if scores is None else _fit_classes(*scores, alarms),
    )


def _fit_classes(learned: Array, held_out: Array, alarms: float) -> ClassScoresPart:
    named, count = learned.argmax(axis=1), learned.shape[1]
    # A class that no picture is taken for: what is taken for it later is far from the middle of all.
    nowhere = np.zeros(count)
    means = np.stack([learned[named == c].mean(axis=0) if (named == c).any() else nowhere for c in range(count)])
    rest = learned - means[named]
    covariance = rest.T @ rest / len(rest)
    level = max(float(np.trace(covariance)) / count, _LEAST_PART)
    precision = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * np.eye(count))
    part = ClassScoresPart(means=_rows(means), precision=_rows(precision), threshold=0.0)
    return part.model_copy(update={"threshold": _threshold(part.distance(held_out), alarms)[0]})


def _threshold(distances: Array, alarms: float) -> tuple[float, float]:
    """A distance of pictures kept back, and the part of others like them that lie beyond it, at most."""
    count = len(distances)
    place = min(math.ceil((count + 1) * (1 - alarms)), count)
    return float(np.sort(distances)[place - 1]), 1 - place / (count + 1)


def _rows(matrix: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.9g}") for value in row) for row in matrix)
