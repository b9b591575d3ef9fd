"""Which channels of which values may be scaled together without changing what a network computes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.layer_weights import LayerWeights, read_weights
from edgecnn.graph.model import constant
from edgecnn.graph.operators import clip_bounds, is_channel_concat, rank
from edgecnn.quantize.elementwise import channel_count, is_elementwise
from edgecnn.quantize.movement import gather, is_movement, move, spread

# f(s x) = s f(x) for s > 0, channel by channel.
_HOMOGENEOUS = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "PRelu",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "Identity",
        "Dropout",
    }
)
_FIXED = 0

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """A layer whose weights can take up the scales of its inputs and outputs.

    Attributes:
        node: Conv, Gemm or MatMul.
        weights: What it multiplies by.
        inputs: The scale of each input channel, as a number of ``ChannelScales``.
        outputs: The scale of each output channel.
    """

    node: ir.Node
    weights: LayerWeights
    inputs: Ids
    outputs: Ids

    @property
    def mixes(self) -> bool:
        """Whether an output channel sums over several input channels; a depthwise convolution does not."""
        return self.weights.weight.shape[2] > 1


@dataclass(frozen=True)
class ChannelScales:
    """The free scales of a network.

    Attributes:
        count: How many numbers there are; number 0 is the scale that must stay 1.
        layers: All layers that take part.
        ceilings: Clips with a floor of 0, by node: their channels' numbers and the ceiling. Such a channel may only be
            scaled up, since the ceiling then cuts off less than before what it should cut.
        sources: What elementwise operators give that scales do not pass through, such as SiLU, with its channels'
            numbers: a multiplication has to be added behind them.
        added: What additions take, with its channels' numbers.
    """

    count: int
    layers: tuple[Layer, ...]
    ceilings: dict[ir.Node, tuple[Ids, float]]
    sources: dict[ir.Value, Ids]
    added: dict[ir.Value, Ids]


class _Union:
    """Numbers for channels, with equality (union-find)."""

    def __init__(self) -> None:
        self._parent = [_FIXED]

    def new(self, count: int) -> Ids:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def equate(self, left: Ids, right: Ids) -> None:
        for first, second in zip(left.tolist(), right.tolist(), strict=True):
            first, second = sorted((self.find(first), self.find(second)))
            self._parent[second] = first  # the fixed scale is the smallest number, and wins

    def roots(self, ids: Ids) -> Ids:
        return np.asarray([self.find(number) for number in ids.tolist()], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._parent)


def free_scales(model: ir.Model, exclude: Collection[str] = (), *, behind_elementwise: bool = True) -> ChannelScales:
    """Find the channels that can be scaled.

    A layer's output channel gets a number of its own; positively homogeneous operators and those that only move numbers
    pass it on, additions equate the
    numbers of what they add, and everything else (Sigmoid, a graph output, a layer of ``exclude``) fixes it at 1. What
    an elementwise operator of that kind gives can be scaled again.

    Args:
        model: Shapes inferred.
        exclude: Names of nodes that must stay as they are.
        behind_elementwise: Whether multiplications may be added.
    """
    union = _Union()
    ids: dict[ir.Value, Ids] = {}
    layers: list[tuple[ir.Node, LayerWeights, Ids, Ids]] = []
    ceilings: dict[ir.Node, tuple[Ids, float]] = {}
    sources: dict[ir.Value, Ids] = {}
    added: list[ir.Value] = []
    places: dict[ir.Value, Ids] = {}  # on their way through a shuffle, channels do not lie along one axis

    def of(value: ir.Value) -> Ids:
        if value not in ids:
            fix(value)
            ids[value] = np.zeros(max(channel_count(value), 1), dtype=np.int64)
        return ids[value]

    def fix(value: ir.Value | None) -> None:
        for found in (ids, places):
            if value in found:
                numbers = np.unique(found[value])
                union.equate(numbers, np.zeros_like(numbers))

    for node in model.graph:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            return ChannelScales(1, (), {}, {}, {})  # a subgraph reads values that are not among its node's inputs
        output = node.outputs[0]
        weights = _layer_weights(node) if node.name not in exclude else None
        data = [value for value in node.inputs if value is not None and constant(value) is None]
        if weights is not None:
            groups, made, taken, _ = weights.weight.shape
            assert node.inputs[0] is not None
            if of(node.inputs[0]).size == groups * taken:
                ids[output] = union.new(groups * made)
                layers.append((node, weights, of(node.inputs[0]), ids[output]))
                continue
        elif node.op_type == "Clip" and data and (ceiling := _ceiling(node)) is not None:
            ids[output] = of(data[0])
            ceilings[node] = (ids[output], ceiling)
            continue
        elif len(data) == 1 and _passes_on(node, data[0]):
            ids[output] = of(data[0])
            continue
        elif node.op_type in ("Add", "Sub", "Sum") and len(data) == len(node.inputs) and _alike(data):
            for other in data[1:]:
                union.equate(of(data[0]), of(other))
            ids[output] = of(data[0])
            added += data
            continue
        elif is_movement(node):
            numbers_in = places[data[0]] if data[0] in places else spread(of(data[0]), data[0])
            for value, numbers in zip(node.outputs, move(node, numbers_in, model.opset_imports[""]), strict=True):
                places[value] = numbers
                if (channels := gather(numbers)) is not None:
                    ids[value] = channels
            continue
        elif is_channel_concat(node):
            joined = (
                np.concatenate([of(value) for value in data])
                if len(data) == len(node.inputs)
                else np.zeros(0, dtype=np.int64)
            )
            if joined.size == channel_count(output):
                ids[output] = joined
                continue
        for value in node.inputs:
            fix(value)
        if behind_elementwise and is_elementwise(node) and channel_count(output):
            ids[output] = sources[output] = union.new(channel_count(output))
    for value in model.graph.outputs:
        fix(value)
    return ChannelScales(
        len(union),
        tuple(Layer(node, weights, union.roots(taken), union.roots(made)) for node, weights, taken, made in layers),
        {node: (union.roots(numbers), ceiling) for node, (numbers, ceiling) in ceilings.items()},
        {value: union.roots(numbers) for value, numbers in sources.items()},
        {value: union.roots(ids[value]) for value in added},
    )


def _layer_weights(node: ir.Node) -> LayerWeights | None:
    """The weights of a layer with a channel axis of 1 and a bias for each channel."""
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return None
    if node.op_type != "Conv" and rank(node.inputs[0]) != 2:
        return None
    if "transA" in node.attributes and node.attributes["transA"].as_int():
        return None
    weights = read_weights(node)
    if weights is None or not weights.has_channel_bias:
        return None
    return weights


def _ceiling(node: ir.Node) -> float | None:
    """The upper bound of a Clip whose lower one is 0."""
    low, high = clip_bounds(node)
    return high if low == 0 and high is not None and high > 0 else None


def _passes_on(node: ir.Node, data: ir.Value) -> bool:
    """Whether a node with one computed input scales with it, channel by channel."""
    same = channel_count(data) == channel_count(node.outputs[0]) > 0
    match node.op_type:
        case "Pad":
            fill = node.inputs[2] if len(node.inputs) > 2 else None
            filled = constant(fill) if fill is not None else np.zeros(1)
            return same and filled is not None and not filled.any()
        case "Resize":
            return same
        case "ReduceMean":
            axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
            named = axes.tolist() if axes is not None else list(_ints(node, "axes"))
            return same and bool(named) and all(axis % rank(data) > 1 for axis in named)
        case "Flatten" | "Reshape" | "Squeeze":
            # From (N, C, 1, 1) to (N, C).
            shape = data.shape.dims[2:] if data.shape is not None else ()
            return same and rank(node.outputs[0]) == 2 and all(size == 1 for size in shape)
        case "PRelu":
            return same and rank(data) == 4
        case operator:
            return same and operator in _HOMOGENEOUS and len(node.outputs) == 1


def _ints(node: ir.Node, name: str) -> tuple[int, ...]:
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else ()


def _alike(values: list[ir.Value]) -> bool:
    return all(value.shape is not None and value.shape == values[0].shape for value in values) and rank(values[0]) > 1
