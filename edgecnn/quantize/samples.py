"""What layers see of their inputs at a few places of each picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.fold_pad import conv_pads
from edgecnn.graph.layer_weights import LayerWeights, for_each_axis, read_weights
from edgecnn.quantize.place import WeightPoint

# Places of a picture at which each layer's input is looked at, at least, and of all pictures together.
PLACES = 64
SAMPLES = 100 * PLACES


def matrix_form(point: WeightPoint) -> LayerWeights | None:
    """A layer's weights, where its outputs are sums of products with one bias each: no ConvTranspose, for one."""
    node = point.node
    weights = read_weights(node) if point.axis is not None else None
    if weights is None or not weights.has_channel_bias:
        return None
    if node.op_type == "Conv":
        return weights if conv_pads(node, len(weights.shape) - 2) is not None else None
    data = node.inputs[0]
    return weights if data is not None and data.shape is not None and len(data.shape) == 2 else None


def sample_columns(
    array: npt.NDArray[Any],
    node: ir.Node,
    weights: LayerWeights,
    generator: np.random.Generator,
    most: int = PLACES,
) -> npt.NDArray[np.float32]:
    """What a layer multiplies its weights by at a few places of its input: (groups, inputs, places)."""
    groups, _, taken, taps = weights.weight.shape
    if node.op_type != "Conv":
        return np.asarray(array.T[None], dtype=np.float32)
    kernel = weights.shape[2:]
    axes = len(kernel)
    strides, dilations = (for_each_axis(node, name, axes) for name in ("strides", "dilations"))
    pads = conv_pads(node, axes)
    assert pads is not None
    padded = np.pad(array[0], [(0, 0), *zip(pads[:axes], pads[axes:], strict=True)]) if any(pads) else array[0]
    sizes = [
        (padded.shape[axis + 1] - (kernel[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1 for axis in range(axes)
    ]
    total = int(np.prod(sizes))
    places = np.unravel_index(generator.integers(0, total, most) if total > most else np.arange(total), sizes)
    flat = padded.reshape(padded.shape[0], -1)
    columns = np.empty((padded.shape[0], taps, len(places[0])), dtype=np.float32)
    for tap, offset in enumerate(np.ndindex(*kernel)):
        index = tuple(places[axis] * strides[axis] + offset[axis] * dilations[axis] for axis in range(axes))
        columns[:, tap] = np.take(flat, np.ravel_multi_index(index, padded.shape[1:]), axis=1)
    return columns.reshape(groups, taken * taps, -1)
