"""How far from training pictures a picture may lie before it is called unlike them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.shift import ShiftPart
from edgecnn.vision.shift import COLOUR, GREY

Array = npt.NDArray[Any]
FALSE_ALARMS = 0.01
"""Part of the pictures like those learnt from that may be called unlike them."""
# Correlations of few pictures are uncertain; this part of them is given up (Ledoit and Wolf, 2004).
_SHRINKAGE = 0.1
# Statistics that hardly vary over the training pictures would make everything else far away: a grey level, and of what
# has its own unit a millionth.
_LEAST_LEVEL, _LEAST_PART = 1 / 255, 1e-6


def fit_shift(names: Sequence[str], learned: Array, held_out: Array) -> ShiftPart:
    """What to remember of training pictures.

    The distance is Mahalanobis'. The threshold is an order statistic of the pictures kept back, of which nothing else
    is taken, so a new picture of the same kind lies beyond it with a probability of ``false_alarm_rate`` at most,
    whatever the distribution (split conformal prediction: Vovk et al., 2005; Bates et al., 2023): beyond the k-th
    smallest of n with 1 - k / (n + 1).

    Args:
        names: Of the statistics.
        learned: (N, D), of pictures that were learnt from.
        held_out: (M, D), of pictures that were not, at least one.
    """
    means, deviations = learned.mean(axis=0), learned.std(axis=0)
    levels = np.array([name in GREY + COLOUR for name in names])
    deviations = np.maximum(deviations, np.where(levels, _LEAST_LEVEL, _LEAST_PART * (1 + np.abs(means))))
    scores = (learned - means) / deviations
    correlations = (1 - _SHRINKAGE) * (scores.T @ scores) / len(scores)
    np.fill_diagonal(correlations, 1.0)  # of what does not vary, too
    part = ShiftPart(
        statistics=tuple(names),
        means=tuple(means.tolist()),
        deviations=tuple(deviations.tolist()),
        precision=tuple(tuple(row) for row in np.linalg.inv(correlations).tolist()),
        threshold=0.0,
        false_alarm_rate=1.0,
        learned=len(learned),
        held_out=len(held_out),
    )
    distances, count = np.sort(part.distance(held_out)), len(held_out)
    place = min(math.ceil((count + 1) * (1 - FALSE_ALARMS)), count)
    changes = {"threshold": float(distances[place - 1]), "false_alarm_rate": 1 - place / (count + 1)}
    return part.model_copy(update=changes)
