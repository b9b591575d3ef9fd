"""What values and their operators look like: channels, and operators that compute number by number."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecnn.graph.layer_weights import Float64
from edgecnn.graph.model import add_initializer, constant
from edgecnn.graph.operators import rank

# Elementwise, so that compilers join a multiplication behind them to the same kernel.
_ELEMENTWISE = frozenset(
    {
        "Add",
        "Mul",
        "HardSwish",
        "HardSigmoid",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Celu",
        "Selu",
        "Gelu",
        "Mish",
        "Softplus",
        "Swish",
    }
)


def is_elementwise(node: ir.Node | None) -> bool:
    """Whether a node computes a picture's values one by one from other pictures', in a way that has no scales."""
    if node is None or node.op_type not in _ELEMENTWISE or node.domain != "" or rank(node.outputs[0]) < 3:
        return False
    computed = [value for value in node.inputs if value is not None and constant(value) is None]
    return len(computed) == 1 or (bool(computed) and node.op_type == "Mul")


def append_elementwise(graph: ir.Graph, value: ir.Value, operator: str, numbers: Float64, suffix: str) -> ir.Value:
    """Let all that reads a value read it with a number for each channel added, or multiplied by it: the new value."""
    producer, shape, users = value.producer(), value.shape, tuple(value.uses())
    assert producer is not None
    assert shape is not None
    name = f"{value.name}.{suffix}"
    stored = numbers.astype(np.float32).reshape(-1, *(1 for _ in shape.dims[2:]))
    node = ir.Node("", operator, [value, add_initializer(graph, f"{name}.{operator}", stored)], name=name)
    node.outputs[0].name, node.outputs[0].shape, node.outputs[0].dtype = name, shape, ir.DataType.FLOAT
    for user, position in users:
        user.replace_input_with(position, node.outputs[0])
    graph.insert_after(producer, node)
    return node.outputs[0]


def channel_count(value: ir.Value) -> int:
    """Size of axis 1; 0 where there is none or it is not known."""
    size = value.shape[1] if value.shape is not None and len(value.shape) > 1 else 0
    return size if isinstance(size, int) else 0
