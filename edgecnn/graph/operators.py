"""What values and single operators look like."""

from __future__ import annotations

import onnx_ir as ir

from edgecnn.graph.model import constant


def clip_bounds(clip: ir.Node) -> tuple[float | None, float | None]:
    """Floor and ceiling of a Clip; None where there is none, or it is computed at run time."""
    low, high = (constant(value) for value in (*clip.inputs[1:3], None, None)[:2])
    return None if low is None else float(low), None if high is None else float(high)


def is_channel_concat(node: ir.Node) -> bool:
    """Whether a node puts values together along their channels."""
    return node.op_type == "Concat" and node.attributes["axis"].as_int() in (1, 1 - rank(node.outputs[0]))


def rank(value: ir.Value) -> int:
    """How many axes a value has; 0 where that is not known."""
    return 0 if value.shape is None else len(value.shape)
