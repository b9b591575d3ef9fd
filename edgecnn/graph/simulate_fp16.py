"""FP16 arithmetic on a processor that has none.

ONNX Runtime's CPU backend computes FP16 nodes in FP32 and drops the casts between them: a graph that overflows in FP16
looks sound there. Here every rounding is written out, as a pair of Casts that it keeps.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def holds_fp16(model: ir.Model) -> bool:
    """Whether anything in the graph is computed in FP16."""
    return any(output.dtype == ir.DataType.FLOAT16 for node in model.graph for output in node.outputs)


def simulate_fp16(model: ir.Model) -> None:
    """Replace FP16 by FP32 that is rounded to FP16 after every node; inputs and outputs of the graph must be FP32.

    What stays different from a GPU is the order and the width of sums within a node, which GPUs add up in FP32 too.
    What DequantizeLinear gives is not rounded: INT8 kernels read its input, and multiply sums by its scale in FP32.

    Args:
        model: As ``cast_to_fp16`` leaves it, shapes and types inferred; changed in place.
    """
    graph = model.graph
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.FLOAT16 and value.const_value is not None:
            value.const_value = ir.Tensor(value.const_value.numpy().astype(np.float32), name=value.name)
            value.dtype = ir.DataType.FLOAT
    for node in list(graph):
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == ir.DataType.FLOAT16:
                node.attributes[name] = ir.AttrTensor(name, ir.Tensor(attribute.as_tensor().numpy().astype(np.float32)))
        if node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.FLOAT16:
            node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT))
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT16:
                output.dtype = ir.DataType.FLOAT
                if node.op_type != "DequantizeLinear":
                    _round_after(graph, node, output)


def _round_after(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    """Let everything that reads ``output`` read it rounded to FP16."""
    uses = tuple(output.uses())
    down = ir.Node("", "Cast", [output], attributes=[ir.AttrInt64("to", int(ir.DataType.FLOAT16))])
    up = ir.Node("", "Cast", [down.outputs[0]], attributes=[ir.AttrInt64("to", int(ir.DataType.FLOAT))])
    for made, suffix, dtype in ((down, "rounded16", ir.DataType.FLOAT16), (up, "rounded", ir.DataType.FLOAT)):
        made.outputs[0].name = f"{output.name}.{suffix}"
        made.outputs[0].dtype, made.outputs[0].shape = dtype, output.shape
    graph.insert_after(node, [down, up])
    for user, position in uses:
        user.replace_input_with(position, up.outputs[0])
