"""Where channels go in operators that only move numbers, such as the channel shuffle of ShuffleNet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgecnn.graph.model import constant

_MOVES = frozenset({"Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})

Numbers = npt.NDArray[np.int64]


def is_movement(node: ir.Node) -> bool:
    """Whether a node moves one computed value's numbers to places that are known."""
    if (
        node.op_type not in _MOVES
        or node.domain != ""
        or node.inputs[0] is None
        or constant(node.inputs[0]) is not None
    ):
        return False
    return all(value is None or constant(value) is not None for value in node.inputs[1:]) and all(
        _sizes(value) is not None for value in (node.inputs[0], *node.outputs)
    )


def spread(channels: Numbers, value: ir.Value) -> Numbers:
    """A number for each place of a value, from one for each channel."""
    sizes = _sizes(value)
    assert sizes is not None
    return np.broadcast_to(channels.reshape(-1, *(1 for _ in sizes[2:])), sizes)


def gather(numbers: Numbers) -> Numbers | None:
    """The reverse: one number for each channel, where all places of a channel have the same."""
    if numbers.ndim < 2 or not numbers.size:
        return None
    channels = numbers.swapaxes(0, 1).reshape(numbers.shape[1], -1)
    return channels[:, 0] if (channels == channels[:, :1]).all() else None


def move(node: ir.Node, numbers: Numbers, opset: int) -> tuple[Numbers, ...]:
    """The node's outputs with ``numbers`` in place of its first input: ONNX's own reference moves them."""
    feeds = {str(value.name): constant(value) for value in node.inputs[1:] if value is not None}
    assert node.inputs[0] is not None
    feeds[str(node.inputs[0].name)] = numbers
    moved = ReferenceEvaluator(ir.to_proto(node), opsets={"": opset}).run(None, feeds)
    return tuple(np.asarray(numbers) for numbers in moved)


def _sizes(value: ir.Value) -> tuple[int, ...] | None:
    sizes = value.shape.dims if value.shape is not None else (None,)
    return (
        tuple(size for size in sizes if isinstance(size, int)) if all(isinstance(size, int) for size in sizes) else None
    )
