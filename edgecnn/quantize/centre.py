"""Move one-sided activations so that they use both halves of a signed range."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecnn.graph.fold_pad import conv_pads
from edgecnn.graph.layer_weights import biased_layer, replace_weights
from edgecnn.graph.model import add_initializer
from edgecnn.graph.operators import clip_bounds
from edgecnn.quantize.elementwise import append_elementwise, channel_count, is_elementwise
from edgecnn.quantize.place import Placement
from edgecnn.quantize.ranges import Range

# What moves an activation by less than this part of its peak is not worth a node.
_WORTH = 0.25


@dataclass(frozen=True)
class Centrable:
    """Values that can be centred, by name.

    Attributes:
        free: Those where no node has to be added.
        costly: Those where it takes a Pad before a convolution with padding, or an addition behind an activation.
    """

    free: tuple[str, ...]
    costly: tuple[str, ...]


def find_centrable(placement: Placement) -> Centrable:
    """Find values that only convolutions and fully connected layers with a bias for each channel read."""
    free: list[str] = []
    costly: list[str] = []
    for value in placement.activations:
        producer = value.producer()
        readers = [_pads(node) if position == 0 else None for node, position in value.uses()]
        if producer is None or value.is_graph_output() or not channel_count(value) or None in readers:
            continue
        by_bounds = producer.op_type == "Clip" and _moved_clip(producer) is not None
        if by_bounds and not any(any(pads or ()) for pads in readers):
            free.append(str(value.name))
        elif by_bounds or biased_layer(producer) is not None or producer.op_type == "Relu" or is_elementwise(producer):
            costly.append(str(value.name))
    return Centrable(tuple(free), tuple(costly))


def centre_activations(model: ir.Model, placement: Placement, ranges: dict[str, Range], chosen: Collection[str]) -> int:
    """Take the middle of its range off a value, and give it back behind the layers that read it.

    TensorRT's INT8 is signed with a zero point of 0, so values between 0 and r use 128 of 255 steps; moved by r/2 they
    use all. The function stays the same. Behind a ReLU6 nothing is added, as ``clip(x, 0, 6) - c`` equals
    ``clip(x - c, -c, 6 - c)``: the first ``c`` moves into the bias of the layer before. Behind another activation an
    addition is, and a convolution's own output is moved by its bias. Each layer that reads the value adds ``c`` times
    the sum of its weights to its bias. If it pads with zeros, a Pad with ``-c`` does that in its place.

    Args:
        model: FP32; changed in place. A placement has to be made anew.
        placement: Made on this model.
        ranges: The two ends for each value of ``chosen``; afterwards what is centred has a symmetric one.
        chosen: Names, of ``find_centrable``.

    Returns:
        How many were centred. A value whose middle is near zero is left.
    """
    count = 0
    for value in [value for value in placement.activations if value.name in chosen]:
        seen = ranges[str(value.name)]
        middle = float(np.float32((seen.low + seen.high) / 2))
        if abs(middle) <= _WORTH * seen.peak:
            continue
        half = (seen.high - seen.low) / 2
        padded: dict[tuple[int, ...], ir.Value] = {}
        for node, _ in tuple(value.uses()):
            weights = biased_layer(node)
            assert weights is not None
            bias = weights.bias.reshape(-1) + middle * weights.weight.sum(axis=(2, 3)).reshape(-1)
            replace_weights(model.graph, node, weights, weights.weight, bias, "uncentred")
            if any(pads := _pads(node) or ()):
                if pads not in padded:
                    padded[pads] = _pad_before(model.graph, node, value, pads, -middle)
                    ranges[str(padded[pads].name)] = Range(-half, half)
                node.replace_input_with(0, padded[pads])
                node.attributes["pads"] = ir.AttrInt64s("pads", [0] * len(pads))
        moved = _move(model.graph, value, middle)
        ranges[str(moved.name)] = Range(-half, half)
        count += 1
    return count


def _move(graph: ir.Graph, value: ir.Value, middle: float) -> ir.Value:
    """Take ``middle`` off a value where it is made; what stands for it then."""
    producer = value.producer()
    assert producer is not None
    if producer.op_type == "Clip" and (moved := _moved_clip(producer)) is not None:
        source, bounds = moved
        _lower_bias(graph, source, middle)
        for position, bound in enumerate(bounds, 1):
            producer.replace_input_with(
                position, add_initializer(graph, f"{value.name}.bound", np.asarray(bound - middle, dtype=np.float32))
            )
    elif biased_layer(producer) is not None:
        _lower_bias(graph, producer, middle)
    else:
        return append_elementwise(graph, value, "Add", np.full(channel_count(value), -middle), "centred")
    return value


def _lower_bias(graph: ir.Graph, layer: ir.Node, middle: float) -> None:
    weights = biased_layer(layer)
    assert weights is not None
    replace_weights(graph, layer, weights, weights.weight, weights.bias.reshape(-1) - middle, "centred")


def _pad_before(graph: ir.Graph, node: ir.Node, value: ir.Value, pads: tuple[int, ...], fill: float) -> ir.Value:
    """``value`` with a border of ``fill``, made just before ``node``."""
    assert value.shape is not None
    spatial = len(pads) // 2
    before, after = (0, 0, *pads[:spatial]), (0, 0, *pads[spatial:])
    name = f"{value.name}.padded{'_'.join(map(str, pads))}"
    amounts = add_initializer(graph, f"{name}.pads", np.asarray(before + after, dtype=np.int64))
    pad = ir.Node(
        "",
        "Pad",
        [value, amounts, add_initializer(graph, f"{name}.fill", np.asarray(fill, dtype=np.float32))],
        name=name,
    )
    sizes = [
        size + low + high if isinstance(size, int) else None
        for size, low, high in zip(value.shape.dims, before, after, strict=True)
    ]
    pad.outputs[0].name, pad.outputs[0].shape, pad.outputs[0].dtype = name, ir.Shape(sizes), ir.DataType.FLOAT
    graph.insert_before(node, pad)
    return pad.outputs[0]


def _moved_clip(clip: ir.Node) -> tuple[ir.Node, tuple[float, float]] | None:
    """The layer that alone feeds a Clip with a floor of 0, and the bounds; None for any other Clip."""
    before = clip.inputs[0]
    source = before.producer() if before is not None else None
    low, high = clip_bounds(clip)
    if low != 0 or high is None or source is None or before is None:
        return None
    if len(before.uses()) != 1 or before.is_graph_output() or biased_layer(source) is None:
        return None
    return source, (low, high)


def _pads(node: ir.Node) -> tuple[int, ...] | None:
    """The padding of a layer that can take a constant added to its input into its bias; None for all else."""
    weights = biased_layer(node)
    if weights is None:
        return None
    return conv_pads(node, len(weights.shape) - 2) if node.op_type == "Conv" else ()
