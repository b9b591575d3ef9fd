"""Find what computes a network's final numbers from its last layers."""

from __future__ import annotations

import onnx_ir as ir

from edgecnn.graph.layer_weights import LINEAR_LAYERS


def decoding_nodes(model: ir.Model) -> tuple[str, ...]:
    """Names of the nodes between the last layers with weights and the outputs; nodes without a name are left out.

    A convolution of a softmax is no such layer but the mean of a distribution (Generalized Focal Loss, 2020; YOLOv8's
    box sides): its result is in strides, and is part of the decoding.
    """
    found: dict[ir.Node, None] = {}
    waiting = [value.producer() for value in model.graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in found or (node.op_type in LINEAR_LAYERS and not _averages(node)):
            continue
        found[node] = None
        waiting += [value.producer() for value in node.inputs if value is not None]
    return tuple(node.name for node in model.graph if node in found and node.name)


def last_layer_nodes(model: ir.Model) -> tuple[str, ...]:
    """Names of the nodes from the last layers with weights to the outputs, with what makes their inputs from integers.

    Args:
        model: Every node named.
    """
    after = set(decoding_nodes(model))
    reached = {value.producer() for value in model.graph.outputs}
    reached |= {value.producer() for node in model.graph if node.name in after for value in node.inputs if value}
    layers = {node for node in reached if node is not None and node.op_type in LINEAR_LAYERS}
    before = {value.producer() for node in layers for value in node.inputs if value is not None}
    scaled = {node for node in before if node is not None and node.op_type == "DequantizeLinear"}
    kept = layers | scaled
    return tuple(str(node.name) for node in model.graph if node in kept or node.name in after)


def _averages(node: ir.Node) -> bool:
    value = node.inputs[0]
    before = value.producer() if value is not None else None
    while before is not None and before.op_type in ("Transpose", "Reshape"):
        value = before.inputs[0]
        before = value.producer() if value is not None else None
    return before is not None and before.op_type == "Softmax"
