"""What each layer of a graph computes and moves, and whose the nodes and tensors around it are."""

from __future__ import annotations

import math

import onnx_ir as ir

from edgecnn.core.layer_costs import LayerCost, LayerCosts
from edgecnn.graph.layer_weights import LINEAR_LAYERS
from edgecnn.graph.summary import count_macs

# They serve a layer and are none.
_SERVING = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Identity"})
_NARROWING = "QuantizeLinear"
_WIDENING = "DequantizeLinear"


def layer_costs(model: ir.Model) -> LayerCosts:
    """A row for every layer of a graph whose shapes have been inferred, in the graph's order.

    A Q/DQ node or a cast belongs to the layer that reads what it makes, and one before the network's end to the layer
    that made what it reads. With a Q/DQ pair between two layers, what they move is what the pair narrows it to.
    """
    nodes = {name: _layer_of(node) for node in model.graph if (name := node.name) and node.op_type != "Constant"}
    tensors: dict[str, str] = {}
    for node in model.graph:
        owner = nodes.get(node.name or "")
        if owner is not None:
            tensors |= {value.name: owner for value in node.outputs if value.name}
    for name, value in model.graph.initializers.items():
        reader = next(iter(value.consumers()), None)
        if reader is not None and reader.name in nodes:
            tensors[name] = nodes[reader.name]
    layers = tuple(_cost(node, nodes) for node in model.graph if node.name in nodes and node.op_type not in _SERVING)
    return LayerCosts(layers=layers, nodes=nodes, tensors=tensors)


def _layer_of(node: ir.Node) -> str:
    ways = (_producer, _reader) if node.op_type == _NARROWING else (_reader, _producer)
    for way in ways:
        found: ir.Node | None = node
        while found is not None and found.op_type in _SERVING:
            found = way(found)
        if found is not None:
            return found.name or ""
    return node.name or ""


def _producer(node: ir.Node) -> ir.Node | None:
    source = node.inputs[0]
    return None if source is None else source.producer()


def _reader(node: ir.Node) -> ir.Node | None:
    return next(iter(node.outputs[0].consumers()), None)


def _cost(node: ir.Node, owners: dict[str, str]) -> LayerCost:
    inputs = [_bytes(_as_read(value)) for value in node.inputs if value is not None]
    outputs = [_bytes(_as_written(value)) for value in node.outputs if value.name]
    sizes = [*inputs, *outputs]
    return LayerCost(
        name=node.name or "",
        op_type=node.op_type,
        reads=tuple(dict.fromkeys(name for value in node.inputs if (name := _maker(value, owners)))),
        macs=count_macs(node) if node.op_type in LINEAR_LAYERS else 0,
        moved_bytes=None if None in sizes else sum(size for size in sizes if size is not None),
    )


def _maker(value: ir.Value | None, owners: dict[str, str]) -> str:
    """The layer that makes what a layer reads, past the nodes that only serve; empty for inputs and weights."""
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _SERVING:
        producer = _producer(producer)
    return "" if producer is None else owners.get(producer.name or "", "")


def _as_read(value: ir.Value) -> ir.Value:
    """What is in memory where a layer reads a value: before the DequantizeLinear that is fused into the layer."""
    producer = value.producer()
    while producer is not None and producer.op_type in (_WIDENING, "Cast") and producer.inputs[0] is not None:
        value = producer.inputs[0]
        if producer.op_type == _WIDENING:
            break
        producer = value.producer()
    return value


def _as_written(value: ir.Value) -> ir.Value:
    readers = list(value.consumers())
    if len(readers) == 1 and readers[0].op_type == _NARROWING:
        return readers[0].outputs[0]
    return value


def _bytes(value: ir.Value) -> int | None:
    if value.shape is None or value.dtype is None:
        return None
    sizes = [size for size in value.shape if isinstance(size, int)]
    if len(sizes) != len(value.shape):
        return None
    return math.ceil(math.prod(sizes) * value.dtype.itemsize)
