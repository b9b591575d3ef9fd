"""From the names that a backend gives to what it runs, back to the layers of the model.

Both backends fuse layers and make new ones around them. What they call these is known:

- TensorRT joins names with `` + `` and wraps them, as in ``PWN(...)``; ``{ForeignNode[a...b]}`` names the ends of a
  run of nodes. Its inspector's metadata, where there are any, name all: ``[ONNX Layer: a]``.
- ONNX Runtime keeps a node's name, puts ``fused`` before it, or ``/QuickGeluFusion/`` and ``_nchwc`` behind it or
  behind the tensor's that it makes; a cast that it adds is called after its tensor.

A name that leads to nothing in the graph stays without a layer: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from edgecnn.core.layer_costs import LayerCost, LayerCosts
from edgecnn.profiling.records import LayerTime

_METADATA = re.compile(r"\[ONNX Layer: ([^\]|\x1e\x1f]+?)\s*[\]|\x1e\x1f]")
_FOREIGN = re.compile(r"ForeignNode\[(?P<first>.+?)\.\.\.(?P<last>.+?)\]")
_WRAPPED = re.compile(r"^(?:PWN|fused|[A-Za-z]+)\((?P<inner>.*)\)$")
_JOINED = re.compile(r"\s\+\s|,\s|\|\|")
# What ONNX Runtime puts before and behind the name of an operator, and how many layers it makes one of.
_OPERATOR = re.compile(r"^(?:Fused|QLinear)|Integer$")
_FUSED_AT_MOST = 4
# What ONNX Runtime puts around the name of a node or of a tensor.
_BEFORE = ("fused ", "InsertedPrecisionFreeCast_", "InsertedCast_")
_BEHIND = re.compile(
    r"(?:/\w+Fusion/?|_nchwc|_nhwc|_pre_q|_q|_dq|_quant|_fused|_token_\d+|/duplicated|_scale|_bias_(?:div|div_round|int32|dq)|_bias_quantized)$"
)


def name_layers(
    times: Iterable[LayerTime], costs: LayerCosts, metadata: Mapping[str, str] | None = None
) -> tuple[LayerTime, ...]:
    """Say for each of a backend's layers which ones of the model it computes.

    Args:
        times: Of the backend's layers.
        costs: The model's layers.
        metadata: Of the backend's layers, by name, as TensorRT's inspector gives them.
    """
    stated = metadata or {}
    by_name = {layer.name: layer for layer in costs.layers}
    found: list[LayerTime] = []
    for row in times:
        names = layers_of(row.name, costs, stated.get(row.name, ""))
        if len(names) == 1:
            names = _fused_before(names[0], row.op_type, by_name)
        found.append(row.model_copy(update={"layers": tuple(names)}))
    return tuple(found)


def layers_of(name: str, costs: LayerCosts, metadata: str = "") -> list[str]:
    """The model's layers behind one name of a backend, in order, each once."""
    stated = _METADATA.findall(metadata)
    if stated:
        return _once(costs.nodes[each] for each in stated if each in costs.nodes)
    run = _FOREIGN.search(name)
    if run is not None:
        return _between(run["first"].strip(), run["last"].strip(), costs)
    whole = _one(name, costs)
    if whole is not None:
        return [whole]
    inner = _WRAPPED.match(name.strip())
    if inner is not None:
        return layers_of(inner["inner"], costs)
    parts = _JOINED.split(name)
    if len(parts) == 1:
        return []
    return _once(layer for part in parts for layer in layers_of(part.strip(), costs))


def _fused_before(last: str, op_type: str, by_name: Mapping[str, LayerCost]) -> list[str]:
    """The layers that end in one, from the nearest before it with the backend's operator.

    ONNX Runtime calls a convolution in its own layout after what it makes, which is the activation's with one inside.
    """
    wanted = _OPERATOR.sub("", op_type)
    paths = [[last]]
    for _ in range(_FUSED_AT_MOST):
        for path in paths:
            layer = by_name.get(path[0])
            if layer is not None and layer.op_type == wanted:
                return path
        paths = [[name, *path] for path in paths if path[0] in by_name for name in by_name[path[0]].reads]
    return [last]


def _one(name: str, costs: LayerCosts) -> str | None:
    """The layer of a node or a tensor, with whatever a backend puts around its name taken off step by step."""
    while True:
        found = costs.nodes.get(name) or costs.tensors.get(name)
        if found is not None:
            return found
        prefix = next((each for each in _BEFORE if name.startswith(each)), "")
        shorter = name[len(prefix) :] if prefix else _BEHIND.sub("", name)
        if shorter == name:
            return None
        name = shorter


def _between(first: str, last: str, costs: LayerCosts) -> list[str]:
    """Layers of a run of nodes, in the graph's order; its ends where that order has them the other way round."""
    order = list(costs.nodes)
    if first not in costs.nodes or last not in costs.nodes:
        return _once(costs.nodes[end] for end in (first, last) if end in costs.nodes)
    begin, end = order.index(first), order.index(last)
    return _once(costs.nodes[node] for node in order[min(begin, end) : max(begin, end) + 1])


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
