"""Move one-sided activations so that they use both halves of a signed range."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecnn.graph.fold_pad import conv_pads
from edgecnn.graph.layer_weights import LayerWeights, read_weights, replace_weights
from edgecnn.graph.model import add_initializer, constant
from edgecnn.quantize.place import Placement
from edgecnn.quantize.ranges import Range


def centre_activations(model: ir.Model, placement: Placement, ranges: dict[str, Range]) -> int:
    """Centre the output of every ReLU6 that only layers without padding read.

    TensorRT's INT8 is signed with a zero point of 0, so values between 0 and r use 128 of 255 steps. With half the
    range taken off, ``clip(x, 0, 6) - r/2 = clip(x - r/2, -r/2, 6 - r/2)``, they use all: the left-hand term moves into
    the bias of the layer before, the bounds of the Clip change, and the layer behind adds ``r/2`` times the sum of its
    weights to its bias. No node is added and the function stays the same. With zero padding the border would see r/2
    instead of 0, so depthwise convolutions with padding are left as they are, and so is a Relu, which would have to
    become a Clip: kernels with a fused ReLU are everywhere.

    Args:
        model: FP32; changed in place.
        placement: Made on this model.
        ranges: Of each value of the placement, symmetric; changed for what is centred.

    Returns:
        How many were centred.
    """
    count = 0
    for value in placement.activations:
        clip = value.producer()
        if clip is None or clip.op_type != "Clip" or len(clip.inputs) < 3 or value.is_graph_output():
            continue
        floor, ceiling = constant(clip.inputs[1]), constant(clip.inputs[2])
        before = clip.inputs[0]
        source = before.producer() if before is not None else None
        if floor is None or ceiling is None or floor != 0 or before is None or source is None:
            continue
        made = _linear(source)
        readers = [_absorbing(node, position) for node, position in value.uses()]
        half = np.float32(ranges[str(value.name)].high / 2)
        if made is None or len(before.uses()) != 1 or before.is_graph_output() or None in readers or not half > 0:
            continue
        graph = model.graph
        replace_weights(graph, source, made, made.weight, made.bias.reshape(-1) - half, "centred")
        for node, _ in tuple(value.uses()):
            weights = _linear(node)
            assert weights is not None
            bias = weights.bias.reshape(-1) + half * weights.weight.sum(axis=(2, 3)).reshape(-1)
            replace_weights(graph, node, weights, weights.weight, bias, "uncentred")
        for position, bound in ((1, floor), (2, ceiling)):
            clip.replace_input_with(position, add_initializer(graph, f"{value.name}.bound", bound - half))
        ranges[str(value.name)] = Range(-float(half), float(half))
        count += 1
    return count


def _linear(node: ir.Node) -> LayerWeights | None:
    """A Conv's or Gemm's weights, where it has one bias for each output channel."""
    weights = read_weights(node) if node.op_type in ("Conv", "Gemm") else None
    if weights is None or not weights.has_channel_bias:
        return None
    return weights


def _absorbing(node: ir.Node, position: int) -> LayerWeights | None:
    """The weights of a layer that can take a constant added to its input into its bias."""
    weights = _linear(node) if position == 0 else None
    if weights is None or node.op_type == "Gemm":
        return weights
    pads = conv_pads(node, len(weights.shape) - 2)
    return None if pads is None or any(pads) else weights
