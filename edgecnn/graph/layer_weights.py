"""The weights of the four linear layers in one form, whatever the operator stores them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.model import add_initializer, constant

LINEAR_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerWeights:
    """A layer ``y[o] = sum over i and k of weight[g, o, i, k] x[i, ...] + bias[o]`` within each group g of channels.

    Attributes:
        weight: (groups, outputs of a group, inputs of a group, taps); one tap for a matrix product.
        bias: (outputs,), or for a Gemm what broadcasts to (rows, outputs). Alpha and beta of a Gemm are multiplied in.
        shape: Of the weights in the graph.
        dtype: Of the weights in the graph.
        inputs_first: Whether the graph's weights have the axis of inputs before that of outputs.
    """

    weight: Float64
    bias: Float64
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    inputs_first: bool

    @property
    def has_channel_bias(self) -> bool:
        """Whether there is one bias for each output channel, and not one for each row as well."""
        return self.bias.size == self.weight.shape[0] * self.weight.shape[1]

    def stored(self, weight: Float64) -> Float64:
        """Weights of this layer's form as the graph stores them."""
        return (weight.swapaxes(1, 2) if self.inputs_first else weight).reshape(self.shape)


def is_linear_layer(node: ir.Node) -> bool:
    """Whether a node is one of the four operators."""
    return node.op_type in LINEAR_LAYERS and node.domain == ""


def read_weights(layer: ir.Node) -> LayerWeights | None:
    """The weights of a linear layer, or None where weights or bias are computed at run time or of another shape."""
    weight = constant(layer.inputs[1])
    biased = len(layer.inputs) > 2 and layer.inputs[2] is not None
    bias = constant(layer.inputs[2]) if biased else np.zeros(1)
    if weight is None or bias is None or weight.ndim < 2 or (layer.op_type == "MatMul" and weight.ndim > 2):
        return None
    groups = attribute_ints(layer, "group", 1)[0]
    inputs_first = layer.op_type != "Conv" and attribute_ints(layer, "transB", 0)[0] == 0
    form = weight.astype(np.float64).reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    form = form.swapaxes(1, 2) if inputs_first else form
    alpha = _float(layer, "alpha")
    # A single bias stands for all outputs, and what differs from row to row has more numbers than there are outputs.
    bias = np.broadcast_to(bias, np.broadcast_shapes(bias.shape, (groups * form.shape[1],)))
    return LayerWeights(
        weight=form if alpha == 1 else form * alpha,  # no second array of a hundred million weights
        bias=bias.astype(np.float64) * _float(layer, "beta"),
        shape=weight.shape,
        dtype=weight.dtype,
        inputs_first=inputs_first,
    )


def biased_layer(node: ir.Node) -> LayerWeights | None:
    """The weights of a Conv or Gemm on a computed input, where it has one bias for each output channel.

    A Gemm that transposes its input has none: its rows would be channels.
    """
    if node.op_type not in ("Conv", "Gemm") or node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return None
    if attribute_ints(node, "transA", 0)[0]:
        return None
    weights = read_weights(node)
    return weights if weights is not None and weights.has_channel_bias else None


def replace_weights(
    graph: ir.Graph, layer: ir.Node, weights: LayerWeights, weight: Float64, bias: Float64, suffix: str
) -> None:
    """Give a layer other weights of the same form, and a bias for each output channel; constants are made anew.

    Args:
        graph: The layer's.
        layer: Conv, ConvTranspose or Gemm; a MatMul becomes a Gemm where its bias is not zero.
        weights: As ``read_weights`` gave them.
        weight: In their form.
        bias: (outputs,).
        suffix: For the names of the new constants.
    """
    name = layer.name or str(layer.outputs[0].name)
    before = [value for value in layer.inputs[1:] if value is not None]
    stored = add_initializer(graph, f"{name}.{suffix}", weights.stored(weight).astype(weights.dtype))
    layer.replace_input_with(1, stored)
    for attribute in ("alpha", "beta"):
        layer.attributes.pop(attribute, None)
    if bias.any() or len(layer.inputs) > 2:
        if layer.op_type == "MatMul":
            layer.op_type = "Gemm"
        layer.resize_inputs(3)
        layer.replace_input_with(2, add_initializer(graph, f"{name}.{suffix}_bias", bias.astype(weights.dtype)))
    for value in before:  # what was moved several times would no longer fit into the 2 GB of a file
        if not value.uses() and value.is_initializer():
            graph.initializers.pop(str(value.name))


def attribute_ints(node: ir.Node, name: str, default: int) -> tuple[int, ...]:
    """An attribute of one or several whole numbers, or the default."""
    attribute = node.attributes.get(name)
    if attribute is None:
        return (default,)
    return (attribute.as_int(),) if attribute.type == ir.AttributeType.INT else tuple(attribute.as_ints())


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """An attribute of whatever kind, or the default."""
    return node.attributes[name].value if name in node.attributes else default


def for_each_axis(node: ir.Node, name: str, axes: int) -> tuple[int, ...]:
    """A Conv's strides or dilations, one for each spatial axis; 1 where there is no such attribute."""
    values = attribute_ints(node, name, 1)
    return values if len(values) == axes else (values[0],) * axes


def _float(node: ir.Node, name: str) -> float:
    return node.attributes[name].as_float() if name in node.attributes else 1.0
