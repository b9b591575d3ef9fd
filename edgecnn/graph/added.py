"""Nodes that a pass adds to a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.model import add_initializer


class AddedNodes:
    """Makes nodes whose names, and those of their outputs and constants, begin with a prefix.

    The prefix is how later passes, which see only a file, know the nodes again.

    Attributes:
        nodes: What was made, in order, for the caller to insert; constants are in the graph at once.
    """

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self._graph = graph
        self._prefix = prefix
        self.nodes: list[ir.Node] = []

    def op(
        self, name: str, op_type: str, inputs: Sequence[ir.Value | None], domain: str = "", **attributes: Any
    ) -> ir.Value:
        """Add a node with one output, of FP32 until shape inference or the caller says otherwise."""
        return self.ops(name, op_type, inputs, (name,), domain, **attributes)[0]

    def ops(
        self,
        name: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node; its outputs."""
        node = ir.node(
            op_type, inputs, attributes, domain=domain, num_outputs=len(outputs), name=f"{self._prefix}{name}"
        )
        for value, output in zip(node.outputs, outputs, strict=True):
            value.name = f"{self._prefix}{output}"
        self.nodes.append(node)
        return node.outputs

    def floats(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """An FP32 constant."""
        return add_initializer(self._graph, f"{self._prefix}{name}", np.asarray(array, np.float32))

    def integers(self, name: str, array: npt.ArrayLike) -> ir.Value:
        """An INT64 constant."""
        return add_initializer(self._graph, f"{self._prefix}{name}", np.asarray(array, np.int64))


def names_with_prefix(model: ir.Model, prefix: str) -> tuple[str, ...]:
    """The names of the nodes that were added under a prefix, in the graph's order."""
    return tuple(node.name for node in model.graph if node.name is not None and node.name.startswith(prefix))
