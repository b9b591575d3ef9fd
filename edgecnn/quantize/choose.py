"""One of several ranges for each tensor: the one with which what reads it stays nearest to FP32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.graph.layer_weights import LayerWeights
from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.insert import activation_grid, fake_quantize
from edgecnn.quantize.place import Placement
from edgecnn.quantize.ranges import Grid, Range
from edgecnn.quantize.samples import matrix_form, sample_columns
from edgecnn.quantize.schemes import Scheme


def choose_ranges(
    model: ir.Model,
    placement: Placement,
    candidates: Mapping[str, Sequence[Range]],
    frames: Iterable[Arrays],
    scheme: Scheme,
) -> dict[str, Range]:
    """Quantize one tensor at a time with each of its candidates, and measure the error at the outputs of its readers.

    The tensor's own squared error would always choose the range of least squared error; but a layer weighs its input's
    channels, and its bias takes the error's mean (``find_roundings``), so what counts is the variance of ``W (x - q)``.
    Relative to the variance of ``W x`` it is added up over all readers. What else reads a tensor, such as an addition,
    has no bias to make up for anything: there the squared error itself counts. Everything before the tensor is in FP32.

    Args:
        model: FP32; left as it is.
        placement: Made on this model.
        candidates: For each value to choose for, by name.
        frames: Calibration feeds; a few are enough.
        scheme: The target's rules.

    Returns:
        For each name the best candidate, the first of equals.
    """
    layers = {point.node: weights for point in placement.weights if (weights := matrix_form(point))}
    readers: dict[str, list[_Reader]] = {}
    for value, uses in placement.activations.items():
        if len(found := candidates.get(str(value.name), ())) > 1:
            grids = [activation_grid(each, scheme) for each in found]
            readers[str(value.name)] = [
                _Reader(node, layers.get(node) if position == 0 else None, grids) for node, position in uses
            ]
    generator = np.random.default_rng(0)
    for name, array in run_observed(model, readers, frames) if readers else ():
        for reader in readers[name]:
            reader.update(array, generator)
    chosen = {name: found[0] for name, found in candidates.items()}
    for name, group in readers.items():
        errors = np.sum([reader.errors() for reader in group], axis=0)
        chosen[name] = candidates[name][int(np.argmin(errors))]
    return chosen


class _Reader:
    """What one reader of a tensor makes of it, exactly and with each grid: sums over samples of its outputs."""

    def __init__(self, node: ir.Node, weights: LayerWeights | None, grids: Sequence[Grid]) -> None:
        self._node = node
        self._weights = weights
        self._grids = grids
        self._count = 0
        # Of the exact output, then of the error with each grid: sum for each output channel, and sum of squares.
        self._sums: list[Any] = [0.0] * (len(grids) + 1)
        self._squares = np.zeros(len(grids) + 1)

    def update(self, array: npt.NDArray[Any], generator: np.random.Generator) -> None:
        """Add what a tensor gives."""
        if self._weights is None:
            exact, kernel = array.reshape(1, 1, -1), None
        else:
            exact = sample_columns(array, self._node, self._weights, generator)
            kernel = self._weights.weight.reshape(*self._weights.weight.shape[:2], -1).astype(np.float32)
        self._count += exact.shape[2]
        for index, seen in enumerate((exact, *(exact - fake_quantize(exact, grid) for grid in self._grids))):
            output = (seen if kernel is None else kernel @ seen).astype(np.float64)
            self._sums[index] = self._sums[index] + output.sum(axis=2)
            self._squares[index] += float((output**2).sum())

    def errors(self) -> npt.NDArray[np.float64]:
        """The power of the error with each grid, relative to that of the output."""
        means = np.array([float((np.asarray(total) ** 2).sum()) for total in self._sums]) / max(self._count, 1)
        power = self._squares[0] - means[0]
        errors = self._squares[1:] - (0 if self._weights is None else means[1:])
        return errors / power if power > 0 else errors
