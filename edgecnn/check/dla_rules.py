"""What keeps a layer off NVIDIA's DLA, by TensorRT's documents for 8.5, 8.6 and 10, its headers and logs of its builds.

Where these do not agree, or say nothing, a layer counts as one of the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.check.dla_layers import Layer
from edgecnn.check.dla_windows import beyond, convolution, deconvolution, one_scale, pooling, product, times
from edgecnn.graph.layer_weights import attribute_ints
from edgecnn.graph.model import constant

_BATCH, _SIZE = 4096, 8192
_SOFTMAX_AXIS = 1024  # where another axis is longer than 1
_ONE_AXIS = 13  # Softmax of earlier opsets flattens its input
_FIRST_MIN, _FIRST_REDUCE = (8, 6), (10,)
# Coordinates and rounding of ONNX in the combinations that DLA has.
_NEAREST = frozenset(
    {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")}
)
_LINEAR = frozenset({"half_pixel", "pytorch_half_pixel"})
_WITHIN = "change the layer to stay within this limit, or leave it to the GPU"
_OTHER = "use a layer that DLA has in its place, or leave it to the GPU"
_AVERAGE = ("TensorRT makes an average Reduce of it, and DLA has none", "export AveragePool with windows up to 8 x 8")
_SHUFFLE = (
    "TensorRT makes a Shuffle of it, and builds on Jetson have left those to the GPU",
    "reshape behind the last layer for DLA only",
)
_UNSURE = "TensorRT's documents list it for DLA, and its headers, or builds on Jetson, do without"
_NOT_ON_DLA: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), _AVERAGE),
    **dict.fromkeys(
        ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth"), _SHUFFLE
    ),
    **dict.fromkeys(("Div", "Pow"), (_UNSURE, "multiply with a constant, or with the tensor itself")),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Sin", "Cos", "Atan"), (_UNSURE, _OTHER)
    ),
    "Pad": ("TensorRT makes a Slice of it that reads beyond the border, and DLA has none", "let the convolution pad"),
}


@dataclass(frozen=True)
class Refusal:
    """Why a layer runs on the GPU.

    Attributes:
        rule: A short name, such as ``dla/convolution``.
        reason: What was found, and what DLA takes.
        remedy: What to do.
    """

    rule: str
    reason: str
    remedy: str


def refuse(layer: Layer) -> Refusal | None:
    """The first rule that keeps a layer off DLA, or None."""
    node, operands = layer.node, (*layer.inputs, *layer.outputs)
    operator = node.op_type
    if any(operand.sizes is None for operand in operands):
        return Refusal("dla/open-shape", "sizes are open, and DLA takes fixed ones", "export with fixed sizes")
    if node.domain == "" and operator in _NOT_ON_DLA:
        return Refusal("dla/operator", f"{operator}: {_NOT_ON_DLA[operator][0]}", _NOT_ON_DLA[operator][1])
    if node.domain or operator not in _RULES:
        return Refusal("dla/operator", f"DLA has no {operator}", _OTHER)
    foreign = next((operand.type for operand in operands if operand.type not in ("int8", "fp16")), None)
    if foreign is not None:
        return Refusal(
            "dla/type", f"numbers are {foreign.upper()}, and DLA has FP16 and INT8", "convert with --precision fp16"
        )
    axes = 2 if operator in ("Gemm", "MatMul") else 4
    foreign_rank = next((len(operand.sizes or ()) for operand in operands if len(operand.sizes or ()) != axes), None)
    if foreign_rank is not None:
        return Refusal("dla/rank", f"{operator} of {foreign_rank} axes, and DLA takes {axes}", _OTHER)
    batch = max(operand.nchw[0] for operand in operands)
    if batch > _BATCH:
        return Refusal("dla/batch", f"the batch is {batch}, and DLA takes 1 to {_BATCH}", "use a smaller batch")
    largest = max(size for operand in operands for size in operand.nchw[1:])
    if largest > _SIZE:
        return Refusal("dla/size", f"an axis has {largest} elements, and DLA takes 1 to {_SIZE}", _WITHIN)
    rule, check = _RULES[operator]
    reason = check(layer) if check else None
    return None if reason is None else Refusal(f"dla/{rule}", f"{operator}: {reason}", _WITHIN)


def _clip(layer: Layer) -> str | None:
    low, high = _bound(layer.node, 1, "min", -np.inf), _bound(layer.node, 2, "max", np.inf)
    if low is None or high is None:
        return "its bounds are computed at run time, and DLA takes constants"
    return (
        None
        if low == 0 and 1 <= high <= 127
        else f"from {low:g} to {high:g}, and DLA takes 0 to at least 1, at most 127"
    )


def _bound(node: ir.Node, position: int, name: str, default: float) -> float | None:
    if name in node.attributes:
        return node.attributes[name].as_float()
    if len(node.inputs) <= position or node.inputs[position] is None:
        return default
    array = constant(node.inputs[position])
    return None if array is None else float(array.reshape(-1)[0])


def _elementwise(layer: Layer) -> str | None:
    operator = layer.node.op_type
    if operator == "Min" and layer.target.version < _FIRST_MIN:
        return "NVIDIA's operator list for TensorRT 8.5 has it not on DLA"
    if len(layer.inputs) < len(layer.node.inputs):
        return _scale(layer)
    shapes = {operand.sizes for operand in layer.inputs}
    if len(shapes) > 1:
        return f"shapes {' and '.join(sorted(times(shape or ()) for shape in shapes))}, and DLA takes equal ones"
    return one_scale(layer, with_output=False)


def _scale(layer: Layer) -> str | None:
    """A constant factor or summand: one, one for each channel, or one for each element."""
    operator, inputs = layer.node.op_type, layer.node.inputs
    if operator not in ("Add", "Mul", "Sub") or (operator == "Sub" and inputs[0] is not None and _is_fixed(inputs[0])):
        return "with a constant, and DLA scales and shifts only"
    fixed = next(value for value in inputs if value is not None and _is_fixed(value))
    sizes = tuple(size for size in fixed.shape or () if isinstance(size, int))
    full = (1,) * (4 - len(sizes)) + sizes
    _, channels, height, width = layer.inputs[0].nchw
    if full in ((1, 1, 1, 1), (1, channels, 1, 1), (1, channels, height, width)):
        return None
    return f"a constant of {times(sizes)}, and DLA takes one number, one for each channel or one for each element"


def _is_fixed(value: ir.Value) -> bool:
    return constant(value) is not None


def _constants_only(layer: Layer) -> str | None:
    return None if len(layer.inputs) == 1 else "its parameters are computed at run time, and DLA takes constants"


def _concat(layer: Layer) -> str | None:
    if attribute_ints(layer.node, "axis", 1)[0] % 4 != 1:
        return "not along the channels, and DLA joins those only"
    if not 1 < len(layer.inputs) == len(layer.node.inputs):
        return "a constant or nothing beside one input, and DLA joins at least two computed ones"
    return one_scale(layer, with_output=True)


def _resize(layer: Layer) -> str | None:
    node = layer.node
    before, after = layer.inputs[0].nchw, layer.outputs[0].nchw
    old = node.op_type == "Upsample"
    mode = _text(node, "mode", "nearest")
    coordinates = _text(node, "coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    rounding = _text(node, "nearest_mode", "floor" if old else "round_prefer_floor")
    known = (coordinates, rounding) in _NEAREST if mode == "nearest" else mode == "linear" and coordinates in _LINEAR
    if not known or attribute_ints(node, "antialias", 0)[0]:
        way = f"{coordinates}, {rounding}" if mode == "nearest" else coordinates
        return f"{mode} with {way}, and DLA has neither this nor antialiasing"
    if before[:2] != after[:2] or any(size % base for size, base in zip(after[2:], before[2:], strict=True)):
        return f"from {times(before)} to {times(after)}, and DLA takes whole multiples of height and width"
    factors = [size // base for size, base in zip(after[2:], before[2:], strict=True)]
    return beyond("factors", factors, 1, 32 if mode == "nearest" else 4)


def _text(node: ir.Node, name: str, default: str) -> str:
    return node.attributes[name].as_string() if name in node.attributes else default


def _slice(layer: Layer) -> str | None:
    if layer.inputs[0].type != "fp16":
        return "of INT8, and DLA slices FP16 only"
    if layer.node.op_type == "Split":
        return (
            "along the batch, and DLA slices C, H and W" if attribute_ints(layer.node, "axis", 0)[0] % 4 == 0 else None
        )
    arrays: list[npt.NDArray[Any] | None] = [constant(value) for value in layer.node.inputs[1:]]
    if any(array is None for array, value in zip(arrays, layer.node.inputs[1:], strict=True) if value is not None):
        return "its places are computed at run time, and DLA takes constants"
    steps = arrays[3] if len(arrays) > 3 else None
    if steps is not None and (steps != 1).any():
        return f"steps {times(steps.tolist())}, and DLA takes 1"
    return "along the batch, and DLA slices C, H and W" if layer.inputs[0].nchw[0] != layer.outputs[0].nchw[0] else None


def _softmax(layer: Layer) -> str | None:
    node, sizes = layer.node, layer.inputs[0].nchw
    opset = (node.graph.opset_imports if node.graph is not None else {}).get("", _ONE_AXIS)
    axis = attribute_ints(node, "axis", -1)[0] % 4
    if layer.target.family == "xavier":
        return "Xavier's DLA has none"
    if layer.inputs[0].type != "fp16" or opset < _ONE_AXIS or axis == 0:
        return "DLA takes FP16 along C, H or W, of opset 13 or later"
    others = [size for place, size in enumerate(sizes[1:], 1) if place != axis]
    return beyond("axis", (sizes[axis],), 1, _SIZE if max(others) == 1 else _SOFTMAX_AXIS)


def _maximum(layer: Layer) -> str | None:
    if layer.target.version < _FIRST_REDUCE:
        return "documented for DLA from TensorRT 10 on"
    return None if layer.inputs[0].nchw[0] == layer.outputs[0].nchw[0] else "DLA keeps the batch"


def _lrn(layer: Layer) -> str | None:
    size = attribute_ints(layer.node, "size", 0)[0]
    return None if size in (3, 5, 7, 9) else f"over {size} channels, and DLA takes 3, 5, 7 or 9"


_Rule = Callable[[Layer], "str | None"]
_RULES: dict[str, tuple[str, _Rule | None]] = {
    "Conv": ("convolution", convolution),
    "ConvTranspose": ("deconvolution", deconvolution),
    **dict.fromkeys(("Gemm", "MatMul"), ("product", product)),
    **dict.fromkeys(("MaxPool", "AveragePool"), ("pooling", pooling)),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Abs"), ("activation", None)),
    "Clip": ("activation", _clip),
    "PRelu": ("activation", _constants_only),
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Sum"), ("elementwise", _elementwise)),
    "BatchNormalization": ("scale", _constants_only),
    "LRN": ("normalization", _lrn),
    "Concat": ("concatenation", _concat),
    **dict.fromkeys(("Resize", "Upsample"), ("resize", _resize)),
    **dict.fromkeys(("Slice", "Split"), ("slice", _slice)),
    "Softmax": ("softmax", _softmax),
    **dict.fromkeys(("ReduceMax", "GlobalMaxPool"), ("reduce", _maximum)),
}
