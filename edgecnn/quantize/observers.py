"""Observers: from the values that a tensor took to the range that 8 bits shall cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from edgecnn.core.percentiles import rank_of
from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.histograms import BINS, Extremes, Histogram
from edgecnn.quantize.ranges import UNSIGNED_MAX, Grid, Range
from edgecnn.quantize.schemes import QUANT_MAX

# Parts of the whole range that are tried, the widest first. Below a sixty-fourth nothing is: there are 127 steps, so
# clipping more than that away never pays for a distribution that calibration can see.
_PARTS: list[float] = np.linspace(1 / 64, 1.0, 128).tolist()[::-1]

Float64 = npt.NDArray[np.float64]


def make_histogram(config: QuantizePart) -> Extremes:
    """What must be kept of a tensor's values for the observer that a recipe names."""
    return Extremes() if config.observer == "minmax" else Histogram()


def find_range(seen: Extremes, config: QuantizePart, *, symmetric: bool) -> Range:
    """The range by the observer that a recipe names; from 0 to 0 where all values were 0.

    Args:
        seen: Made by ``make_histogram`` with this recipe.
        config: The recipe's wishes; ``auto`` begins with the range of least squared error.
        symmetric: Whether the range reaches as far to both sides of 0.
    """
    if not isinstance(seen, Histogram):
        return minmax(seen, symmetric=symmetric)
    match config.observer:
        case "minmax":
            return minmax(seen, symmetric=symmetric)
        case "percentile":
            return percentile(seen, config.percentile, symmetric=symmetric)
        case "entropy":
            return entropy(seen, symmetric=symmetric)
        case "mse" | "auto":
            return mse(seen, symmetric=symmetric)


def other_ranges(seen: Extremes, config: QuantizePart, *, symmetric: bool) -> tuple[Range, ...]:
    """What ``auto`` tries beside ``find_range``: the ranges of all other observers."""
    if not isinstance(seen, Histogram):
        return ()
    return (
        entropy(seen, symmetric=symmetric),
        percentile(seen, config.percentile, symmetric=symmetric),
        minmax(seen, symmetric=symmetric),
    )


def minmax(seen: Extremes, *, symmetric: bool) -> Range:
    """All values: nothing is clipped."""
    peak = max(-seen.low, seen.high)
    return Range(-peak, peak) if symmetric else Range(seen.low, seen.high)


def percentile(seen: Histogram, percent: float, *, symmetric: bool) -> Range:
    """The values that are left when each end gives up a part.

    Args:
        seen: The values.
        percent: Of the values, so many lie above ``low`` and so many below ``high``; where the range is symmetric, so
            many of the absolute values lie below its end. So what is one-sided, as after a ReLU, has the same either
            way.
        symmetric: Whether the range reaches as far to both sides of 0.
    """
    below, above = seen.counts

    def end(counts: npt.NDArray[np.int64], others: int) -> float:
        """How far from 0, on the side with these counts and so many values on the other side."""
        wanted = rank_of(int(counts.sum()) + others, percent) - others
        if wanted <= 0:
            return 0.0
        return seen.edge(min(int(np.searchsorted(np.cumsum(counts), wanted)), BINS - 1) + 1)

    if symmetric:
        peak = end(below + above, 0)
        return Range(-peak, peak)
    return Range(-end(below, int(above.sum())), end(above, int(below.sum())))


def mse(seen: Histogram, *, symmetric: bool) -> Range:
    """The range with the smallest expected squared error of rounding and clipping together.

    The error of each candidate range is computed from the histogram: within the range each bin's centre is rounded to
    the grid, with the variance inside a bin negligible; beyond, the distance to the range's end counts. (The search
    over clipping ranges of Sung et al., "Resiliency of Deep Neural Networks under Quantization", 2015, and of Banner et
    al., "Post training 4-bit quantization", 2019, here on the measured distribution.)
    """

    def error(centres: Float64, counts: Float64, grid: Grid) -> float:
        restored = np.clip(np.round(centres / grid.scale), grid.lowest, grid.highest) * grid.scale
        return float(((centres - restored) ** 2 * counts).sum())

    return _search(seen, seen.counts.astype(np.float64), error, symmetric=symmetric)


def entropy(seen: Histogram, *, symmetric: bool) -> Range:
    """The range that loses least information: the Kullback-Leibler divergence of what was seen and what is left of it.

    The method of TensorRT's calibrator (Migacz, "8-bit Inference with TensorRT", GTC 2017). Of the bins within a
    candidate range, P is what was seen, with what lies beyond added to the outermost bins. Q is the same without that
    addition, rounded to the grid's steps, and each step's count spread evenly over those of its bins that had any.
    An outermost bin that had none counts as half a value in Q. Ranges of fewer bins than steps are not tried: nothing
    would be rounded. The zeros that a ReLU makes are exact on any grid: the first bin from 0 counts no more than the
    second.
    """

    def divergence(centres: Float64, counts: Float64, grid: Grid) -> float:
        inner = slice(*np.searchsorted(centres, (grid.lowest * grid.scale, grid.highest * grid.scale)).tolist())
        steps = np.rint(centres[inner] / grid.scale).astype(np.int64) - grid.lowest
        left = counts[inner]
        if steps.size <= (QUANT_MAX if symmetric else UNSIGNED_MAX) or not left.any():
            return np.inf
        whole = left.copy()
        whole[0] += counts[: inner.start].sum()
        whole[-1] += counts[inner.stop :].sum()
        filled = left > 0
        shared = np.bincount(steps, left) / np.maximum(np.bincount(steps, filled), 1)
        rounded = np.where(filled, shared[steps], 0.5)
        some = whole > 0
        p, q = whole[some] / whole.sum(), rounded[some] / rounded[some].sum()
        return float((p * np.log(p / q)).sum())

    counts = seen.counts.astype(np.float64)
    counts[:, 0] = np.minimum(counts[:, 0], counts[:, 1])
    return _search(seen, counts, divergence, symmetric=symmetric)


def _search(
    seen: Histogram, counts: Float64, cost: Callable[[Float64, Float64, Grid], float], *, symmetric: bool
) -> Range:
    """The range of least cost, the widest of equals. ``cost`` takes the bins' centres, their counts, and a grid.

    Two ends are drawn in together first, then one by one: from the whole range neither would move alone, as the step
    depends on both.
    """
    whole = seen.extent()
    if whole.peak == 0:
        return whole
    centres = (np.arange(BINS, dtype=np.float64) + 0.5) * (seen.top / BINS)
    if symmetric:
        whole, flat = Range(-whole.peak, whole.peak), counts[0] + counts[1]
    else:
        centres, flat = np.concatenate([-centres[::-1], centres]), np.concatenate([counts[0, ::-1], counts[1]])

    def least(tried: Iterable[Range]) -> Range:
        return min(tried, key=lambda each: cost(centres, flat, each.grid(symmetric=symmetric)))

    found = least(Range(part * whole.low, part * whole.high) for part in _PARTS)
    if symmetric:
        return found
    found = least(Range(found.low, part * whole.high) for part in _PARTS)
    return least(Range(part * whole.low, found.high) for part in _PARTS)
