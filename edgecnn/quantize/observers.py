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


# Of a float's 32 bits: all but the sign; those of the fraction that a channel's bins ignore; 2^-30's bin.
_MAGNITUDE, _FRACTION_DROPPED, _FIRST_BIN = 0x7FFFFFFF, 20, (127 - 30) << 3
_OCTAVE_BINS = 48 * 8
_BIN_EDGES = (
    ((np.arange(_OCTAVE_BINS + 1, dtype=np.int32) + _FIRST_BIN) << _FRACTION_DROPPED)
    .view(np.float32)
    .astype(np.float64)
)
_BIN_EDGES[0] = 0
# Ranges down to a thirty-second of the largest value are tried.
_RANGE_STEPS = 40


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


class ChannelHistogram:
    """Counts of absolute values for each channel, in bins of one eighth of an octave, in constant memory.

    A bin's number is the upper bits of the value as a float: exponent and three bits of fraction. So no range has to be
    known beforehand, and counting needs no logarithm. Values below 2^-30 fall into the first bin, those above 2^18 into
    the last.
    """

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def update(self, values: npt.NDArray[Any]) -> None:
        """Count the values of an array (batch, channels, ...)."""
        channels = values.shape[1]
        bits = np.ascontiguousarray(values.swapaxes(0, 1), dtype=np.float32).reshape(channels, -1).view(np.int32)
        bins = ((bits & _MAGNITUDE) >> _FRACTION_DROPPED) - _FIRST_BIN
        bins = np.clip(bins, 0, _OCTAVE_BINS - 1) + np.arange(channels, dtype=np.int32)[:, None] * _OCTAVE_BINS
        counts = np.bincount(bins.reshape(-1), minlength=channels * _OCTAVE_BINS)
        self._counts = counts if not self._counts.size else self._counts + counts

    def peaks(self) -> npt.NDArray[np.float64]:
        """Each channel's largest absolute value, up to a bin's width; 0 where all were 0."""
        counts = self._counts.reshape(-1, _OCTAVE_BINS)
        highest = _OCTAVE_BINS - 1 - np.argmax(counts[:, ::-1] > 0, axis=1)
        return np.where(highest > 0, _BIN_EDGES[highest + 1], 0.0)

    def ranges(self) -> npt.NDArray[np.float64]:
        """The range of each channel at which rounding and clipping to INT8 have the smallest squared error."""
        counts = self._counts.reshape(-1, _OCTAVE_BINS).astype(np.float64)
        centres = (_BIN_EDGES[:-1] + _BIN_EDGES[1:])[None] / 2
        peaks = self.peaks()[:, None]
        best, smallest = peaks.copy(), np.full(peaks.shape, np.inf)
        for step in range(_RANGE_STEPS):
            limit = peaks * 2.0 ** (-step / 8)
            # Rounding errors are uniform; a value below half a step becomes 0.
            rounding = np.minimum(centres**2, (limit / QUANT_MAX) ** 2 / 12)
            errors = np.where(centres <= limit, rounding, (centres - limit) ** 2)
            total = (errors * counts).sum(axis=1, keepdims=True)
            best, smallest = np.where(total < smallest, limit, best), np.minimum(total, smallest)
        return best.reshape(-1)


def make_observer(config: QuantizePart) -> Observer:
    """The observer that a recipe names."""
    match config.observer:
        case "minmax":
            return MinMaxObserver()
        case "percentile":
            return PercentileObserver(config.percentile)
        case "mse":
            return MseObserver()
