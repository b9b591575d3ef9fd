"""A typed FP16 graph: what TensorRT's strongly typed networks take as it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from edgecnn.graph.model import PassResult, add_initializer, constant

FP16_MAX = float(np.finfo(np.float16).max)

# Operators whose float inputs keep their type in ONNX's own definition, by input position.
_FLOAT_INPUTS: dict[str, tuple[int, ...]] = {"Resize": (1, 2), "Upsample": (1,)}
# Operators that stay as they are: they have no FP16 form, carry subgraphs, or exist to change types.
_UNTOUCHED = frozenset(
    {
        "If",
        "Loop",
        "Scan",
        "Cast",
        "QuantizeLinear",
        "DequantizeLinear",
        "NonMaxSuppression",
        "RandomNormal",
        "RandomUniform",
    }
)


def cast_to_fp16(model: ir.Model, keep_fp32: Collection[str] = ()) -> PassResult:
    """Compute in FP16, with FP32 inputs and outputs of the graph as before.

    Every node outside ``keep_fp32`` gets FP16 inputs; a Cast stands where FP32 meets FP16, once for each value.
    A node also stays in FP32 if one of its constants is larger than FP16 can hold.

    Args:
        model: Changed in place.
        keep_fp32: Names of nodes to leave in FP32.

    Returns:
        Counts of nodes in each type, and of the Casts.
    """
    graph = model.graph
    counts = Counter[str]()
    halves: dict[ir.Value, ir.Value] = {}
    for node in list(graph):
        if node.op_type == "Cast" and node.inputs[0] in halves.values():
            continue
        if node.op_type in _UNTOUCHED or node.name in keep_fp32 or not _has_float(node) or _overflows(node):
            counts["kept as they were"] += 1
            continue
        counts["in FP16"] += 1
        _convert(graph, node, halves, counts)
    return PassResult(modified=counts["in FP16"] > 0, counts=dict(counts))


def _has_float(node: ir.Node) -> bool:
    return any(value is not None and value.dtype == ir.DataType.FLOAT for value in (*node.inputs, *node.outputs))


def _overflows(node: ir.Node) -> bool:
    for value in node.inputs:
        array = constant(value) if value is not None and value.dtype == ir.DataType.FLOAT else None
        # Clip's open ends and masks are often the largest FP32 number or infinity: they saturate harmlessly.
        if (
            array is not None
            and node.op_type != "Clip"
            and np.isfinite(array).all()
            and np.abs(array).max(initial=0) > FP16_MAX
        ):
            return True
    return False


def _convert(graph: ir.Graph, node: ir.Node, halves: dict[ir.Value, ir.Value], counts: Counter[str]) -> None:
    fixed = _FLOAT_INPUTS.get(node.op_type, ())
    for position, value in enumerate(node.inputs):
        if value is None or value.dtype != ir.DataType.FLOAT or position in fixed:
            continue
        if value not in halves:
            halves[value] = _half_of(graph, value, counts)
        node.replace_input_with(position, halves[value])
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.FLOAT:
            array = attribute.as_tensor().numpy().astype(np.float16)
            node.attributes[name] = ir.AttrTensor(name, ir.Tensor(array))
    for output in node.outputs:
        if output.dtype == ir.DataType.FLOAT:
            _restore_after(graph, node, output, halves, counts)


def _half_of(graph: ir.Graph, value: ir.Value, counts: Counter[str]) -> ir.Value:
    """The FP16 twin of an FP32 value: a converted constant, or a Cast of what is computed."""
    array = constant(value)
    if array is not None:
        clipped = np.clip(array, -FP16_MAX, FP16_MAX)
        return add_initializer(graph, f"{value.name}.fp16", clipped.astype(np.float16))
    cast = _cast(value, ir.DataType.FLOAT16, f"{value.name}.fp16")
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], cast)
    else:
        graph.insert_after(producer, cast)
    counts["casts"] += 1
    return cast.outputs[0]


def _restore_after(
    graph: ir.Graph, node: ir.Node, output: ir.Value, halves: dict[ir.Value, ir.Value], counts: Counter[str]
) -> None:
    """Make ``output`` FP16, with an FP32 twin of the old name for whoever still wants it; a dead twin is cleaned up."""
    name = output.name
    output.name = f"{name}.fp16"
    output.dtype = ir.DataType.FLOAT16
    cast = _cast(output, ir.DataType.FLOAT, str(name))
    graph.insert_after(node, cast)
    full = cast.outputs[0]
    for use_node, index in tuple(output.uses()):
        if use_node is not cast:
            use_node.replace_input_with(index, full)
    for index, graph_output in enumerate(graph.outputs):
        if graph_output is output:
            graph.outputs[index] = full
            counts["casts"] += 1
    halves[full] = output


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.Node("", "Cast", [value], attributes=[ir.AttrInt64("to", int(to))], name=f"{name}.cast")
    node.outputs[0].name = name
    node.outputs[0].dtype = to
    node.outputs[0].shape = value.shape
    return node
