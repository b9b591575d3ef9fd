"""A row a layer: what it makes, how many numbers it holds, how much it multiplies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edgecnn.graph.embed_preprocess import preprocess_nodes
from edgecnn.graph.layer_weights import LINEAR_LAYERS
from edgecnn.graph.model import constant

_TRANSPARENT = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Identity"})


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: The node's name.
        op_type: ONNX operator.
        output_shape: Of the first output; a name or None where a size is not known.
        weights: Learnt weights; for BatchNorm its gains.
        biases: Learnt biases; for BatchNorm its shifts.
        statistics: Running means and variances: not learnt, not counted as parameters.
        macs: Multiply-accumulate operations for one input, or None where shapes are not known.
    """

    name: str
    op_type: str
    output_shape: tuple[int | str | None, ...] | None
    weights: int
    biases: int
    statistics: int
    macs: int | None

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases


def summarize(model: ir.Model) -> list[LayerRow]:
    """A row for every layer of a graph whose shapes have been inferred.

    Q/DQ pairs and casts are not layers of their own: a quantized convolution counts its weights as one that is not.
    A shared weight counts where it is used first. Embedded preprocessing multiplies, and has learnt nothing.
    """
    unlearnt = set(preprocess_nodes(model))
    counted = {
        str(source.name)
        for node in model.graph
        if node.name in unlearnt
        for position in range(len(node.inputs))
        if (source := weight_source(node, position)) is not None
    }
    return [
        _row(node, counted) for node in model.graph if node.op_type not in _TRANSPARENT and node.op_type != "Constant"
    ]


def count_parameters(model: ir.Model) -> int:
    """Learnt parameters of a graph."""
    return sum(row.parameters for row in summarize(model))


def _row(node: ir.Node, counted: set[str]) -> LayerRow:
    output = node.outputs[0]
    shape = (
        None if output.shape is None else tuple(size if isinstance(size, int) else size.value for size in output.shape)
    )
    weights = biases = statistics = 0
    macs: int | None = 0
    if node.op_type in LINEAR_LAYERS:
        weights = _size(node, 1, counted)
        biases = _size(node, 2, counted)
        macs = count_macs(node)
    elif node.op_type == "BatchNormalization":
        weights, biases = _size(node, 1, counted), _size(node, 2, counted)
        statistics = _size(node, 3, counted) + _size(node, 4, counted)
        macs = _volume(output)
    elif node.op_type in ("PRelu", "InstanceNormalization", "LayerNormalization", "GroupNormalization"):
        weights, biases = _size(node, 1, counted), _size(node, 2, counted)
    return LayerRow(node.name or output.name or node.op_type, node.op_type, shape, weights, biases, statistics, macs)


def weight_source(node: ir.Node, position: int) -> ir.Value | None:
    """The initializer behind an input, through Q/DQ and casts."""
    value = node.inputs[position] if position < len(node.inputs) else None
    while value is not None and (producer := value.producer()) is not None and producer.op_type in _TRANSPARENT:
        value = producer.inputs[0]
    return value


def _size(node: ir.Node, position: int, counted: set[str]) -> int:
    value = weight_source(node, position)
    array = constant(value)
    if value is None or array is None or value.name in counted:
        return 0
    counted.add(value.name or "")
    return array.size


def _sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's shape, where all of it is known."""
    if value is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return tuple(int(size) for size in value.shape if isinstance(size, int))


def _volume(value: ir.Value | None) -> int | None:
    sizes = _sizes(value)
    return None if sizes is None else math.prod(sizes)


def count_macs(node: ir.Node) -> int | None:
    """Multiply-accumulates of a Conv, ConvTranspose, Gemm or MatMul; None where shapes are not known.

    Each output element of a Conv takes (Cin / groups) x Kh x Kw; of a Gemm, its inner size.
    """
    weight = _sizes(weight_source(node, 1))
    # Every input element of a ConvTranspose meets (Cout / groups) x Kh x Kw weights.
    elements = _volume(node.inputs[0] if node.op_type == "ConvTranspose" else node.outputs[0])
    if weight is None or elements is None:
        return None
    if node.op_type in ("Conv", "ConvTranspose"):
        return elements * math.prod(weight[1:])
    transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
    return elements * (weight[1] if transposed else weight[max(len(weight) - 2, 0)])
