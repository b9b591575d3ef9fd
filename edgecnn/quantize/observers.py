"""From the values that a tensor takes to the range that 8 bits shall cover."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.core.percentiles import rank_of
from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.ranges import Grid, Range
from edgecnn.quantize.schemes import QUANT_MAX

BINS = 4096
# Ranges below a sixty-fourth of the largest value are not tried: INT8 has 127 steps, so clipping more than that away
# never pays for a distribution that calibration can see.
_PARTS: list[float] = np.linspace(1 / 64, 1.0, 128).tolist()

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

    def range(self, *, symmetric: bool) -> Range:
        """The values to represent; from 0 to 0 where all were 0.

        Args:
            symmetric: Whether the range reaches as far to both sides of 0.
        """
        ...


class MinMaxObserver:
    """The smallest and the largest value: nothing is clipped."""

    def __init__(self) -> None:
        self._low = self._high = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        self._low = min(self._low, float(values.min(initial=0)))
        self._high = max(self._high, float(values.max(initial=0)))

    def range(self, *, symmetric: bool) -> Range:
        """See ``Observer.range``."""
        found = Range(self._low, self._high)
        return Range(-found.peak, found.peak) if symmetric else found


class Histogram:
    """Counts of values on both sides of 0, in equal bins from there, in constant memory.

    A bin includes its end that is further from 0, and the first one above 0 has the zeros. When a larger value comes
    the range is doubled as often as needed and neighbouring bins are merged, so the counts stay exact for the bins
    there are and no second pass over the pictures is needed.

    Attributes:
        counts: (2, bins): of values below 0 and of the others, from 0 outwards.
        top: The outer edge of the last bins.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((2, BINS), dtype=np.int64)
        self.top = 0.0

    def update(self, values: npt.NDArray[Any]) -> None:
        """Count more values."""
        values = values.reshape(-1)
        magnitudes = np.abs(values)
        peak = float(magnitudes.max(initial=0.0))
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


class PercentileObserver:
    """The values left when each end gives up a part.

    Args:
        percent: Of the values that lie above ``low``, and of those that lie below ``high``; of the absolute values
            where the range is symmetric. So what is one-sided, as after a ReLU, has one range either way.
    """

    def __init__(self, percent: float) -> None:
        self._histogram = Histogram()
        self._percent = percent

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        self._histogram.update(values)

    def range(self, *, symmetric: bool) -> Range:
        """See ``Observer.range``."""
        below, above = self._histogram.counts
        if symmetric:
            peak = self._end(below + above, 0)
            return Range(-peak, peak)
        return Range(-self._end(below, int(above.sum())), self._end(above, int(below.sum())))

    def _end(self, counts: npt.NDArray[np.int64], others: int) -> float:
        """How far from 0 the percentile is on the side with these counts, with so many values on the other side."""
        wanted = rank_of(int(counts.sum()) + others, self._percent) - others
        if wanted <= 0:
            return 0.0
        return self._histogram.edge(min(int(np.searchsorted(np.cumsum(counts), wanted)), BINS - 1) + 1)


class MseObserver:
    """The range with the smallest expected squared error of rounding and clipping together.

    The error of each candidate range is computed from the histogram: within the range each bin's centre is rounded to
    the grid, with the variance inside a bin negligible; beyond, the distance to the range's end counts. (The search
    over clipping ranges of Sung et al., "Resiliency of Deep Neural Networks under Quantization", 2015, and of Banner et
    al., "Post training 4-bit quantization", 2019, here on the measured distribution.) Two ends are drawn in together
    first, then one by one: from the whole range neither would move alone, as the step depends on both.
    """

    def __init__(self) -> None:
        self._histogram = Histogram()

    def update(self, values: npt.NDArray[Any]) -> None:
        """See ``Observer.update``."""
        self._histogram.update(values)

    def range(self, *, symmetric: bool) -> Range:
        """See ``Observer.range``."""
        extent, (below, above) = self._histogram.extent(), self._histogram.counts.astype(np.float64)
        centres = (np.arange(BINS, dtype=np.float64) + 0.5) * (self._histogram.top / BINS)
        if symmetric:
            peak = extent.peak
            return _best([Range(-part * peak, part * peak) for part in _PARTS], centres, below + above, symmetric=True)
        centres, weights = np.concatenate([-centres, centres]), np.concatenate([below, above])
        centres, weights = centres[weights > 0], weights[weights > 0]
        found = _best(
            [Range(part * extent.low, part * extent.high) for part in _PARTS], centres, weights, symmetric=False
        )
        found = _best([Range(found.low, part * extent.high) for part in _PARTS], centres, weights, symmetric=False)
        return _best([Range(part * extent.low, found.high) for part in _PARTS], centres, weights, symmetric=False)


def _best(
    tried: list[Range], centres: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], *, symmetric: bool
) -> Range:
    return min(tried, key=lambda each: _expected_error(centres, weights, each.grid(symmetric=symmetric)))


def _expected_error(centres: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], grid: Grid) -> float:
    if grid.scale == 0:
        return 0.0
    restored = np.clip(np.round(centres / grid.scale), grid.lowest, grid.highest) * grid.scale
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
