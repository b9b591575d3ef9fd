"""What is kept of values that a tensor takes: counts in constant memory for any number of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import QUANT_MAX

BINS = 4096

# Of a float's 32 bits: all but the sign; those of the fraction that a channel's bins ignore; 2^-30's bin.
_MAGNITUDE, _FRACTION_DROPPED, _FIRST_BIN = 0x7FFFFFFF, 20, (127 - 30) << 3
_OCTAVE_BINS = 48 * 8
_BIN_EDGES = (
    ((np.arange(_OCTAVE_BINS + 1, dtype=np.int32) + _FIRST_BIN) << _FRACTION_DROPPED)
    .view(np.float32)
    .astype(np.float64)
)
_BIN_EDGES[0] = 0
# Of each array so many values are counted, evenly spread, and those of all its pictures make millions.
_MOST_COUNTED = 2**17
# Ranges down to a thirty-second of the largest value are tried.
_RANGE_STEPS = 40


class Extremes:
    """The smallest and the largest value, and 0 where all were on one side of it.

    Attributes:
        low: The smallest.
        high: The largest.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """See more values."""
        self.low = min(self.low, float(values.min(initial=0)))
        self.high = max(self.high, float(values.max(initial=0)))


class Histogram(Extremes):
    """Counts of values on both sides of 0, in equal bins from there, in constant memory; of large arrays a part.

    A bin includes its end that is further from 0, and the first one above 0 has the zeros. When a larger value comes
    the range is doubled as often as needed and neighbouring bins are merged, so the counts stay exact for the bins
    there are and no second pass over the pictures is needed.

    Attributes:
        low: See ``Extremes``.
        high: See ``Extremes``.
        counts: (2, bins): of values below 0 and of the others, from 0 outwards.
        top: The outer edge of the last bins.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts = np.zeros((2, BINS), dtype=np.int64)
        self.top = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """Count more values."""
        super().update(values)
        values = _thinned(values.reshape(1, -1))[0]
        magnitudes = np.abs(values)
        peak = max(-self.low, self.high)
        if peak > self.top:
            self._widen(peak)
        if self.top > 0:
            # Divided first: that gives exactly 1 at the top, and exactly half of it when the range is doubled.
            bins = np.ceil(magnitudes / np.float32(self.top) * np.float32(BINS)).astype(np.int32) - 1
            bins = np.maximum(bins, 0) + np.where(values < 0, np.int32(0), np.int32(BINS))
            self.counts += np.bincount(bins, minlength=2 * BINS).reshape(2, BINS)
        else:
            self.counts[1, 0] += magnitudes.size

    def _widen(self, peak: float) -> None:
        if self.top == 0:
            self.top = peak
            return
        while self.top < peak:
            merged = self.counts.reshape(2, -1, 2).sum(axis=2)
            self.counts = np.concatenate([merged, np.zeros_like(merged)], axis=1)
            self.top *= 2

    def edge(self, bins: int) -> float:
        """The outer edge of so many bins from 0."""
        return self.top * bins / BINS

    def extent(self) -> Range:
        """All bins with something in them."""
        filled = [int(np.max(np.nonzero(side)[0], initial=-1)) + 1 for side in self.counts]
        return Range(-self.edge(filled[0]), self.edge(filled[1]))


def _thinned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A few of each row's values. An odd step does not keep to the same columns of a picture."""
    return values[:, :: (values.size // _MOST_COUNTED) | 1]


class ChannelHistogram:
    """Counts of absolute values for each channel, in bins of one eighth of an octave, in constant memory.

    A bin's number is the upper bits of the value as a float: exponent and three bits of fraction. So no range has to be
    known beforehand, and counting needs no logarithm. Values below 2^-30 fall into the first bin, those above 2^18 into
    the last.
    """

    def __init__(self) -> None:
        self._counts: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._peaks: npt.NDArray[np.float64] = np.zeros(0)

    def update(self, values: npt.NDArray[Any]) -> None:
        """Count the values of an array (batch, channels, ...)."""
        channels = values.shape[1]
        by_channel = values.swapaxes(0, 1).reshape(channels, -1)
        peaks = np.maximum(by_channel.max(axis=1), -by_channel.min(axis=1)).astype(np.float64)
        bits = np.ascontiguousarray(_thinned(by_channel), dtype=np.float32).view(np.int32)
        bins = ((bits & _MAGNITUDE) >> _FRACTION_DROPPED) - _FIRST_BIN
        bins = np.clip(bins, 0, _OCTAVE_BINS - 1) + np.arange(channels, dtype=np.int32)[:, None] * _OCTAVE_BINS
        counts = np.bincount(bins.reshape(-1), minlength=channels * _OCTAVE_BINS)
        first = not self._counts.size
        self._counts = counts if first else self._counts + counts
        self._peaks = peaks if first else np.maximum(self._peaks, peaks)

    def peaks(self) -> npt.NDArray[np.float64]:
        """Each channel's largest absolute value, up to the last bin's end; 0 below the first one's."""
        return np.where(self._peaks < _BIN_EDGES[1], 0.0, np.minimum(self._peaks, _BIN_EDGES[-1]))

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
