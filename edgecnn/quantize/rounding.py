"""Learned rounding: weights on the INT8 grid that keep each layer's output, not each weight, near to FP32's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.layer_weights import Float64, LayerWeights, read_weights, replace_weights
from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.insert import activation_grid, fake_quantize, scales_of
from edgecnn.quantize.place import Placement, WeightPoint
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.samples import matrix_form, sample_columns
from edgecnn.quantize.schemes import QUANT_MAX, TENSORRT, Scheme

# Samples are multiplied out in blocks of so many numbers, which each layer keeps: larger ones are no quicker.
_BLOCK = 2**17
# The matrix of a layer with more inputs than this would not fit: its weights are rounded to nearest.
_MOST_INPUTS = 2304
# How firmly the refitted weights are held to the FP32 ones, relative to the variance of each input; layers that were
# seen at few places, such as a classifier (once a picture), are held ten times as firmly.
_TIKHONOV = 0.1
_FEW = 4


@dataclass
class _Moments:
    """Sums over samples of a layer's quantized input q (a 1 appended, for the bias) and of its error e = x - q.

    Attributes:
        square: Sum of q q^T, (groups, inputs + 1, inputs + 1); of q alone, its last column, where that is too large.
        cross: Sum of e q^T, alike.
        count: Samples.
        waiting: Samples not yet added: pairs of q and e, (groups, inputs + 1, places).
    """

    square: Any = 0.0
    cross: Any = 0.0
    count: int = 0
    waiting: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] | None = None


@dataclass(frozen=True)
class Rounding:
    """A layer on the INT8 grid.

    Attributes:
        weight: In the form of ``LayerWeights``, every value a whole multiple of its output channel's scale.
        bias: (outputs,), with the mean error of each output taken out.
        scales: (outputs,).
    """

    weight: Float64
    bias: Float64
    scales: npt.NDArray[np.float32]


def find_roundings(
    model: ir.Model,
    placement: Placement,
    ranges: Mapping[str, Range],
    frames: Iterable[Mapping[str, npt.NDArray[Any]]],
    *,
    learned: bool = True,
    scheme: Scheme = TENSORRT,
) -> dict[str, Rounding]:
    """Put the weights of every Conv, Gemm and MatMul on the INT8 grid, and correct the biases.

    For each layer the expected squared error ``E |W x - V q|^2`` is made small, where x is the input in FP32, q the
    same quantized, and V is on the grid. First V without the grid, by least squares, held to W by a ridge: it makes up
    for what is clipped. Then column by column is rounded, and the columns that are still free make up for the error, by
    the inverse of ``H = E q q^T`` (Frantar et al., "GPTQ", 2022, after Hassibi and Stork, "Optimal Brain Surgeon",
    1993), those that carry most first. The bias is a column that is never rounded, so the mean error of each output is
    0 (the bias correction of Nagel et al., 2019). Layers with many inputs, and all where ``learned`` is false, are
    rounded to nearest, with their bias corrected.

    Args:
        model: FP32; left as it is.
        placement: Made on this model.
        ranges: Of each quantized value, by name.
        frames: Calibration feeds.
        learned: Whether to do more than rounding to nearest.
        scheme: The target's rules.

    Returns:
        Roundings by the name of the layer's output. Layers that are not in it (ConvTranspose, a bias that differs from
        row to row) have none.
    """
    layers = {
        str(point.node.outputs[0].name): (point, weights)
        for point in placement.weights
        if (weights := matrix_form(point))
    }
    moments = {key: _Moments(waiting=[]) for key in layers}
    generator = np.random.default_rng(0)
    readers: dict[str, list[str]] = {}
    for key, (point, _) in layers.items():
        assert point.node.inputs[0] is not None
        readers.setdefault(str(point.node.inputs[0].name), []).append(key)
    for name, array in run_observed(model, readers, frames):
        grid = activation_grid(ranges[name], scheme)
        for key in readers[name]:
            point, weights = layers[key]
            exact = sample_columns(array, point.node, weights, generator)
            rounded = fake_quantize(exact, grid)
            _add(moments[key], rounded, exact - rounded, learned and _is_small(weights))
    found: dict[str, Rounding] = {}
    for key, (_, weights) in layers.items():
        whole = learned and _is_small(weights)
        _flush(moments[key], whole)
        found[key] = _rounded(weights, moments.pop(key), whole)
    return found


def apply_rounding(model: ir.Model, point: WeightPoint, rounding: Rounding) -> None:
    """Give a layer its rounded weights and corrected bias."""
    weights = read_weights(point.node)
    assert weights is not None
    replace_weights(model.graph, point.node, weights, rounding.weight, rounding.bias, "rounded")


def _is_small(weights: LayerWeights) -> bool:
    return weights.weight.shape[2] * weights.weight.shape[3] <= _MOST_INPUTS


def _add(moments: _Moments, rounded: npt.NDArray[np.float32], error: npt.NDArray[np.float32], whole: bool) -> None:
    groups, _, places = rounded.shape
    one = np.ones((groups, 1, places), dtype=np.float32)
    assert moments.waiting is not None
    moments.waiting.append((np.concatenate([rounded, one], axis=1), np.concatenate([error, 0 * one], axis=1)))
    moments.count += places
    if sum(sample.size for sample, _ in moments.waiting) >= _BLOCK:
        _flush(moments, whole)


def _flush(moments: _Moments, whole: bool) -> None:
    if not moments.waiting:
        return
    rounded, error = (np.concatenate(parts, axis=2) for parts in zip(*moments.waiting, strict=True))
    right = (rounded if whole else rounded[:, -1:]).swapaxes(1, 2)
    moments.square = moments.square + rounded @ right
    moments.cross = moments.cross + error @ right
    moments.waiting = []


def _rounded(weights: LayerWeights, moments: _Moments, learned: bool) -> Rounding:
    groups, outputs, taken, taps = weights.weight.shape
    kernel = weights.weight.reshape(groups, outputs, -1)
    scales = scales_of(np.abs(kernel).max(axis=2))
    step = scales[..., None].astype(np.float64)
    exact = np.concatenate([kernel, weights.bias.reshape(groups, outputs, 1)], axis=2)
    count = max(moments.count, 1)
    square, cross = (np.asarray(total, dtype=np.float64) / count for total in (moments.square, moments.cross))
    if moments.count == 0 or not (np.isfinite(square).all() and np.isfinite(cross).all()):
        # Nothing was seen; or values above 1e18, as in graphs with weights of 1, whose squares FP32 does not hold.
        found = np.concatenate([_on_grid(kernel, step), exact[..., -1:]], axis=2)
    elif learned:
        firmness = _TIKHONOV if count > _FEW * kernel.shape[2] else 10 * _TIKHONOV
        found = _least_squares(exact, step, square, cross, firmness)
    else:
        nearest = _on_grid(kernel, step)
        # Mean of W x - V q with x = q + e, over the samples.
        mean_error = (kernel - nearest) @ square[:, :-1] + kernel @ cross[:, :-1]
        found = np.concatenate([nearest, exact[..., -1:] + mean_error], axis=2)
    return Rounding(
        found[..., :-1].reshape(groups, outputs, taken, taps), found[..., -1].reshape(-1), scales.reshape(-1)
    )


def _least_squares(exact: Float64, step: Float64, square: Float64, cross: Float64, firmness: float) -> Float64:
    inputs = exact.shape[2] - 1
    power = np.einsum("gii->gi", square)[:, :inputs]
    ridge = firmness * (power + 1e-3 * power.mean(axis=1, keepdims=True)) + np.finfo(np.float32).tiny
    # The bias column is free; its tiny ridge keeps the matrix regular where an input is constant.
    regular = square + np.stack([np.diag(np.append(row, 1e-9)) for row in ridge])
    wanted = exact + np.linalg.solve(regular, (exact @ cross).swapaxes(1, 2)).swapaxes(1, 2)
    order = np.argsort(-power, axis=1, kind="stable")
    order = np.concatenate([order, np.full((len(order), 1), inputs)], axis=1)
    regular = np.take_along_axis(np.take_along_axis(regular, order[:, :, None], axis=1), order[:, None, :], axis=2)
    wanted = np.take_along_axis(wanted, order[:, None, :], axis=2)
    factor = np.linalg.cholesky(np.linalg.inv(regular)).swapaxes(1, 2)
    for column in range(inputs):
        rounded = _on_grid(wanted[..., column : column + 1], step)
        error = (wanted[..., column : column + 1] - rounded) / factor[:, column, column, None, None]
        wanted[..., column + 1 :] -= error * factor[:, None, column, column + 1 :]
        wanted[..., column : column + 1] = rounded
    return np.take_along_axis(wanted, np.argsort(order, axis=1)[:, None, :], axis=2)


def _on_grid(values: Float64, step: Float64) -> Float64:
    return np.clip(np.rint(values / step), -QUANT_MAX, QUANT_MAX) * step
