"""How much memory a graph takes while it runs: values that live at the same time, in the order of the graph."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from edgecnn.graph.model import bytes_of


def weight_bytes(model: ir.Model) -> int:
    """What the weights take."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)


def most_live_bytes(model: ir.Model) -> int | None:
    """The most that inputs, outputs and what is between take at one time, in bytes; None where shapes are not known.

    Counted as the graph orders and types them: a compiler pads channels, fuses layers and may run branches together.
    """
    last_use: dict[ir.Value, int] = {}
    for index, node in enumerate(model.graph):
        last_use |= {value: index for value in node.inputs if value is not None}
    last_use |= dict.fromkeys(model.graph.outputs, len(model.graph))
    live, most = 0, 0
    ends: Counter[int] = Counter()
    for value in model.graph.inputs:
        if value.name not in model.graph.initializers:
            size = bytes_of(value)
            if size is None:
                return None
            live += size
            ends[last_use.get(value, 0)] += size
    for index, node in enumerate(model.graph):
        for value in node.outputs:
            size = bytes_of(value)
            if size is None:
                return None
            live += size
            ends[max(index, last_use.get(value, index))] += size
        most = max(most, live)
        live -= ends[index]
    return most
