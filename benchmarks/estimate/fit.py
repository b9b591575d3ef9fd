"""The parameters that come nearest to published latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from benchmarks.estimate.sources import Point
from edgecnn.estimate.cost import Efficiency, LeftOut

# Where the search begins, and whence the parameters are drawn a little: what a reader of data sheets would guess.
_GUESS = Efficiency(
    tensor_fp32=0.5, tensor_fp16=0.5, tensor_int8=0.5, cuda_fp32=0.6, cuda_fp16=0.6, winograd=1.5, depthwise=0.2,
    tensor_fill=2000, cuda_fill=200, bandwidth=0.7, cached=2, launch_cycles=10000, graph_launch=0.5,
)  # fmt: skip
_HARNESS_MS = 0.3
_DRAWN = 0.03
# Ratios further off than this count less: some published figures are wrong, or of another power mode than assumed.
_OUTLIER = 0.15
_PARTS = ("graph_launch",)


def fit(points: Sequence[Point]) -> tuple[Efficiency, dict[str, float]]:
    """Parameters, and the constant of each source that has one, milliseconds.

    Minimizes the squares of log(estimate / published), outliers softened.
    """
    names = list(Efficiency.model_fields)
    sources = sorted({point.source.name for point in points if point.source.harness})
    start = np.log([*(getattr(_GUESS, name) for name in names), *[_HARNESS_MS] * len(sources)])

    def unpack(logs: npt.NDArray[np.float64]) -> tuple[Efficiency, dict[str, float]]:
        values = [float(value) for value in np.exp(logs)]
        named = dict(zip(names, values, strict=False))
        named |= {name: min(named[name], 1.0) for name in _PARTS}
        return Efficiency(**named), dict(zip(sources, values[len(names) :], strict=True))

    def errors(logs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        efficiency, harness = unpack(logs)
        ratios = [point.estimate_ms(efficiency, harness) / point.ms for point in points]
        return np.concatenate([np.log(ratios), _DRAWN * (logs - start)])

    return unpack(least_squares(errors, start, loss="soft_l1", f_scale=_OUTLIER, max_nfev=60).x)


@dataclass(frozen=True)
class Fold:
    """A fit without a board or a family.

    Attributes:
        left_out: Its parameters, and published / estimated of each point that it has not seen.
        harness: The constant of each source; of one that it has not seen, that of the fit to all.
    """

    left_out: LeftOut
    harness: dict[str, float]


def fit_without_each(points: Sequence[Point], key: str, harness_of_all: dict[str, float]) -> list[Fold]:
    """A fit without each board, or without each family.

    Args:
        points: Of the part that is fitted.
        key: ``device`` or ``family``.
        harness_of_all: Of the fit to all of them.
    """
    folds: list[Fold] = []
    for group in sorted({getattr(point, key) for point in points}):
        found, harness = fit([point for point in points if getattr(point, key) != group])
        efficiency, harness = rounded(found), harness_of_all | harness
        unseen = [point for point in points if getattr(point, key) == group]
        ratios = tuple(float(f"{point.ms / point.estimate_ms(efficiency, harness):.4g}") for point in unseen)
        folds.append(Fold(LeftOut(without=f"{key} {group}", efficiency=efficiency, ratios=ratios), harness))
    return folds


def rounded(efficiency: Efficiency) -> Efficiency:
    """To four digits, as it is written down."""
    return Efficiency(**{name: float(f"{value:.4g}") for name, value in efficiency.model_dump().items()})
