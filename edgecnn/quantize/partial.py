"""A network of which only the part behind what was run already runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy.typing as npt
import onnx
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.tensors import Arrays


class PartialNetwork:
    """One network, and where it goes on.

    Attributes:
        begin: Values that are kept.
        kept: For each frame these values, by name.
    """

    def __init__(self, model: ir.Model, frames: Sequence[Arrays]) -> None:
        self._model = model
        self._values = {str(value.name): value for node in model.graph for value in node.outputs}
        inputs = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
        self._values |= {str(value.name): value for value in inputs}
        self._fixed = _fixed(model.graph, inputs)
        self.begin: frozenset[ir.Value] = frozenset(inputs)
        self.kept = [dict(frame) for frame in frames]

    def cut_behind(self, names: Collection[str], later: Collection[str]) -> frozenset[ir.Value]:
        """The values from which on, once ``names`` are computed, everything for ``later`` can be."""
        done: set[ir.Node | None] = set(self._up_to(names))
        read = {value for node in self._up_to(later) if node not in done for value in read_by(node)}
        read |= {self._values[name] for name in later}
        return frozenset(value for value in read - self._fixed if value in self.begin or value.producer() in done)

    def part(
        self, names: Collection[str], further: Collection[ir.Value] = (), *, beside_others: bool = True
    ) -> OrtSession | None:
        """What computes ``names`` and ``further`` from what is kept, in one thread if others work beside it.

        None where all of them are kept.
        """
        wanted = {*(self._values[name] for name in names), *further} - self.begin
        if not wanted:
            return None
        nodes = self._up_to([str(value.name) for value in wanted])
        read = {value: None for node in nodes for value in read_by(node)}
        proto = onnx.ModelProto(
            ir_version=self._model.ir_version,
            opset_import=[onnx.helper.make_opsetid(*entry) for entry in self._model.opset_imports.items()],
            functions=[ir.to_proto(function) for function in self._model.functions.values()],
        )
        proto.graph.name = "part"
        proto.graph.node.extend(ir.to_proto(node) for node in nodes)
        proto.graph.input.extend(ir.to_proto(value) for value in read if value in self.begin)
        proto.graph.output.extend(ir.to_proto(value) for value in wanted)
        for value in read:
            if value.const_value is not None and value.producer() is None:
                tensor = ir.to_proto(value.const_value)
                tensor.name = str(value.name)
                proto.graph.initializer.append(tensor)
        threads = 1 if beside_others else 0
        return OrtSession(proto.SerializeToString(), threads=threads, optimize=False, beside_others=beside_others)

    def run(self, names: Collection[str], further: Collection[ir.Value] = ()) -> list[dict[str, npt.NDArray[Any]]]:
        """These values of all frames, by name."""
        part = self.part(names, further, beside_others=False)
        wanted = {*names, *(str(value.name) for value in further)}
        runs = [run_part(part, kept) for kept in self.kept]
        if part is not None:
            part.close()
        return [{name: values[name] for name in wanted} for values in runs]

    def advance(self, cut: frozenset[ir.Value]) -> None:
        """Go on to a cut, and keep that."""
        self.kept = self.run((), cut)
        self.begin = cut

    def _up_to(self, names: Collection[str]) -> list[ir.Node]:
        """The nodes between what is kept and values, in the graph's order."""
        found: set[ir.Node] = set()
        waiting = [self._values[name] for name in names]
        while waiting:
            value = waiting.pop()
            node = value.producer()
            if value not in self.begin and node is not None and node not in found:
                found.add(node)
                waiting += read_by(node)
        return [node for node in self._model.graph if node in found]


def run_part(part: OrtSession | None, values: Arrays) -> Arrays:
    """What is kept, and what a part makes of it."""
    if part is None:
        return values
    return {**values, **part.run({spec.name: values[spec.name] for spec in part.inputs})}


def _fixed(graph: ir.Graph, inputs: Collection[ir.Value]) -> set[ir.Value]:
    """Values that are the same for every frame."""
    moving = set(inputs)
    fixed: set[ir.Value] = set(graph.initializers.values()) - moving
    for node in graph:
        (moving if any(value in moving for value in read_by(node)) else fixed).update(node.outputs)
    return fixed


def read_by(node: ir.Node) -> list[ir.Value]:
    """The values of its own graph that a node reads, those in bodies of If and Loop included."""
    bodies = [
        body
        for attribute in node.attributes.values()
        for body in (
            [attribute.as_graph()]
            if attribute.type == ir.AttributeType.GRAPH
            else attribute.as_graphs()
            if attribute.type == ir.AttributeType.GRAPHS
            else []
        )
    ]
    nodes = [node, *(inner for body in bodies for inner in ir.traversal.RecursiveGraphIterator(body))]
    outside = {value for inner in nodes for value in inner.inputs if value is not None and value.graph is node.graph}
    outputs = [value for body in bodies for value in body.outputs if value.graph is node.graph]
    return sorted({*outside, *outputs}, key=lambda value: str(value.name))
