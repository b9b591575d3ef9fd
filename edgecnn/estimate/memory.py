"""Memory of the process that runs an engine: weights, activations, and what TensorRT and CUDA take for themselves."""

from __future__ import annotations

import onnx_ir as ir

from edgecnn.core.device import DeviceProfile
from edgecnn.core.estimate import Range
from edgecnn.graph.liveness import most_live_bytes, weight_bytes

_MB = 1e6
# Libraries and CUDA's context, by TensorRT's major version: least, usual, most. For 8 they are those that NetsPresso
# publishes of JetPack 4.6 and 5 (docs/device_matrix/tensorrt.md: 300 MB on Orin, 600 to 960 MB on older boards). Nobody
# has published the later ones in a form that separates them: the range stands for not knowing.
_LIBRARIES = {"8": (300 * _MB, 600 * _MB, 960 * _MB)}
_LIBRARIES_LATER = (150 * _MB, 400 * _MB, 960 * _MB)
# TensorRT pads channels and keeps a workspace, or fuses away what the graph counts.
_ACTIVATIONS = (0.5, 1.0, 2.0)


def estimate_memory(model: ir.Model, device: DeviceProfile, part: float, batch: int) -> Range:
    """The range of memory, in bytes.

    Args:
        model: Shapes and types inferred, all known.
        device: A board, with the TensorRT that is meant as its newest.
        part: Of the graph's bytes that the precision takes: 0.25 for INT8 made of an FP32 graph.
        batch: Pictures at once.

    Raises:
        ValueError: A shape is not known.
    """
    live = most_live_bytes(model)
    if live is None:
        raise ValueError("a shape is not known")
    version = device.newest.tensorrt.partition(".")[0] if device.newest is not None else ""
    weights = weight_bytes(model) * part
    low, middle, high = (
        libraries + weights + live * part * batch * factor
        for libraries, factor in zip(_LIBRARIES.get(version, _LIBRARIES_LATER), _ACTIVATIONS, strict=True)
    )
    return Range(low=low, middle=middle, high=high)
