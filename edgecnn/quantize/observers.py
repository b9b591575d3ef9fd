"""From the values that a tensor takes to the range that INT8 shall cover."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.core.percentiles import rank_of
from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.schemes import QUANT_MAX

BINS = 4096
_CANDIDATES = 128
# Ranges below this part of the largest value are not tried: INT8 has 127 steps, so clipping more than that away
# never pays for a distribution that calibration can see.
_SMALLEST_PART = 1 / 64


class Observer(Protocol):
    """Sees a tensor's values batch by batch and names a range in the end."""

    def update(self, values: npt.NDArray[Any]) -> None:
        """See more values."""
        ...

    def range(self) -> float:
        """The largest absolute value to represent; 0 where all values were 0."""
        ...


class MinMaxObserver:
    """The largest absolute value: nothing is clipped."""

    def __init__(self) -> None:
        self._peak = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        if values.size:
            self._peak = max(self._peak, float(values.max()), -float(values.min()))

    def range(self) -> float:
        """See ``Observer.range``."""
        return self._peak


class Histogram:
    """Counts of absolute values in equal bins from 0, in constant memory.

    A bin includes its upper edge, and the first one 0 too. When a larger value comes the range is doubled as often as
    needed and neighbouring bins are merged, so the counts stay exact for the bins there are and no second pass over
    the pictures is needed.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.top = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """Count more values."""
        magnitudes = np.abs(values.reshape(-1))
        peak = float(magnitudes.max(initial=0.0))
        if peak > self.top:
            self._widen(peak)
        if self.top > 0:
            # Divided first: that gives exactly 1 at the top, and exactly half of it when the range is doubled.
            bins = np.ceil(magnitudes / np.float32(self.top) * np.float32(BINS)).astype(np.int32) - 1
            self.counts += np.bincount(np.maximum(bins, 0), minlength=BINS)
        else:
            self.counts[0] += magnitudes.size

    def _widen(self, peak: float) -> None:
        if self.top == 0:
            self.top = peak
            return
        while self.top < peak:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros(BINS // 2, dtype=np.int64)])
            self.top *= 2

    def peak(self) -> float:
        """The upper edge of the highest bin with something in it."""
        filled = np.nonzero(self.counts)[0]
        return self.top * (int(filled[-1]) + 1) / BINS if filled.size and self.top else 0.0


class PercentileObserver:
    """The value that a percentage of the absolute values do not exceed."""

    def __init__(self, percent: float) -> None:
        self._histogram = Histogram()
        self._percent = percent

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        self._histogram.update(values)

    def range(self) -> float:
        """See ``Observer.range``."""
        counts = self._histogram.counts
        wanted = rank_of(int(counts.sum()), self._percent)
        bin_index = int(np.searchsorted(np.cumsum(counts), wanted))
        return self._histogram.top * (min(bin_index, BINS - 1) + 1) / BINS


class MseObserver:
    """The range with the smallest expected squared error of rounding and clipping together.

    The error of each candidate range is computed from the histogram: within the range each bin's centre is rounded to
    the INT8 grid, with the variance inside a bin negligible; beyond, the distance to the range's end counts. (The
    search over clipping ranges of Sung et al., "Resiliency of Deep Neural Networks under Quantization", 2015, and of
    Banner et al., "Post training 4-bit quantization", 2019, here on the measured distribution.)
    """

    def __init__(self) -> None:
        self._histogram = Histogram()

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        self._histogram.update(values)

    def range(self) -> float:
        """See ``Observer.range``."""
        peak = self._histogram.peak()
        if peak == 0:
            return 0.0
        centres = (np.arange(BINS, dtype=np.float64) + 0.5) * (self._histogram.top / BINS)
        weights = self._histogram.counts.astype(np.float64)
        candidates = peak * np.linspace(_SMALLEST_PART, 1.0, _CANDIDATES)
        errors = [_expected_error(centres, weights, float(limit)) for limit in candidates]
        return float(candidates[int(np.argmin(errors))])


def _expected_error(centres: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], limit: float) -> float:
    scale = limit / QUANT_MAX
    restored = np.minimum(np.round(centres / scale), QUANT_MAX) * scale
    return float(((centres - restored) ** 2 * weights).sum())


def make_observer(config: QuantizePart) -> Observer:
    """The observer that a recipe names."""
    match config.observer:
        case "minmax":
            return MinMaxObserver()
        case "percentile":
            return PercentileObserver(config.percentile)
        case "mse":
            return MseObserver()
