"""What a layer's inputs are on the average: all that least squares wants to know of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.graph.layer_weights import Float64

# Samples are multiplied out in blocks of so many numbers: larger ones are no quicker.
_BLOCK = 2**19
# Of the median size of an error: up to there an error counts in full.
_USUAL = 2.0
# The median is that of so many samples.
_MOST_SORTED = 256


class Moments:
    """Means over samples of products of a layer's input q, with a 1 appended for the bias, and of its error x - q.

    Samples with a large error count less.

    Args:
        whole: Whether all products are wanted, or those with the appended 1 alone.

    Attributes:
        count: Samples.
    """

    def __init__(self, *, whole: bool) -> None:
        self.count = 0
        self._whole = whole
        self._square: Any = 0.0
        self._cross: Any = 0.0
        self._waiting: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []

    def add(self, exact: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> None:
        """See samples of x and q, (groups, inputs, places)."""
        self._waiting.append((found, exact - found))
        self.count += found.shape[2]
        if sum(sample.size for sample, _ in self._waiting) >= _BLOCK:
            self._flush()

    def means(self) -> tuple[Float64, Float64]:
        """Of q q^T and of (x - q) q^T: (groups, inputs + 1, inputs + 1), or (groups, inputs + 1, 1)."""
        self._flush()
        square, cross = (np.asarray(total, np.float64) for total in (self._square, self._cross))
        weight = square[..., -1:, -1:] if self.count else 1.0
        return square / weight, cross / weight

    def _flush(self) -> None:
        if not self._waiting:
            return
        found, error = (np.concatenate(parts, axis=2) for parts in zip(*self._waiting, strict=True))
        weights = np.sqrt(_weights_of(error))  # one on each side of a product: a square stays symmetric
        row = ((0, 0), (0, 1), (0, 0))
        found, error = np.pad(found, row, constant_values=1) * weights, np.pad(error, row) * weights
        right = (found if self._whole else found[:, -1:]).swapaxes(1, 2)
        self._square = self._square + found @ right
        self._cross = self._cross + error @ right
        self._waiting = []


def _weights_of(error: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What each sample counts, (groups, 1, places): 1, or less in proportion to the size of an error that is not usual.

    An error without bounds, as where a rare peak was clipped, would count as its square, and one picture would decide
    for all. (Huber, "Robust Estimation of a Location Parameter", 1964.)
    """
    sizes = np.linalg.norm(error, axis=1)
    some = np.sort(sizes[:, :: -(-sizes.shape[1] // _MOST_SORTED)], axis=1)
    middle = ((some == 0).sum(axis=1, keepdims=True) + some.shape[1]) // 2  # of those above 0
    limits = _USUAL * np.take_along_axis(some, np.minimum(middle, some.shape[1] - 1), axis=1)
    large = (sizes > limits) & (limits > 0)
    return np.divide(limits, sizes, out=np.ones_like(sizes), where=large).astype(np.float32)[:, None]
