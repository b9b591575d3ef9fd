"""Move each channel of an activation so that it lies around zero, where the layers behind can take that back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.graph.fold_pad import conv_pads
from edgecnn.graph.layer_weights import Float64, LayerWeights, biased_layer, replace_weights
from edgecnn.graph.model import constant
from edgecnn.graph.operators import is_channel_concat
from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.elementwise import append_elementwise, channel_count, is_elementwise

# f(x + c) = f(x) + c for a constant c in each channel.
_PASSES = frozenset({"GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"})

Offsets = dict[ir.Value, Float64]


def centre_channels(model: ir.Model, frames: Iterable[Arrays], exclude: Collection[str] = ()) -> int:
    """Take its middle off every channel, where that changes nothing but how well INT8 represents it.

    The channels of a tensor share one range around zero, so a channel between 4 and 6 has a sixth of the steps that it
    could have. The output of a convolution is moved by its bias, for nothing; what SiLU and its kind give is moved by
    an addition behind it, which compilers join to the same kernel. Additions of two values, concatenations and pools
    pass the move on; convolutions without padding and fully connected layers take it back in their biases. With
    padding the border would no longer be zero: a value that reaches such a layer, or anything else, stays.

    Args:
        model: FP32, shapes inferred; changed in place.
        frames: Feeds, one by one.
        exclude: Names of nodes that must stay as they are.

    Returns:
        How many values were centred.
    """
    layers = {node: weights for node in model.graph if node.name not in exclude and (weights := biased_layer(node))}
    movable = _movable(model, layers)
    sources = {value for value in movable if value.producer() in layers or is_elementwise(value.producer())}
    additions = {value for value in movable if _is_addition(value.producer())}
    offsets = _offsets(model, movable, sources, _middles(model, sources | additions, frames))
    for node, weights in layers.items():
        taken, given = offsets.get(_data(node)), offsets.get(node.outputs[0]) if node.outputs[0] in sources else None
        if taken is None and given is None:
            continue
        groups, _, inputs, _ = weights.weight.shape
        bias = weights.bias.reshape(-1)
        if taken is not None:
            bias = bias + np.einsum("goik,gi->go", weights.weight, taken.reshape(groups, inputs)).reshape(-1)
        if given is not None:
            bias = bias - given
        replace_weights(model.graph, node, weights, weights.weight, bias, "centred")
    for value in sources:
        if value.producer() not in layers and value in offsets:
            append_elementwise(model.graph, value, "Add", -offsets[value], "centred")
    return len(offsets)


def _data(node: ir.Node) -> ir.Value:
    assert node.inputs[0] is not None
    return node.inputs[0]


def _absorbs(node: ir.Node, weights: LayerWeights) -> bool:
    """Whether a constant in an input channel is a constant in the output's: no padding with zeros, channels first."""
    if node.op_type == "Gemm":
        return True
    pads = conv_pads(node, len(weights.shape) - 2)
    return pads is not None and not any(pads)


def _movable(model: ir.Model, layers: Mapping[ir.Node, LayerWeights]) -> set[ir.Value]:
    """Values whose channels may be moved, for all that reads them passes that on or takes it back."""
    movable: set[ir.Value] = set()

    def allows(node: ir.Node, position: int, value: ir.Value) -> bool:
        if node in layers:
            weights = layers[node]
            fits = channel_count(value) == weights.weight.shape[0] * weights.weight.shape[2]
            return position == 0 and fits and _absorbs(node, weights)
        return _passes_on(node) and node.outputs[0] in movable

    for node in reversed(list(model.graph)):
        value = node.outputs[0]
        if len(node.outputs) > 1 or not channel_count(value) or value.is_graph_output():
            continue
        if value.uses() and all(allows(user, position, value) for user, position in value.uses()):
            movable.add(value)
    return movable


def _passes_on(node: ir.Node) -> bool:
    return _is_addition(node) or is_channel_concat(node) or (node.op_type in _PASSES and len(node.outputs) == 1)


def _is_addition(node: ir.Node | None) -> bool:
    if (
        node is None
        or node.op_type != "Add"
        or any(value is None or constant(value) is not None for value in node.inputs)
    ):
        return False
    shapes = [value.shape for value in node.inputs if value is not None]
    return shapes[0] is not None and shapes[0] == shapes[1] and len(shapes[0]) > 1


def _middles(model: ir.Model, values: Collection[ir.Value], frames: Iterable[Arrays]) -> Offsets:
    """Half way between the smallest and the largest value of each channel: the mean over the frames."""
    sums: dict[str, Float64] = {}
    count: dict[str, int] = {}
    for name, array in run_observed(model, {str(value.name) for value in values}, frames):
        channels = array.swapaxes(0, 1).reshape(array.shape[1], -1).astype(np.float64)
        sums[name] = sums.get(name, np.zeros(len(channels))) + (channels.min(axis=1) + channels.max(axis=1)) / 2
        count[name] = count.get(name, 0) + 1
    return {value: sums[str(value.name)] / count[str(value.name)] for value in values if str(value.name) in sums}


def _offsets(
    model: ir.Model, movable: Collection[ir.Value], sources: Collection[ir.Value], middles: Offsets
) -> Offsets:
    """What is taken off each value that moves: its middle, or what its parts make of theirs."""
    offsets: Offsets = {}
    for node in model.graph:
        value = node.outputs[0]
        if value in sources:
            # A branch that only an addition reads serves that: its offset is chosen there.
            if value in middles and not _only_for_addition(value):
                offsets[value] = middles[value]
        elif value in movable and _is_addition(node):
            waiting = next((item for item in node.inputs if item in sources and item not in offsets), None)
            rest = sum((offsets[item] for item in node.inputs if item in offsets), np.zeros(channel_count(value)))
            if waiting is not None and value in middles:
                offsets[waiting] = middles[value] - rest
                rest = middles[value]
            if rest.any():
                offsets[value] = rest
        elif value in movable and _passes_on(node):
            parts = [offsets.get(item, np.zeros(channel_count(item))) for item in node.inputs if item is not None]
            joined = np.concatenate(parts)
            if joined.any():
                offsets[value] = joined
    return offsets


def _only_for_addition(value: ir.Value) -> bool:
    users = [node for node, _ in value.uses()]
    return len(users) == 1 and _is_addition(users[0])
