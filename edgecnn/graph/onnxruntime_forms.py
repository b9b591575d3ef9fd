"""Write what ONNX Runtime has quick kernels for in the form that it knows them by."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from edgecnn.graph.layer_weights import attribute_ints
from edgecnn.graph.model import PassResult, constant

MICROSOFT = "com.microsoft"
_SIXTH, _HALF = 1 / 6, 0.5


def use_onnxruntime_forms(model: ir.Model) -> PassResult:
    """Rewrite three patterns; the function stays the same.

    - A ReduceMean over the whole picture becomes a GlobalAveragePool, which has an integer kernel. (In the layout of
      integer convolutions, channels last, a ReduceMean in FP32 takes twenty times as long.)
    - ``x * Sigmoid(x)`` (SiLU, Swish) becomes one QuickGelu of ONNX Runtime's own domain. Its optimizer would fuse the
      pair by itself, but not behind a DequantizeLinear, which it copies for each of the two readers first.
    - HardSwish becomes ``x * HardSigmoid(x)``, both of which can be done in integers.

    Args:
        model: Shapes inferred; changed in place.
    """
    counts = Counter[str]()
    for node in list(model.graph):
        if node.domain == "" and (made := _rewritten(node)) is not None:
            new, reason = made
            output = node.outputs[0]
            last = new[-1].outputs[0]
            name, last.shape, last.dtype = output.name, output.shape, ir.DataType.FLOAT
            ir.convenience.replace_nodes_and_values(model.graph, node, [node], new, [output], [last])
            last.name = name
            counts[reason] += 1
    if counts["SiLUs in one node"]:
        model.opset_imports.setdefault(MICROSOFT, 1)
        for node in [node for node in model.graph if node.op_type == "Sigmoid" and not node.outputs[0].uses()]:
            if not node.outputs[0].is_graph_output():
                model.graph.remove(node, safe=True)
    return PassResult(modified=bool(counts), counts=counts)


def _rewritten(node: ir.Node) -> tuple[list[ir.Node], str] | None:
    """The nodes in place of one, and what that is; None where it stays."""
    data = node.inputs[0] if node.inputs else None
    if data is None or data.dtype != ir.DataType.FLOAT:
        return None
    if node.op_type == "ReduceMean" and _is_over_the_picture(node, data):
        return [ir.Node("", "GlobalAveragePool", [data], name=node.name)], "means as pooling"
    if node.op_type == "Mul" and (argument := _silu_argument(node)) is not None:
        attributes = [ir.AttrFloat32("alpha", 1.0)]
        return [ir.Node(MICROSOFT, "QuickGelu", [argument], attributes, name=node.name)], "SiLUs in one node"
    if node.op_type == "HardSwish":
        attributes = [ir.AttrFloat32("alpha", _SIXTH), ir.AttrFloat32("beta", _HALF)]
        gate = ir.Node("", "HardSigmoid", [data], attributes, name=f"{node.name}.gate")
        value = gate.outputs[0]
        value.name, value.shape, value.dtype = f"{node.outputs[0].name}.gate", data.shape, ir.DataType.FLOAT
        return [gate, ir.Node("", "Mul", [data, value], name=node.name)], "hard-swishes in two nodes"
    return None


def _is_over_the_picture(node: ir.Node, data: ir.Value) -> bool:
    """Whether a ReduceMean keeps batch and channels and all four axes."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    named = axes.tolist() if axes is not None else list(attribute_ints(node, "axes", 0))
    rank = len(data.shape) if data.shape is not None else 0
    return rank == 4 and sorted(axis % rank for axis in named) == [2, 3] and attribute_ints(node, "keepdims", 1) == (1,)


def _silu_argument(node: ir.Node) -> ir.Value | None:
    """x, if a product is x times Sigmoid(x)."""
    for value, other in (tuple(node.inputs), tuple(reversed(node.inputs))):
        producer = other.producer() if other is not None else None
        if producer is not None and producer.op_type == "Sigmoid" and producer.inputs[0] is value:
            return value
    return None
