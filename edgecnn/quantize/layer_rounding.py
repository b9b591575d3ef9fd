"""Least squares on the INT8 grid, for one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecnn.graph.layer_weights import Float64, LayerWeights
from edgecnn.graph.sparse_weights import is_two_of_four
from edgecnn.quantize.insert import scales_of
from edgecnn.quantize.moments import Moments
from edgecnn.quantize.schemes import QUANT_MAX

# The matrix of a layer with more inputs than this would not fit: its weights are rounded to nearest.
_MOST_INPUTS = 2304
_OUTPUTS_AT_ONCE = 256
# How firmly the refitted weights are held to the FP32 ones, relative to the variance of each input. What earlier layers
# lose most of is what no later one reads, such as rare peaks that were clipped: making up for that would cost the rest.
_FIRMNESS = 30.0
# The same for what is rounded column by column.
_DAMPING = 0.1


@dataclass(frozen=True)
class Rounding:
    """A layer on the INT8 grid.

    Attributes:
        steps: Weights in the form of ``LayerWeights``, as multiples of their output channel's scale.
        bias: (outputs,), with the mean error of each output taken out.
        scales: (outputs,).
    """

    steps: npt.NDArray[np.int8]
    bias: Float64
    scales: npt.NDArray[np.float32]

    @property
    def weight(self) -> Float64:
        """What the steps stand for, in the form of ``LayerWeights``."""
        return self.steps * self.scales.astype(np.float64).reshape(*self.steps.shape[:2], 1, 1)


def is_small(weights: LayerWeights) -> bool:
    """Whether a layer has few enough inputs for learned rounding."""
    return weights.weight.shape[2] * weights.weight.shape[3] <= _MOST_INPUTS


def round_layer(weights: LayerWeights, seen: Moments, *, learned: bool) -> Rounding:
    """Put a layer on the grid; see ``find_roundings``.

    Args:
        weights: The layer's, in FP32.
        seen: Moments of its inputs.
        learned: Whether to do more than rounding to nearest; then ``seen`` are whole.
    """
    groups, outputs, taken, taps = weights.weight.shape
    kernel = weights.weight.reshape(groups, outputs, -1)
    scales = scales_of(np.maximum(kernel.max(axis=2), -kernel.min(axis=2)))
    step = scales[..., None].astype(np.float64)
    square, cross = seen.means()
    # Nothing was seen; or values above 1e18, as in graphs with weights of 1, whose squares FP32 does not hold.
    blind = not seen.count or not (np.isfinite(square).all() and np.isfinite(cross).all())
    if learned and not blind:
        exact = np.concatenate([kernel, weights.bias.reshape(groups, outputs, 1)], axis=2)
        # Of 2:4 sparse weights those that are 0 stay so; the others make up for them (as in Frantar and Alistarh,
        # "SparseGPT", 2023).
        kept = kernel != 0 if is_two_of_four(weights.weight) else np.ones(kernel.shape, dtype=bool)
        found = _learned(_refitted(exact, square, cross), step, square, kept)
        steps, bias = _steps(found[..., :-1], step).astype(np.int8), found[..., -1]
    else:
        steps, bias = np.empty(kernel.shape, dtype=np.int8), weights.bias.reshape(groups, outputs).copy()
        # A fully connected layer can have 100 million weights: no second array of that size is made on the way.
        for part in (np.s_[:, first : first + _OUTPUTS_AT_ONCE] for first in range(0, outputs, _OUTPUTS_AT_ONCE)):
            whole = _steps(kernel[part], step[part])
            steps[part] = whole
            if not blind:  # mean of W x - V q with x = q + e, over the samples
                lost = (kernel[part] - whole * step[part]) @ square[:, :-1] + kernel[part] @ cross[:, :-1]
                bias[part] += lost[..., -1]
    return Rounding(steps.reshape(groups, outputs, taken, taps), bias.reshape(-1), scales.reshape(-1))


def _regular(square: Float64, firmness: float) -> Float64:
    inputs = square.shape[2] - 1
    power = np.einsum("gii->gi", square)[:, :inputs]
    ridge = firmness * (power + 1e-3 * power.mean(axis=1, keepdims=True)) + np.finfo(np.float32).tiny
    # The bias column is free; its tiny ridge keeps the matrix regular where an input is constant.
    return square + np.stack([np.diag(np.append(row, 1e-9)) for row in ridge])


def _refitted(exact: Float64, square: Float64, cross: Float64) -> Float64:
    """Weights for the quantized inputs, not on the grid."""
    return exact + np.linalg.solve(_regular(square, _FIRMNESS), (exact @ cross).swapaxes(1, 2)).swapaxes(1, 2)


def _learned(wanted: Float64, step: Float64, square: Float64, kept: npt.NDArray[np.bool_]) -> Float64:
    """Round column by column; what is not kept becomes 0."""
    inputs = wanted.shape[2] - 1
    regular = _regular(square, _DAMPING)
    order = np.argsort(-np.einsum("gii->gi", square)[:, :inputs], axis=1, kind="stable")
    order = np.concatenate([order, np.full((len(order), 1), inputs)], axis=1)
    regular = np.take_along_axis(np.take_along_axis(regular, order[:, :, None], axis=1), order[:, None, :], axis=2)
    wanted = np.take_along_axis(wanted, order[:, None, :], axis=2)
    kept = np.take_along_axis(kept, order[:, None, :-1], axis=2)
    factor = np.linalg.cholesky(np.linalg.inv(regular)).swapaxes(1, 2)
    for column in range(inputs):
        rounded = _steps(wanted[..., column : column + 1], step) * step * kept[..., column : column + 1]
        error = (wanted[..., column : column + 1] - rounded) / factor[:, column, column, None, None]
        wanted[..., column + 1 :] -= error * factor[:, None, column, column + 1 :]
        wanted[..., column : column + 1] = rounded
    return np.take_along_axis(wanted, np.argsort(order, axis=1)[:, None, :], axis=2)


def _steps(values: Float64, step: Float64) -> Float64:
    return np.clip(np.rint(values / step), -QUANT_MAX, QUANT_MAX)
