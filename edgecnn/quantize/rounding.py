"""Learned rounding: weights on the INT8 grid that keep each layer's output, not each weight, near to FP32's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.graph.layer_weights import LayerWeights, read_weights, replace_weights
from edgecnn.quantize.insert import activation_grid, fake_quantize, insert_qdq
from edgecnn.quantize.layer_rounding import Rounding, is_small, round_layer
from edgecnn.quantize.moments import Moments
from edgecnn.quantize.partial import read_by
from edgecnn.quantize.place import Placement, WeightPoint
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.samples import PLACES, SAMPLES, matrix_form, sample_columns
from edgecnn.quantize.schemes import TENSORRT, Scheme
from edgecnn.quantize.side_by_side import SideBySide

# Frames are kept, or what the network made of them so far: so many, and their inputs take no more than this.
_MOST_FRAMES = 100
_MOST_BYTES = 128 << 20


def frames_to_round(model: ir.Model) -> int:
    """How many frames rounding may have: they stay in memory."""
    sizes = [value.shape for value in model.graph.inputs if value.name not in model.graph.initializers]
    numbers = sum(int(np.prod([size for size in shape or () if isinstance(size, int)])) for shape in sizes)
    return min(_MOST_FRAMES, max(1, _MOST_BYTES // (4 * numbers)))


def find_roundings(
    model: ir.Model,
    placement: Placement,
    ranges: Mapping[str, Range],
    frames: Iterable[Arrays],
    *,
    learned: bool = True,
    scheme: Scheme = TENSORRT,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Rounding]:
    """Put the weights of every Conv, Gemm and MatMul on the INT8 grid, and correct the biases.

    Layers are rounded in the graph's order. For each the expected squared error ``E |W x - V q|^2`` is made small,
    where x is its input in the FP32 network, q that in the quantized network, with all layers before it rounded, and V
    is on the grid. First V without the grid, by least squares, held to W by a ridge: it makes up for what
    the layers before have done. Then column by column is rounded, and the columns that are still free make
    up for the error, by the inverse of ``H = E q q^T`` (Frantar et al., "GPTQ", 2022, after Hassibi and Stork, "Optimal
    Brain Surgeon", 1993; the asymmetric inputs are those of Li et al., "GPTAQ", 2025), those that carry most first. The
    bias is a column that is never rounded, so it takes the mean error of each output (the bias correction of Nagel et
    al., 2019). Layers with many inputs, and all where ``learned`` is false, are rounded to nearest, with their bias
    corrected.

    Args:
        model: FP32; left as it is.
        placement: Made on this model.
        ranges: Of each quantized value, by name.
        frames: Calibration feeds; all are kept.
        learned: Whether to do more than rounding to nearest.
        scheme: The target's rules.
        advance: Called after each layer.

    Returns:
        Roundings by the name of the layer's output. Layers that are not in it (ConvTranspose, a bias that differs from
        row to row) have none.
    """
    layers = [
        _Layer(point, learned and is_small(weights)) for point in placement.weights if (weights := matrix_form(point))
    ]
    waves, networks, twins = [layers], [model], dict[ir.Node, ir.Node]()
    if learned:
        waves = _waves(model, layers)
        quantized, twins = _with_quantized_inputs(model, placement, ranges, scheme)
        networks.append(quantized)
    pair = SideBySide(networks, list(frames))
    places = max(PLACES, -(-SAMPLES // max(pair.frames, 1))) if learned else PLACES
    found: dict[str, Rounding] = {}
    for index, wave in enumerate(waves):
        later = {layer.input for others in waves[index + 1 :] for layer in others}
        weights = [layer.weights for layer in wave]
        moments = [Moments(whole=layer.learned) for layer in wave]
        grids = [activation_grid(ranges[layer.input], scheme) for layer in wave]
        for frame, arrays in enumerate(pair.observe({layer.input for layer in wave}, later)):
            for layer, form, grid, seen in zip(wave, weights, grids, moments, strict=True):
                # The same places in both networks, or in the one.
                columns = [
                    sample_columns(each[layer.input], layer.node, form, np.random.default_rng(frame), places)
                    for each in arrays
                ]
                # What the range clips is given up: it was chosen so that what stands behind does not need it.
                exact = np.clip(columns[0], grid.lowest * grid.scale, grid.highest * grid.scale)
                seen.add(exact, fake_quantize(columns[-1], grid))
        for layer, form, seen in zip(wave, weights, moments, strict=True):
            found[layer.output] = round_layer(form, seen, learned=layer.learned)
            if layer.node in twins:
                _apply(networks[-1], twins[layer.node], found[layer.output])
            advance()
    return found


def apply_roundings(
    model: ir.Model, placement: Placement, roundings: Mapping[str, Rounding]
) -> dict[str, npt.NDArray[np.float32]]:
    """Give layers their rounded weights and corrected biases.

    Args:
        model: FP32; changed in place.
        placement: Made on this model.
        roundings: As ``find_roundings`` gives them; layers without one stay.

    Returns:
        The scales of those weights, by the name of the layer's output.
    """
    scales: dict[str, npt.NDArray[np.float32]] = {}
    for point in placement.weights:
        name = str(point.node.outputs[0].name)
        if (rounding := roundings.get(name)) is not None:
            _apply(model, point.node, rounding)
            scales[name] = rounding.scales
    return scales


def _apply(model: ir.Model, layer: ir.Node, rounding: Rounding) -> None:
    weights = read_weights(layer)
    assert weights is not None
    replace_weights(model.graph, layer, weights, rounding.weight, rounding.bias, "rounded")


@dataclass(frozen=True)
class _Layer:
    """A layer to round.

    Attributes:
        point: In the FP32 network.
        learned: Whether it is to be rounded by more than to nearest.
    """

    point: WeightPoint
    learned: bool

    @property
    def node(self) -> ir.Node:
        return self.point.node

    @property
    def weights(self) -> LayerWeights:
        """Read anew each time: those of all layers together, in float64, are not to be kept."""
        found = matrix_form(self.point)
        assert found is not None
        return found

    @property
    def input(self) -> str:
        assert self.node.inputs[0] is not None
        return str(self.node.inputs[0].name)

    @property
    def output(self) -> str:
        return str(self.node.outputs[0].name)


def _with_quantized_inputs(
    model: ir.Model, placement: Placement, ranges: Mapping[str, Range], scheme: Scheme
) -> tuple[ir.Model, dict[ir.Node, ir.Node]]:
    """A copy with Q/DQ at the activations, weights still in FP32; its nodes by those of the model."""
    copy = ir.from_proto(ir.to_proto(model))
    twins = dict(zip(model.graph, copy.graph, strict=True))
    values = {value.name: value for value in copy.graph.inputs}
    values |= {value.name: value for node in copy.graph for value in node.outputs}
    activations = {
        values[value.name]: [(twins[node], position) for node, position in uses]
        for value, uses in placement.activations.items()
    }
    insert_qdq(copy, Placement(activations, [], {}), ranges, {}, scheme)
    return copy, twins


def _waves(model: ir.Model, layers: Sequence[_Layer]) -> list[list[_Layer]]:
    """Layers one behind the other; those of a wave stand behind none of the same or a later one."""
    by_node = {layer.node: layer for layer in layers}
    depth: dict[ir.Value | None, int] = {}
    waves: dict[int, list[_Layer]] = {}
    for node in model.graph:
        deepest = max((depth.get(value, 0) for value in read_by(node)), default=0)
        if node in by_node:
            waves.setdefault(deepest, []).append(by_node[node])
            deepest += 1
        depth |= dict.fromkeys(node.outputs, deepest)
    return [waves[number] for number in sorted(waves)]
