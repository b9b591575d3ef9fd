"""Whether the device's TensorRT has the element types and shapes of a graph's values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import onnx_ir as ir

from edgecnn.check.operator_table import FIRST_WITH_TYPE, INT64_SINCE, NO_TYPES, Version
from edgecnn.core.verdict import Finding

_MOST_DIMENSIONS = 8
# What is quantized has rules of its own (edgecnn.quantize.validate).
_QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear"})
_CASTS = frozenset({"Cast", "CastLike"})


def all_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """A model's nodes, those of subgraphs and functions too."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def value_findings(model: ir.Model, version: Version) -> Iterator[Finding]:
    """What is to be said of element types and shapes.

    Args:
        model: Shapes and types inferred.
        version: TensorRT's, major and minor.
    """
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [value for node in all_nodes(model) for value in node.outputs]
    inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    yield from _types(values, version)
    if version < INT64_SINCE:
        yield from _int64([*inputs, *model.graph.outputs], version)
    if version >= FIRST_WITH_TYPE[ir.DataType.UINT8]:
        yield from _uint8(model)
    yield from _shapes(values)


def _types(values: list[ir.Value], version: Version) -> Iterator[Finding]:
    """One finding for each type."""
    seen: dict[ir.DataType, str] = {}
    for value in values:
        if value.dtype is not None and not _is_quantized(value):
            seen.setdefault(value.dtype, str(value.name))
    for dtype, name in seen.items():
        first = FIRST_WITH_TYPE.get(dtype)
        if dtype in NO_TYPES or (first is not None and first > version):
            since = f" before {first[0]}.{first[1]}" if first else ""
            message = f"{name} is {dtype.name}, a type that TensorRT has not{since}"
            remedy = "let the exporter use float or INT32; edgecnn convert folds what is constant"
            yield _finding("type", "error", name, message, remedy)
        elif dtype == ir.DataType.DOUBLE:
            message = f"{name} is DOUBLE; TensorRT computes in FP32, and cuts larger numbers to its range"
            yield _finding("type", "info", name, message, "nothing, where FP32 is enough")


def _is_quantized(value: ir.Value) -> bool:
    if value.dtype != ir.DataType.UINT8 and value.dtype not in NO_TYPES:
        return False
    source = value.producer()
    made = source is not None and source.op_type in _QUANTIZATION
    return made or (bool(value.consumers()) and all(user.op_type in _QUANTIZATION for user in value.consumers()))


def _int64(values: list[ir.Value], version: Version) -> Iterator[Finding]:
    for value in values:
        if value.dtype == ir.DataType.INT64:
            name = str(value.name)
            message = f"{name} is INT64, and TensorRT {version[0]} makes it INT32, for who feeds or reads it too"
            yield _finding("type", "info", name, message, "nothing, where the numbers fit")


def _uint8(model: ir.Model) -> Iterator[Finding]:
    """UINT8 goes from an input into a Cast, or from a Cast to an output."""
    for node in all_nodes(model):
        if node.domain or node.op_type in _QUANTIZATION or node.op_type == "Constant":
            continue
        taken = [value for value in node.inputs if value is not None and value.dtype == ir.DataType.UINT8]
        taken = [value for value in taken if value.is_graph_input() and value.const_value is None]
        if taken and node.op_type not in _CASTS:
            message = f"{node.op_type} reads the UINT8 input {taken[0].name}, and TensorRT has only a Cast for it"
            remedy = "put a Cast to float right behind the input: edgecnn convert embeds it so"
            yield _finding("type", "error", _name(node), message, remedy)
        for value in node.outputs:
            readers = [user for user in value.consumers() if user.op_type not in _QUANTIZATION]
            if value.dtype == ir.DataType.UINT8 and readers:
                message = f"{node.op_type} makes UINT8 within the graph; TensorRT has it for inputs and outputs only"
                yield _finding("type", "error", _name(node), message, "cast to INT32 or float instead")


def _shapes(values: list[ir.Value]) -> Iterator[Finding]:
    wide = next((each for each in values if each.shape is not None and len(each.shape) > _MOST_DIMENSIONS), None)
    if wide is not None and wide.shape is not None:
        message = f"{wide.name} has {len(wide.shape)} dimensions; TensorRT has up to {_MOST_DIMENSIONS}"
        yield _finding("rank", "error", str(wide.name), message, "export this part with fewer")


def _name(node: ir.Node) -> str:
    return node.name or str(node.outputs[0].name)


def _finding(rule: str, severity: Literal["error", "info"], node: str, message: str, remedy: str) -> Finding:
    return Finding(rule=f"graph/{rule}", severity=severity, node=node, message=message, remedy=remedy)
