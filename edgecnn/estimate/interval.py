"""The interval around an estimate: what it would have been without what it was fitted to, and how far off that was.

Errors on the points that parameters were fitted to are smaller than those on anything new. So each board, and each
family of networks, was left out of a fit in turn, and held against the parameters of the fit without it. A new network
on a new board gets an estimate from each of these fits, times each of the errors that this fit made on what it had not
seen: the interval lies between two of these products (CV+, Barber, Candes, Ramdas and Tibshirani 2021, Predictive
Inference with the Jackknife+; here of ratios, in place of differences).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecnn.estimate.cost import LeftOut

# Of published results, the part that lies in it.
PART = 0.8

Floats = npt.NDArray[np.float64]


def interval_of(estimates: Sequence[float], left_out: Sequence[LeftOut]) -> tuple[float, float]:
    """Where four fifths of such results lie.

    Args:
        estimates: By the parameters of each of the fits, in any unit.
        left_out: These fits.
    """
    products = np.concatenate([value * np.asarray(fit.ratios) for value, fit in zip(estimates, left_out, strict=True)])
    ordered: Floats = np.sort(products)
    count, tail = len(ordered), round((1 - PART) / 2, 9)
    # One more than there are, as the new result is itself one of those that are in question.
    lower = max(math.floor(tail * (count + 1)), 1)
    upper = min(math.ceil((1 - tail) * (count + 1)), count)
    return float(ordered[lower - 1]), float(ordered[upper - 1])
