"""NVIDIA's limits for convolutions, matrix products and pooling on DLA: each rule says what is beyond them, or None.

From the developer's guides of TensorRT 8.4 to 10 and NvInfer.h. No release differs in them; Xavier and Orin do in one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgecnn.check.dla_layers import Layer, source_of
from edgecnn.graph.layer_weights import attribute_ints, for_each_axis

# 16 is documented; TensorRT 8.5.2 refused a convolution that takes just that in FP16 (NVIDIA/TensorRT#3499).
_BANKS = 15
_BANK_BYTES, _BANK_ENTRIES = 32768, 256
_LONG_SIDES = (64, 96, 128)
_COMPUTED = "its weights are computed at run time, and DLA takes constants"


def convolution(layer: Layer) -> str | None:
    """What is beyond the limits of Convolution; as in every rule here, the layer's sizes are known."""
    weights = _weights(layer)
    if weights is None:
        return _COMPUTED
    kernel = weights[2:]
    strides, dilations = (for_each_axis(layer.node, name, 2) for name in ("strides", "dilations"))
    extent = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
    padding = _padding(layer, extent, strides)
    if any(pad >= size for pad, size in zip(padding, kernel, strict=True)):
        return f"padding {times(padding)} is not less than the kernel's {times(kernel)}"
    return (
        beyond("kernel", kernel, 1, 32)
        or beyond("padding", padding, 0, 31)
        or beyond("stride", strides, 1, 8)
        or beyond("dilation", dilations, 1, 32)
        or beyond("convolution buffer: banks", (_buffer_banks(layer, kernel, extent[0]),), 0, _BANKS)
    )


def deconvolution(layer: Layer) -> str | None:
    """What is beyond the limits of Deconvolution."""
    weights = _weights(layer)
    if weights is None:
        return _COMPUTED
    kernel, strides = weights[2:], for_each_axis(layer.node, "strides", 2)
    for what, sides in (("kernel", kernel), ("stride", strides)):
        is_long = min(sides) == 1 and max(sides) in _LONG_SIDES
        if not is_long and (max(sides) > 32 or (sides[0] == sides[1] and sides[0] > 22)):
            return f"{what} {times(sides)}, and DLA takes 1 to 32, square ones 1 to 22, or 1 x 64, 96 or 128"
    return (
        beyond("padding", _padding(layer, kernel, strides), 0, 0)
        or beyond("output padding", attribute_ints(layer.node, "output_padding", 0), 0, 0)
        or beyond("groups", attribute_ints(layer.node, "group", 1), 1, 1)
        or beyond("dilation", for_each_axis(layer.node, "dilations", 2), 1, 1)
    )


def product(layer: Layer) -> str | None:
    """What keeps a Gemm or MatMul from being a convolution of 1 x 1, which DLA runs it as."""
    weights = _weights(layer)
    if weights is None or len(weights) != 2:
        return "the second factor is not a constant matrix, and DLA takes no other"
    attributes = layer.node.attributes
    if any(name in attributes and attributes[name].as_float() != 1 for name in ("alpha", "beta")):
        return "alpha or beta is not 1, and DLA takes a plain fully connected layer"
    if attribute_ints(layer.node, "transA", 0)[0]:
        return "its input is transposed, and DLA takes a plain fully connected layer"
    return None


def pooling(layer: Layer) -> str | None:
    """What is beyond the limits of Pooling."""
    node = layer.node
    window, strides = attribute_ints(node, "kernel_shape", 1), for_each_axis(node, "strides", 2)
    inclusive = attribute_ints(node, "count_include_pad", 0)[0]
    if node.op_type == "AveragePool" and layer.target.family == "xavier" and not inclusive:
        return "its averages leave the padding out, and Xavier's DLA counts it in"
    return (
        beyond("window", window, 1, 8)
        or beyond("padding", _padding(layer, window, strides), 0, 7)
        or beyond("stride", strides, 1, 16)
        or beyond("dilation", for_each_axis(node, "dilations", 2), 1, 1)
        or one_scale(layer, with_output=True)
    )


def one_scale(layer: Layer, *, with_output: bool) -> str | None:
    """INT8 that DLA joins, or hands on as it is, has one scale."""
    operands = (*layer.inputs, *layer.outputs) if with_output and layer.outputs[0].type == "int8" else layer.inputs
    scales = {operand.scale for operand in operands}
    if not layer.int8 or (len(scales) == 1 and None not in scales):
        return None
    return "INT8 with different scales, and DLA takes one for all"


def beyond(what: str, values: Sequence[int], low: int, high: int) -> str | None:
    """What to say of values that are not all within limits, or None."""
    if all(low <= value <= high for value in values):
        return None
    limits = f"{low}" if low == high else f"{low} to {high}"
    return f"{what} {times(values)}, and DLA takes {limits}"


def times(values: Sequence[int]) -> str:
    """Sizes as text: 3 x 3."""
    return " x ".join(map(str, values))


def _padding(layer: Layer, extent: Sequence[int], strides: Sequence[int]) -> list[int]:
    """The larger padding of each spatial axis; ``extent`` is what the kernel covers, with its dilation."""
    mode = layer.node.attributes["auto_pad"].as_string() if "auto_pad" in layer.node.attributes else "NOTSET"
    if mode.startswith("SAME"):
        axes = zip(layer.inputs[0].nchw[2:], layer.outputs[0].nchw[2:], extent, strides, strict=True)
        return [math.ceil(max((after - 1) * step + size - before, 0) / 2) for before, after, size, step in axes]
    pads = attribute_ints(layer.node, "pads", 0) if mode == "NOTSET" else (0,)
    return [max(pads[axis::2]) for axis in (0, 1)] if len(pads) == 4 else [max(pads)] * 2


def _weights(layer: Layer) -> tuple[int, ...] | None:
    """The shape of constant weights; None where they, or the bias, are computed."""
    data, weight = layer.node.inputs[0], layer.node.inputs[1]
    if len(layer.inputs) != 1 or data is None or source_of(data) is not layer.inputs[0].value:
        return None
    assert weight is not None
    if weight.shape is None:
        return None
    return tuple(size for size in weight.shape if isinstance(size, int))


def _buffer_banks(layer: Layer, kernel: Sequence[int], rows: int) -> int:
    """What one filter, and the rows of the input under it, take of DLA's convolution buffer by NVIDIA's formula."""
    _, channels, _, width = layer.inputs[0].nchw
    size = 1 if layer.int8 else 2
    filter_bytes = math.ceil(channels * math.prod(kernel) * size / 128) * 128
    entries = math.ceil(math.ceil(channels * size / 32) * width / 4)
    return math.ceil(filter_bytes / _BANK_BYTES) + math.ceil(entries * rows / _BANK_ENTRIES)
