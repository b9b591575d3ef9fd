"""2:4 sparsity in a graph: layers in whose weights two of every four in a row are 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecnn.graph.layer_weights import Float64, attribute_ints, is_linear_layer
from edgecnn.graph.model import constant
from edgecnn.graph.summary import count_macs, weight_source

_FOUR = 4


@dataclass(frozen=True)
class Sparsity:
    """How much of a network is 2:4 sparse.

    Attributes:
        layers: Names of the layers that are.
        share: Of the multiply-accumulates of all convolutions and matrix products, those in these layers.
    """

    layers: tuple[str, ...]
    share: float


def is_two_of_four(weight: Float64) -> bool:
    """Whether at least two of every four weights in a row are 0, along the input channels.

    For each output channel and each place of the kernel, as TensorRT asks for it (``SPARSE_WEIGHTS``): channels 0 to 3,
    4 to 7 and so on. Grouped layers do not count.

    Args:
        weight: (groups, outputs of a group, inputs of a group, taps), as in ``LayerWeights``.
    """
    groups, outputs, inputs, taps = weight.shape
    if groups > 1 or inputs % _FOUR:
        return False
    nonzero = weight.reshape(outputs, inputs // _FOUR, _FOUR, taps) != 0
    return bool((nonzero.sum(axis=2) <= _FOUR // 2).all())


def sparsity_of(model: ir.Model) -> Sparsity:
    """The layers of a graph, quantized or not, that are 2:4 sparse; shapes have been inferred."""
    found: dict[str, int] = {}
    total = 0
    for node in model.graph:
        if not is_linear_layer(node):
            continue
        macs = count_macs(node) or 0
        total += macs
        if _is_sparse(node):
            found[str(node.name or node.outputs[0].name)] = macs
    return Sparsity(tuple(found), sum(found.values()) / total if total else 0.0)


def _is_sparse(node: ir.Node) -> bool:
    """Whether a Conv, Gemm or MatMul has sparse constant weights, behind Q/DQ too."""
    weight = constant(weight_source(node, 1))
    if weight is None or weight.ndim < 2 or node.op_type == "ConvTranspose":
        return False
    if node.op_type == "Conv":
        groups = attribute_ints(node, "group", 1)[0]
        form = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    else:
        inputs_first = attribute_ints(node, "transB", 0)[0] == 0
        form = (weight.swapaxes(-1, -2) if inputs_first else weight).reshape(
            1, -1, weight.shape[-2 if inputs_first else -1], 1
        )
    return is_two_of_four(np.asarray(form, dtype=np.float64))
