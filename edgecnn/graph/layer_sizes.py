"""Sizes of every layer for another input or another padding, by the textbook formulas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgecnn.graph.layer_weights import LINEAR_LAYERS

_POOLS = frozenset({"MaxPool", "AveragePool", "LpPool"})
_GLOBAL = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"})
_REDUCTIONS = frozenset({"ReduceMean", "ReduceMax"})  # over height and width, as exporters write global pooling
_Size = tuple[int, ...]


@dataclass(frozen=True)
class LayerSizes:
    """One layer at one input size.

    Attributes:
        before: What goes in: (channels, height, width), also where they have become a row, or (values,).
        after: What comes out, likewise.
        weights: Learnt weights that a layer with these inputs and this many outputs has.
    """

    before: _Size
    after: _Size
    weights: int


def window_output(size: int, window: int, stride: int, padding: int, *, upwards: bool = False) -> int:
    """How many places a window of ``window`` takes along ``size`` values with ``padding`` on both sides together.

    Below 1 where the window does not fit.

    >>> window_output(227, 11, 4, 0), window_output(224, 11, 4, 0), window_output(224, 11, 4, 4)
    (55, 54, 55)
    """
    room = size + padding - window
    return (math.ceil(room / stride) if upwards else room // stride) + 1


def layer_sizes(
    model: ir.Model, input_hw: tuple[int, int], paddings: Mapping[str, int] | None = None
) -> dict[str, LayerSizes] | None:
    """Every layer with weights or a window, as it would be with an input of another size.

    Values without such a formula (ReLU, normalization, addition) have the size of their first input.

    Args:
        model: Whose first input is (batch, channels, height, width).
        input_hw: Height and width instead of its own.
        paddings: By a convolution's or pooling's name: a padding on every side instead of its own.

    Returns:
        By the layer's name; None where some window does not fit into its map.
    """
    first = model.graph.inputs[0]
    assert first.shape is not None
    values: dict[str, _Size] = {str(first.name): (_whole(first.shape[1]), *input_hw)}
    found: dict[str, LayerSizes] = {}
    for node in model.graph:
        before = next((values[str(value.name)] for value in node.inputs if value and value.name in values), None)
        if before is None:
            continue
        after = _after(node, before, values, (paddings or {}).get(str(node.name)))
        if min(after) < 1:
            return None
        for value in node.outputs:
            values[str(value.name)] = after
        if node.op_type in LINEAR_LAYERS or node.op_type in _POOLS | _GLOBAL:
            found[str(node.name)] = LayerSizes(before, after, _weights(node, before, after))
    return found


def _after(node: ir.Node, before: _Size, values: Mapping[str, _Size], padding: int | None) -> _Size:
    if node.op_type in ("Gemm", "MatMul"):
        return (_outputs(node),)
    if len(before) == 3 and node.op_type in ("Conv", *_POOLS):
        channels = _outputs(node) if node.op_type == "Conv" else before[0]
        return (channels, *_windows(node, before[1:], padding))
    if len(before) == 3 and node.op_type in (*_GLOBAL, *_REDUCTIONS):
        return (before[0], 1, 1)
    # Flattened maps stay maps here, so that a fully connected layer can say which it sees.
    if node.op_type == "Concat" and len(before) == 3:
        return (sum(values.get(str(value.name), (0,))[0] for value in node.inputs if value), *before[1:])
    return before


def _windows(node: ir.Node, size_hw: _Size, padding: int | None) -> _Size:
    kernel = _integers(node, "kernel_shape", _kernel(node))
    strides = _integers(node, "strides", (1, 1))
    dilations = _integers(node, "dilations", (1, 1))
    pads = _integers(node, "pads", (0, 0, 0, 0))
    mode = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    upwards = "ceil_mode" in node.attributes and bool(node.attributes["ceil_mode"].as_int())
    result: list[int] = []
    for axis, size in enumerate(size_hw):
        if padding is None and mode.startswith("SAME"):
            result.append(math.ceil(size / strides[axis]))
            continue
        both = pads[axis] + pads[axis + 2] if padding is None else 2 * padding
        seen = (kernel[axis] - 1) * dilations[axis] + 1
        result.append(window_output(size, seen, strides[axis], both, upwards=upwards) if size + both >= seen else 0)
    return tuple(result)


def _weights(node: ir.Node, before: _Size, after: _Size) -> int:
    if node.op_type in ("Gemm", "MatMul"):
        return math.prod(before) * after[0]
    if node.op_type == "Conv":
        groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
        return math.prod(_kernel(node)) * before[0] // groups * after[0]
    return 0


def _kernel(node: ir.Node) -> _Size:
    if node.op_type != "Conv":
        return _integers(node, "kernel_shape", (1, 1))
    return tuple(_weight_shape(node)[2:])


def _outputs(node: ir.Node) -> int:
    shape = _weight_shape(node)
    if node.op_type == "Gemm" and "transB" in node.attributes and node.attributes["transB"].as_int():
        return shape[0]
    return shape[0] if node.op_type == "Conv" else shape[-1]


def _weight_shape(node: ir.Node) -> _Size:
    value = node.inputs[1]
    assert value is not None
    while value.shape is None and (producer := value.producer()) is not None:
        value = producer.inputs[0]
        assert value is not None
    assert value.shape is not None
    return tuple(_whole(size) for size in value.shape)


def _integers(node: ir.Node, name: str, default: _Size) -> _Size:
    return tuple(node.attributes[name].as_ints()) if name in node.attributes else default


def _whole(size: int | ir.SymbolicDim) -> int:
    assert isinstance(size, int)
    return size
