"""A network as the GPU runs it: which operators TensorRT computes in one kernel, and what each moves and multiplies.

The rules are those that NVIDIA documents for TensorRT ("Layer Fusion" in its developer guide): a convolution or matrix
product takes the activation and the residual addition behind it, pointwise operators become one, and changes of shape
are free. A concatenation or a split counts as a copy, though TensorRT often has the kernels before it write in place:
published results are met better so. What TensorRT really does is its own choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from edgecnn.estimate.operator_kinds import FREE, POINTWISE, REDUCE, SHAPES, WINDOW
from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.model import constant
from edgecnn.graph.summary import count_macs

Kind = Literal["conv", "depthwise", "product", "pointwise", "window", "reduce", "copy"]


@dataclass(frozen=True)
class Launch:
    """One kernel. Elements are numbers of values, whatever they are stored in; a batch is in them.

    Attributes:
        name: Of the node that it begins with.
        nodes: Names of all nodes in it.
        kind: What bounds it: ``conv`` and ``product`` multiply, ``depthwise`` and the others mostly move.
        macs: Multiply-accumulates.
        rows: Pixels or rows that are computed, of all pictures of the batch.
        outputs: Channels of each, in each group.
        depth: Products that are added up for each output.
        groups: Of channels that are computed apart.
        taken: Elements read, without weights.
        given: Elements written.
        weights: Elements of weights and biases.
        winograd: Whether it is a 3 x 3 convolution of single steps, which takes fewer products by Winograd's algorithm.
        int8: Whether the graph quantizes what it multiplies.
    """

    name: str
    nodes: tuple[str, ...]
    kind: Kind
    macs: int
    rows: int
    outputs: int
    depth: int
    groups: int
    taken: int
    given: int
    weights: int
    winograd: bool = False
    int8: bool = False


def find_launches(model: ir.Model) -> list[Launch]:
    """The kernels of a graph whose shapes are all known, in order.

    Args:
        model: BatchNorm folded; with or without Q/DQ. What is computed from constants and shapes alone costs nothing.

    Raises:
        ValueError: A shape is not known; the message names the value.
    """
    return _Fusion(model).launches()


class _Fusion:
    """The state of going through a graph once."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._source: dict[ir.Value, ir.Value] = {}
        self._taken: set[ir.Node] = set()
        fixed = {value for value in model.graph.initializers.values() if not value.is_graph_input()}
        self._nodes: list[ir.Node] = []
        for node in model.graph:
            given = [value for value in node.inputs if value is not None]
            if node.op_type in SHAPES or all(value in fixed for value in given):
                fixed |= set(node.outputs)
            elif node.op_type in FREE and given:
                self._source |= dict.fromkeys(node.outputs, self._origin(given[0]))
            else:
                self._nodes.append(node)
        self._fixed = fixed
        self._readers: dict[ir.Value, list[ir.Node]] = {}
        for node in self._nodes:
            for value in dict.fromkeys(self._operands(node)):
                self._readers.setdefault(value, []).append(node)
        self._ends = {self._origin(value) for value in model.graph.outputs}

    def launches(self) -> list[Launch]:
        found: list[Launch] = []
        for node in self._nodes:
            if node in self._taken:
                continue
            group = [node]
            self._taken.add(node)
            if is_linear_layer(node) or node.op_type in POINTWISE:
                self._absorb(group)
            found.append(self._launch(group))
        return found

    def _origin(self, value: ir.Value) -> ir.Value:
        return self._source.get(value, value)

    def _operands(self, node: ir.Node) -> list[ir.Value]:
        """What a node reads that changes from frame to frame."""
        return [self._origin(value) for value in node.inputs if value is not None and value not in self._fixed]

    def _absorb(self, group: list[ir.Node]) -> None:
        """Take the pointwise operators behind a node into its kernel, as long as nobody else reads what is between."""
        linear = is_linear_layer(group[0])
        added = False
        while True:
            tail = group[-1].outputs[0]
            readers = self._readers.get(tail, [])
            if tail in self._ends or not readers:
                return
            gate = self._gate(readers)
            if gate is not None:
                group += gate
                self._taken |= set(gate)
                continue
            node = readers[0]
            if len(readers) > 1 or node.op_type not in POINTWISE or node in self._taken:
                return
            others = [value for value in self._operands(node) if value is not tail]
            if linear and others:
                # One residual of the same size; and only where it is there already.
                same = all(_elements(value) == _elements(tail) for value in others)
                if added or node.op_type not in ("Add", "Sum") or not same:
                    return
                added = True
            if not all(self._is_there(value) for value in others):
                return
            group.append(node)
            self._taken.add(node)

    def _gate(self, readers: Sequence[ir.Node]) -> list[ir.Node] | None:
        """SiLU and its like: a value times a function of itself."""
        if len(readers) != 2 or any(node in self._taken for node in readers):
            return None
        inner, outer = sorted(readers, key=lambda node: node.op_type == "Mul")
        chain = [inner]
        while chain[-1].op_type in POINTWISE and len(chain) < 4:
            following = self._readers.get(chain[-1].outputs[0], [])
            if following == [outer] and outer.op_type == "Mul":
                return [*chain, outer]
            if len(following) != 1 or following[0] in self._taken or len(self._operands(following[0])) != 1:
                return None
            chain.append(following[0])
        return None

    def _is_there(self, value: ir.Value) -> bool:
        maker = value.producer()
        return maker is None or maker in self._taken

    def _launch(self, group: list[ir.Node]) -> Launch:
        first, last = group[0], group[-1]
        inside = {output for node in group for output in node.outputs}
        read = dict.fromkeys(value for node in group for value in self._operands(node) if value not in inside)
        made = [value for value in last.outputs if value in self._readers or value in self._ends] or [last.outputs[0]]
        kind, rows, outputs, depth, groups = self._shape(first)
        macs = 0
        if kind in ("conv", "depthwise", "product"):
            macs = count_macs(first) or rows * outputs * groups * depth
        weights = sum(_elements(value) for value in first.inputs[1:] if value is not None and value in self._fixed)
        return Launch(
            name=str(first.name or first.outputs[0].name),
            nodes=tuple(str(node.name or node.outputs[0].name) for node in group),
            kind=kind,
            macs=macs,
            rows=rows,
            outputs=outputs,
            depth=depth,
            groups=groups,
            taken=sum(map(_elements, read)),
            given=sum(map(_elements, made)),
            weights=weights if macs else 0,
            winograd=kind == "conv" and groups == 1 and _is_single_step(first),
            int8=bool(macs) and _is_quantized(first),
        )

    def _shape(self, node: ir.Node) -> tuple[Kind, int, int, int, int]:
        """Kind, rows, outputs of a group, depth and groups."""
        elements = _elements(node.outputs[0])
        if node.op_type in ("Conv", "ConvTranspose"):
            groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
            weight = _sizes(node.inputs[1])
            taps = math.prod(weight[2:])
            # Every pixel that a ConvTranspose reads meets all its taps; a Conv writes every pixel once.
            if node.op_type == "ConvTranspose":
                rows = _elements(node.inputs[0]) // weight[0]
                return "conv", rows, weight[1] * taps, weight[0] // groups, groups
            rows, depth = elements // weight[0], weight[1] * taps
            # A few channels a group leave tensor cores empty, as one does.
            kind: Kind = "depthwise" if groups > 1 and weight[1] == 1 else "conv"
            return kind, rows, weight[0] // groups, depth, groups
        if is_linear_layer(node):
            outputs = _sizes(node.outputs[0])[-1]
            given = _sizes(node.inputs[0])
            transposed = "transA" in node.attributes and node.attributes["transA"].as_int()
            return "product", elements // outputs, outputs, given[-2] if transposed else given[-1], 1
        if node.op_type in POINTWISE:
            return "pointwise", elements, 1, 1, 1
        if node.op_type in WINDOW:
            return "window", elements, 1, 1, 1
        return ("reduce" if node.op_type in REDUCE else "copy"), elements, 1, 1, 1


def _is_single_step(node: ir.Node) -> bool:
    """Whether a convolution has 3 x 3 taps side by side and leaves out no pixel."""
    steps = [node.attributes[name].as_ints() for name in ("strides", "dilations") if name in node.attributes]
    return node.op_type == "Conv" and _sizes(node.inputs[1])[2:] == (3, 3) and all(set(step) == {1} for step in steps)


def _is_quantized(node: ir.Node) -> bool:
    """Whether both what a layer multiplies and its weights come from DequantizeLinear."""
    makers = [value.producer() for value in node.inputs[:2] if value is not None]
    return len(makers) == 2 and all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _sizes(value: ir.Value | None) -> tuple[int, ...]:
    if value is not None and value.shape is None and (array := constant(value)) is not None:
        return array.shape
    shape: Iterable[object] | None = value.shape if value is not None else None
    if shape is None or not all(isinstance(size, int) for size in shape):
        raise ValueError(f"the shape of {value.name if value is not None else 'a missing input'} is not known")
    return tuple(int(size) for size in shape if isinstance(size, int))


def _elements(value: ir.Value | None) -> int:
    return math.prod(_sizes(value))
