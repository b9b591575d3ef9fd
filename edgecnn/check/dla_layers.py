"""A graph as NVIDIA's DLA is given it: layers with what changes from frame to frame, Q/DQ being no layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from edgecnn.graph.model import constant
from edgecnn.quantize.partial import read_by

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_NO_LAYERS = frozenset({_QUANTIZE, _DEQUANTIZE, "Identity", "Dropout"})
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_STRONGLY_TYPED = 11  # from this major version on types of the graph are those of the engine


@dataclass(frozen=True)
class Target:
    """What will build and run the network.

    Attributes:
        version: TensorRT's, such as (10, 3, 0).
        family: The generation of the DLA.
    """

    version: tuple[int, ...]
    family: str


@dataclass(frozen=True)
class Operand:
    """A value as a layer takes or gives it.

    Attributes:
        value: As the layer before makes it, ahead of Q/DQ and casts.
        type: ``int8``, ``fp16``, or the name of an element type that DLA does not have.
        scale: Of INT8, where it is one constant.
    """

    value: ir.Value
    type: str
    scale: float | None = None

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The shape in the graph, or None where a size is open."""
        shape = self.value.shape
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        return tuple(size for size in shape if isinstance(size, int))

    @property
    def nchw(self) -> tuple[int, int, int, int]:
        """The shape as DLA sees it, where no size is open: what is ahead of C, H and W is the batch."""
        sizes = self.sizes or ()
        if len(sizes) < 3:  # rows of features
            sizes = (*(1,) * (2 - len(sizes)), *sizes, 1, 1)
        return math.prod(sizes[:-3]), sizes[-3], sizes[-2], sizes[-1]


@dataclass(frozen=True)
class Layer:
    """A node without its constants.

    Attributes:
        node: In the graph.
        inputs: What changes from frame to frame, in the node's order.
        outputs: In the node's order.
        target: What will run it.
    """

    node: ir.Node
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    target: Target

    @property
    def name(self) -> str:
        """The node's name, or that of its output."""
        return self.node.name or str(self.node.outputs[0].name)

    @property
    def int8(self) -> bool:
        """Whether all that it takes is INT8."""
        return all(operand.type == "int8" for operand in self.inputs)


def read_layers(model: ir.Model, target: Target) -> list[Layer]:
    """The layers of a graph in its order, without those that compute constants."""
    graph = model.graph
    quantized = any(node.op_type == _DEQUANTIZE for node in graph)
    # A network with INT8 of a weakly typed TensorRT is built with FP16 as well: what has no scale becomes that.
    halves = _FLOATS if quantized and target.version[0] < _STRONGLY_TYPED else (ir.DataType.FLOAT16,)
    moving = {value for value in graph.inputs if value.name not in graph.initializers}
    layers: list[Layer] = []
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        inputs += [value for value in read_by(node) if value not in inputs]  # of bodies of If and Loop
        changing = [value for value in inputs if value in moving]
        if not changing:
            continue
        moving.update(node.outputs)
        if not is_no_layer(node):
            given = tuple(_given(value, halves) for value in node.outputs if value.uses() or value.is_graph_output())
            layers.append(Layer(node, tuple(_taken(value, halves) for value in changing), given, target))
    return layers


def is_no_layer(node: ir.Node) -> bool:
    """Whether a node only says in which type a value is handed on."""
    if node.op_type == "Cast":
        return node.inputs[0] is not None and node.inputs[0].dtype in _FLOATS and node.outputs[0].dtype in _FLOATS
    return node.op_type in _NO_LAYERS


def source_of(value: ir.Value) -> ir.Value:
    """What a layer, or the network's input, handed on as this value."""
    while (node := value.producer()) is not None and is_no_layer(node) and node.inputs[0] is not None:
        value = node.inputs[0]
    return value


def _taken(value: ir.Value, halves: tuple[ir.DataType, ...]) -> Operand:
    """An input: INT8 if a DequantizeLinear is on the way from its source."""
    source, step = source_of(value), value
    while step is not source:
        node = step.producer()
        assert node is not None
        if node.op_type == _DEQUANTIZE:
            return Operand(source, "int8", _scale(node))
        assert node.inputs[0] is not None
        step = node.inputs[0]
    return Operand(source, _type(value, halves))


def _given(value: ir.Value, halves: tuple[ir.DataType, ...]) -> Operand:
    """An output: INT8 if it is quantized for everything that reads it."""
    readers = [node for node, _ in value.uses()]
    scales = [_scale(node) for node in readers if node.op_type == _QUANTIZE]
    if scales and len(scales) == len(readers) and not value.is_graph_output():
        return Operand(value, "int8", scales[0] if len(set(scales)) == 1 else None)
    return Operand(value, _type(value, halves))


def _type(value: ir.Value, halves: tuple[ir.DataType, ...]) -> str:
    if value.dtype in halves:
        return "fp16"
    if value.dtype == ir.DataType.FLOAT:
        return "fp32"
    return "unknown" if value.dtype is None else value.dtype.name


def _scale(node: ir.Node) -> float | None:
    scale = constant(node.inputs[1])
    return float(scale.reshape(-1)[0]) if scale is not None and scale.size == 1 else None
