"""A network and changed copies of it, run side by side and a part at a time, while the copies still change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import onnx
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.tensors import Arrays

# What is kept of all frames between two parts, of all networks together.
_MOST_BYTES = 192 << 20


class SideBySide:
    """Runs networks up to values that lie further and further behind; what stands before them may change no more.

    What lies between what was run and what comes next is kept for all frames, wherever that fits into memory, and the
    next part begins there. Where it does not fit, such as between wide layers at the start of a network, the next part
    begins where this one did.

    Args:
        networks: Their inputs are the same, and have static shapes. The constants of nodes that were not run may be
            replaced between two calls of ``observe``; nodes may not.
        frames: Feeds; all are kept, as long as they are needed.

    Attributes:
        frames: How many there are.
    """

    def __init__(self, networks: Sequence[ir.Model], frames: Sequence[Arrays]) -> None:
        self._networks = [_Network(model, frames) for model in networks]
        self.frames = len(frames)

    def observe(self, names: Collection[str], later: Collection[str]) -> Iterator[tuple[Arrays, ...]]:
        """The values in each network, frame by frame.

        Args:
            names: Of values that all networks have.
            later: Of those that other calls will want.
        """
        cuts = [network.cut_behind(names, later) for network in self._networks]
        sizes = [_bytes_of(value) for cut in cuts for value in cut]
        fits = None not in sizes and self.frames * sum(size or 0 for size in sizes) <= _MOST_BYTES
        parts = [network.part(names, cut if fits else ()) for network, cut in zip(self._networks, cuts, strict=True)]
        with ThreadPoolExecutor(len(parts)) as pool:

            def start(index: int) -> list[Future[Arrays]]:
                frame = zip(self._networks, parts, strict=True)
                return [pool.submit(_run, part, network.kept[index]) for network, part in frame]

            ahead = start(0) if self.frames else []
            for index in range(self.frames):
                found = [each.result() for each in ahead]
                ahead = start(index + 1) if index + 1 < self.frames else []
                for network, values, cut in zip(self._networks, found, cuts, strict=True):
                    if fits:
                        network.kept[index] = {str(value.name): values[str(value.name)] for value in cut}
                yield tuple({name: values[name] for name in names} for values in found)
        for network, part, cut in zip(self._networks, parts, cuts, strict=True):
            if part is not None:
                part.close()
            if fits:
                network.begin = cut


def _run(part: OrtSession | None, values: Arrays) -> Arrays:
    if part is None:
        return values
    return {**values, **part.run({spec.name: values[spec.name] for spec in part.inputs})}


class _Network:
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

    def part(self, names: Collection[str], further: Collection[ir.Value]) -> OrtSession | None:
        """What computes ``names`` and ``further`` from what is kept; None where all of them are."""
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
        return OrtSession(proto.SerializeToString(), threads=1, optimize=False, beside_others=True)

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


def _bytes_of(value: ir.Value) -> int | None:
    """What a value takes; None where its shape or type is not known."""
    if value.shape is None or value.dtype is None or not all(isinstance(size, int) for size in value.shape):
        return None
    return int(np.prod(value.shape.numpy()) * value.dtype.itemsize)
