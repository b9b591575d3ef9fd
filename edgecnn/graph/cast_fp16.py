"""A typed FP16 graph: what TensorRT's strongly typed networks take as it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from edgecnn.graph.model import PassResult, add_initializer, constant

FP16_MAX = float(np.finfo(np.float16).max)
# Below this FP16 loses digits, down to none at 6e-8.
FP16_NORMAL = float(np.finfo(np.float16).tiny)

# Operators that stay as they are: they carry subgraphs, or exist to change types.
_UNTOUCHED = frozenset({"If", "Loop", "Scan", "Cast"})
_SCALED = frozenset({"QuantizeLinear", "DequantizeLinear"})
_INT8_STEPS = 128
# Inputs that could be FP16 by ONNX's definition and are left in FP32, by position: coordinates, not data.
_FLOAT_INPUTS: dict[str, tuple[int, ...]] = {"Resize": (1,)}


def cast_to_fp16(model: ir.Model, keep_fp32: Collection[str] = ()) -> PassResult:
    """Compute in FP16, with FP32 inputs and outputs of the graph as before.

    Every node outside ``keep_fp32`` gets FP16 inputs; a Cast stands where FP32 meets FP16, once for each value.
    A node also stays in FP32 if one of its constants is larger than FP16 can hold, or if ONNX's definition of the
    operator has no FP16. Quantization takes and gives FP16 from opset ``TYPED_SCALES`` on, where its scale is a number
    that FP16 has, so that INT8 weights and activations mean what they did; with another scale it stays in FP32.

    Args:
        model: Changed in place.
        keep_fp32: Names of nodes to leave in FP32.

    Returns:
        Counts of nodes in each type, and of the Casts.
    """
    graph = model.graph
    counts = Counter[str]()
    halves: dict[ir.Value, ir.Value] = {}
    casts: list[ir.Node] = []
    for node in list(graph):
        inputs, outputs = _convertible(node, graph.opset_imports)
        if not inputs or node.op_type in _UNTOUCHED or node.name in keep_fp32 or not _fits(node):
            counts["kept as they were"] += 1
            continue
        counts["in FP16"] += 1
        for position in inputs:
            value = node.inputs[position]
            assert value is not None
            if value not in halves:
                halves[value] = _half_of(graph, value, casts)
            node.replace_input_with(position, halves[value])
        for output in outputs:
            full = _restore_after(graph, node, output, casts)
            halves[full] = output
    dead = [cast for cast in casts if not cast.outputs[0].uses() and not cast.outputs[0].is_graph_output()]
    graph.remove(dead, safe=True)
    counts["casts"] = len(casts) - len(dead)
    return PassResult(modified=counts["in FP16"] > 0, counts=dict(counts))


def nodes_of(model: ir.Model, values: Collection[str]) -> set[str]:
    """Names of the nodes that make or take one of the values, or what quantization made of it.

    Args:
        model: Every node named.
        values: Names.
    """
    reached = set(values)
    for node in model.graph:
        if node.op_type in _SCALED and node.inputs[0] is not None and node.inputs[0].name in reached:
            reached.add(str(node.outputs[0].name))
    return {
        str(node.name)
        for node in model.graph
        if any(value is not None and value.name in reached for value in (*node.inputs, *node.outputs))
    }


def _convertible(node: ir.Node, opsets: Mapping[str, int]) -> tuple[list[int], list[ir.Value]]:
    """Which FP32 inputs may be FP16 by ONNX's definition of the operator, and which FP32 outputs then are FP16."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return [], []
    if "output_dtype" in node.attributes:
        return [], []
    fixed = _FLOAT_INPUTS.get(node.op_type, ())
    inputs: list[int] = []
    followed: set[str] = set()
    for position, value in enumerate(node.inputs):
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        if (
            value is not None
            and value.dtype == ir.DataType.FLOAT
            and position not in fixed
            and "tensor(float16)" in formal.types
        ):
            inputs.append(position)
            followed.add(formal.type_str)
    if inputs and node.op_type == "DequantizeLinear":
        followed.update(formal.type_str for formal in schema.outputs)  # of the scale's type, if nothing else is said
    outputs = [
        output
        for position, output in enumerate(node.outputs)
        if output.dtype == ir.DataType.FLOAT
        and schema.outputs[min(position, len(schema.outputs) - 1)].type_str in followed
    ]
    return inputs, outputs


def _fits(node: ir.Node) -> bool:
    """Whether FP16 can hold the node's constants: the scales of quantization exactly, and all they can give."""
    if node.op_type in _SCALED:
        scale = constant(node.inputs[1])
        with np.errstate(over="ignore"):
            return scale is not None and bool(
                (scale.astype(np.float16) == scale).all() and scale.max(initial=0) * _INT8_STEPS <= FP16_MAX
            )
    for value in node.inputs:
        array = constant(value) if value is not None and value.dtype == ir.DataType.FLOAT else None
        # Clip's open ends are often the largest FP32 number and masks are infinite: both saturate harmlessly.
        if array is not None and node.op_type != "Clip" and np.abs(array[np.isfinite(array)]).max(initial=0) > FP16_MAX:
            return False
    return True


def _half_of(graph: ir.Graph, value: ir.Value, casts: list[ir.Node]) -> ir.Value:
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
    casts.append(cast)
    return cast.outputs[0]


def _restore_after(graph: ir.Graph, node: ir.Node, output: ir.Value, casts: list[ir.Node]) -> ir.Value:
    """Make ``output`` FP16; an FP32 twin with its old name, for whoever still wants that."""
    name = output.name
    output.name = f"{name}.fp16"
    output.dtype = ir.DataType.FLOAT16
    cast = _cast(output, ir.DataType.FLOAT, str(name))
    graph.insert_after(node, cast)
    casts.append(cast)
    full = cast.outputs[0]
    for use_node, index in tuple(output.uses()):
        if use_node is not cast:
            use_node.replace_input_with(index, full)
    for index, graph_output in enumerate(graph.outputs):
        if graph_output is output:
            graph.outputs[index] = full
    return full


def _cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    node = ir.Node("", "Cast", [value], attributes=[ir.AttrInt64("to", int(to))], name=f"{name}.cast")
    node.outputs[0].name = name
    node.outputs[0].dtype = to
    node.outputs[0].shape = value.shape
    return node
