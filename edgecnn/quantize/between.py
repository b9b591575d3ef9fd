"""What is quantized beside the inputs of layers, where a runtime has integer kernels for what stands between them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecnn.graph.model import constant
from edgecnn.graph.operators import clip_bounds
from edgecnn.quantize.schemes import Scheme

_MATRIX_PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True)
class Between:
    """What is found.

    Attributes:
        values: To be quantized for all that read them, in the graph's order.
        carried: Those of them that a carrier made: the value that they share a range with.
        gates: HardSigmoids that can be computed on their quantized input, if its range suits that.
    """

    values: dict[ir.Value, None] = field(default_factory=dict[ir.Value, None])
    carried: dict[ir.Value, ir.Value] = field(default_factory=dict[ir.Value, ir.Value])
    gates: list[ir.Node] = field(default_factory=list[ir.Node])


def between_layers(
    model: ir.Model, layers: Collection[ir.Node], scheme: Scheme, exclude: Collection[str] = ()
) -> Between:
    """Find the values that integer kernels read and write.

    An operator is computed in integers where something that it reads is in INT8 anyway and what it makes comes, through
    such operators alone, to a layer in INT8: what only leads to the network's outputs keeps its digits. A convolution
    has its output quantized whoever reads it, as there is no kernel that leaves it in FP32; matrix products have one.

    Args:
        model: Shapes inferred.
        layers: Those that will be in INT8.
        scheme: The target's rules.
        exclude: Names of nodes to leave as they are.
    """
    kernels = (*scheme.operators, *scheme.carriers)
    candidates = {
        node: _read_by(node)
        for node in model.graph
        if node.op_type in kernels and node.domain == "" and node.name not in exclude
    }
    wanted = {node.inputs[0] for node in layers}
    for node in reversed(model.graph):
        if node in candidates and node.outputs[0] in wanted:
            wanted.update(candidates[node])
    found, quantized = Between(), set[ir.Value | None]()
    for node in model.graph:
        made = node.outputs[0]
        if node in layers:
            quantized.add(node.inputs[0])
            output = output_of(node)
            if node.op_type not in _MATRIX_PRODUCTS or output in wanted:
                quantized.add(output)
        elif made in wanted and (read := candidates.get(node)) and quantized.intersection(read):
            if node.op_type == "HardSigmoid":
                if not _is_gate(node):
                    continue  # in FP32; its output is quantized if a product reads it
                found.gates.append(node)
            quantized.update(read, [made])
            if node.op_type in scheme.carriers:
                found.carried[made] = found.carried.get(read[0], read[0])
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    found.values.update((value, None) for value in values if value in quantized)
    return found


def output_of(layer: ir.Node) -> ir.Value:
    """The value whose quantization a layer's kernel does: behind a Relu or Clip that cuts off at zero points 0."""
    output = layer.outputs[0]
    users = [node for node, _ in output.uses()]
    if len(users) != 1 or output.is_graph_output():
        return output
    return users[0].outputs[0] if users[0].op_type == "Relu" or _clips_at_zero(users[0]) else output


def _clips_at_zero(node: ir.Node) -> bool:
    if node.op_type != "Clip":
        return False
    low, high = clip_bounds(node)
    return low == 0 and (len(node.inputs) < 3 or high is not None)


def _read_by(node: ir.Node) -> list[ir.Value]:
    """The values that an operator's integer kernel reads; none where it has none for these inputs."""
    data = [value for value in node.inputs if value is not None and constant(value) is None]
    if any(value.dtype != ir.DataType.FLOAT for value in data) or len(node.outputs) != 1:
        return []
    if node.op_type in ("Add", "Mul", "Concat"):
        return data if len(data) == len(node.inputs) else []
    return data[:1]


def _is_gate(node: ir.Node) -> bool:
    """Whether a HardSigmoid's input is read by it alone, and by products with what it makes; and that only by products.

    The input is then cut off where HardSigmoid begins, which changes no product: it is 0 there.
    """
    data, made = node.inputs[0], node.outputs[0]
    assert data is not None
    products = {user for user, _ in made.uses() if user.op_type == "Mul"}
    alone = not data.is_graph_output() and not made.is_graph_output()
    return (
        alone
        and len(products) == len(tuple(made.uses()))
        and all(user is node or user in products for user, _ in data.uses())
    )
