"""What an engine is made of, as TensorRT's inspector and trtexec write it down."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.core.engine import LAYERS
from edgecnn.errors import InputError

# A layer that only moves what another one reads.
_COPY = "Reformatting CopyNode"


def read_layer_types(text: str) -> dict[str, tuple[str, ...]]:
    """Formats and types of each layer's inputs, by name, from ``--exportLayerInfo`` or the engine's inspector.

    Empty where the engine was built without detailed verbosity, which leaves names alone.

    Raises:
        InputError: It is something else.
    """
    return {
        str(layer["Name"]): tuple(str(value.get("Format/Datatype", "")) for value in layer.get("Inputs", ()))
        for layer in _layers(text)
    }


def read_layer_metadata(text: str) -> dict[str, str]:
    """What TensorRT says of where each layer comes from, as ``[ONNX Layer: conv1]``, by the engine's layer.

    Empty for versions before 8.6 and without detailed verbosity, which do not say.

    Raises:
        InputError: It is something else.
    """
    return {str(layer["Name"]): str(layer["Metadata"]) for layer in _layers(text) if "Metadata" in layer}


def computed_in_float(quantized: Sequence[str], layer_types: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Of the layers that the graph has in INT8, those that the engine computes in float.

    Args:
        quantized: Names of the graph's. Those that the engine does not name, as within a ForeignNode, are not judged.
        layer_types: Of the engine, see ``read_layer_types``; a name of several layers joins theirs.
    """
    computing = {name: types for name, types in layer_types.items() if not name.startswith(_COPY)}

    def runs_in_float(layer: str) -> bool:
        named = re.compile(rf"(?<![\w./]){re.escape(layer)}(?![\w./])")
        found = [types for name, types in computing.items() if named.search(name)]
        return bool(found) and not any("int8" in each.lower() for types in found for each in types)

    return tuple(layer for layer in quantized if runs_in_float(layer))


def _layers(text: str) -> list[dict[str, Any]]:
    document = read_document(text, LAYERS)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise InputError(f"{LAYERS}: no list of layers", "write it again with trtexec --exportLayerInfo")
    return [layer for layer in layers if isinstance(layer, dict) and "Name" in layer]


def read_document(text: str, name: str) -> Any:
    """A file that TensorRT or trtexec wrote.

    Raises:
        InputError: It is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError:
        raise InputError(f"{name}: not JSON", "write it again with trtexec") from None
