"""What TensorRT has against a graph that is quantized already, ours or another tool's.

``error`` is what the parser or the compiler refuses, or takes for something else than ONNX says; ``info`` is a layer
that it takes and computes in float. Where TensorRT-RTX 1.7.1 could be asked, it was: by a graph for each rule, whose
plan shows the types that its kernels multiply (tests/unit/quantize/test_validate.py). Not to be tried there, and taken
from NVIDIA's documents, parser sources and reports: everything before TensorRT 10; grouped convolutions, whose kernels
RTX chooses on the GPU only; scales for each channel of a ConvTranspose, which it computes in float in any case; FP16
scales in an opset before 19, which it takes, but ONNX does not.

Not a rule, since it changes nothing there: a DequantizeLinear that float operators read beside the INT8 layer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecnn.core.verdict import Finding
from edgecnn.graph.layer_weights import attribute_ints, is_linear_layer
from edgecnn.graph.model import constant
from edgecnn.graph.opset import TYPED_SCALES

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Integer operators of ONNX, and of ONNX Runtime with its QLinear... family: TensorRT has an importer for none.
_INTEGER = frozenset(
    {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QGemm"}
)
# Numbers of other kinds of quantization, which are not looked at here.
_OTHERS = frozenset({ir.DataType.INT4, ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT4E2M1})
# What INT8 passes through between DequantizeLinear and a layer.
_CARRIERS = frozenset({"Cast", "Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_TENSORRT_10 = 10
_AGAIN = "quantize the FP32 model again: edgecnn convert does it as TensorRT wants it"
_SYMMETRIC = (
    "quantize with signed symmetric activations (onnxruntime: activation_type QInt8, ActivationSymmetric True), or "
    "convert the FP32 model with edgecnn"
)


def is_quantized(model: ir.Model) -> bool:
    """Whether anything in the graph is quantized, in whatever form."""
    return any(_is_scaled(node) or _is_integer(node) for node in model.graph.all_nodes())


def validate(model: ir.Model, tensorrt: str) -> tuple[Finding, ...]:
    """Look a quantized graph over.

    Args:
        model: Shapes and types inferred; a graph without quantization has no findings.
        tensorrt: Version, such as ``10.3.0``.
    """
    major = int(tensorrt.split(".")[0])
    opset = model.opset_imports.get("", 0)
    found: list[Finding] = []
    for node in model.graph.all_nodes():
        if _is_integer(node):
            message = (
                f"{node.op_type} is an integer operator, and TensorRT knows QuantizeLinear and DequantizeLinear only"
            )
            found.append(_error("operator", node, message, "quantize in the QDQ format, or convert the FP32 model"))
        elif _is_scaled(node):
            found += _numbers(node)
            found += _scales(node, major, opset)
        elif is_linear_layer(node):
            found += _layer(node)
    return tuple(found)


def _numbers(node: ir.Node) -> Iterator[Finding]:
    """Type and zero points."""
    dtype, zero = _quantized_type(node), node.inputs[2] if len(node.inputs) > 2 else None
    if dtype in _OTHERS:
        return
    if dtype == ir.DataType.INT32:
        message = "an INT32 number, as a bias, cannot be dequantized"
        yield _error("bias", node, message, "leave biases in float (onnxruntime: QuantizeBias False)")
    elif dtype == ir.DataType.UINT8:
        message = (
            "UINT8 numbers; where their zero point is 0 TensorRT takes them for INT8 without a word, and cuts at 127"
        )
        yield _error("unsigned", node, message, _SYMMETRIC)
    elif dtype is not None and dtype != ir.DataType.INT8:
        yield _error(
            "type", node, f"{dtype.name} numbers; of the integers with 8 bits or more TensorRT has INT8", _AGAIN
        )
    points, scale = constant(zero), constant(node.inputs[1])
    if zero is not None and points is None:
        yield _error("zero-point", node, "the zero point is computed at run time; it must be 0", _SYMMETRIC)
    elif points is not None and points.astype(np.float32).any():
        yield _error(
            "zero-point", node, f"the zero point is {points.flat[points.astype(bool).argmax()]}, not 0", _SYMMETRIC
        )
    if points is not None and scale is not None and points.size != scale.size:
        message = f"{points.size} zero points for {scale.size} scales"
        yield _error("zero-point", node, message, "give a zero point for each scale")


def _scales(node: ir.Node, major: int, opset: int) -> Iterator[Finding]:
    """Scales, and what takes them."""
    scale = constant(node.inputs[1])
    if scale is None:
        message = "the scale is computed at run time"
        yield _error("scale", node, message, "quantize statically, with scales from calibration pictures")
        return
    numbers = scale.astype(np.float64)
    if not (numbers > 0).all() or np.isinf(numbers).any():
        worst = numbers[~(numbers > 0) | np.isinf(numbers)].flat[0]
        yield _error("scale", node, f"a scale of {worst}; scales are positive and finite", _AGAIN)
    if attribute_ints(node, "block_size", 0)[0] or (scale.ndim > 1 and scale.size > 1):
        yield _error("block", node, "a scale for each block of numbers, which INT8 has not", _AGAIN)
    elif constant(node.inputs[0]) is None and scale.ndim and _before(node) is None:
        shape = "a scale for each channel" if scale.size > 1 else "a scale in a list of one"
        message = f"{shape} of an activation: layers that read it are computed in float"
        yield _info("activation", node, message, "give activations one scale each, without dimensions")
    if scale.dtype == np.float16 and major < _TENSORRT_10:
        message = f"an FP16 scale, which TensorRT {major} reads as FP32 numbers"
        yield _error("fp16", node, message, "store scales in FP32")
    if scale.dtype == np.float16 and opset < TYPED_SCALES:
        message = f"an FP16 scale in opset {opset}; ONNX has them from {TYPED_SCALES} on"
        yield _error("fp16", node, message, f"raise the opset to {TYPED_SCALES}")
    stored = node.inputs[0] is not None and node.op_type == _DEQUANTIZE and constant(node.inputs[0]) is not None
    if stored and major < _TENSORRT_10:
        message = f"stored as integers, with DequantizeLinear alone, which TensorRT {major} does not take"
        yield _error("stored", node, message, "store weights in FP32 with both, QuantizeLinear and DequantizeLinear")


def _layer(node: ir.Node) -> Iterator[Finding]:
    """Layers with weights."""
    data, weight = (_dequantizer(value) for value in node.inputs[:2])
    if data is None or weight is None:
        if data is not weight:
            quantized, other = ("data", "weights") if weight is None else ("weights", "data")
            message = f"its {quantized} are quantized and its {other} are not, so it is computed in float"
            yield _info("half", node, message, "quantize both, or neither")
        return
    scale, shape = constant(weight.inputs[1]), _static_shape(node.inputs[1])
    if scale is not None and scale.size > 1 and scale.ndim == 1 and shape:
        wanted, given = _output_axis(node, len(shape)), attribute_ints(weight, "axis", 1)[0] % len(shape)
        if wanted != given:
            where = "one scale for all" if wanted is None else f"scales along axis {wanted}, that of its outputs"
            message = f"scales of its weights along axis {given}; it is computed in float"
            yield _info("axis", node, message, f"{node.op_type} wants {where}")
    groups = attribute_ints(node, "group", 1)[0]
    if node.op_type == "Conv" and groups > 1 and shape:
        outputs, inputs = shape[0] // groups, shape[1]
        if (inputs, outputs) != (1, 1) and (inputs % 4 or outputs % 4):
            message = f"INT8 wants a multiple of 4 channels a group, and there are {inputs} and {outputs}"
            yield _error("groups", node, message, "leave this layer in float")


def _static_shape(value: ir.Value | None) -> list[int]:
    """Empty where it is not known."""
    sizes = list(value.shape) if value is not None and value.shape is not None else []
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(sizes) else []


def _quantized_type(node: ir.Node) -> ir.DataType | None:
    """Of the numbers that a node makes, or takes; as ONNX says, UINT8 where nothing is said."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return node.inputs[2].dtype
    if node.op_type == _DEQUANTIZE:
        return node.inputs[0].dtype if node.inputs[0] is not None else None
    stated = attribute_ints(node, "output_dtype", 0)[0]
    return ir.DataType(stated) if stated else ir.DataType.UINT8


def _output_axis(node: ir.Node, rank: int) -> int | None:
    if node.op_type == "ConvTranspose":
        return None
    return 0 if node.op_type == "Conv" or attribute_ints(node, "transB", 0)[0] else rank - 1


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a layer reads from, through what INT8 passes."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _CARRIERS:
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    return node if node is not None and _is_scaled(node) and node.op_type == _DEQUANTIZE else None


def _before(node: ir.Node) -> ir.Node | None:
    """The QuantizeLinear of a DequantizeLinear, which had the same said of it."""
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    return source if node.op_type == _DEQUANTIZE and source is not None and _is_scaled(source) else None


def _is_scaled(node: ir.Node) -> bool:
    return node.op_type in (_QUANTIZE, _DEQUANTIZE)


def _is_integer(node: ir.Node) -> bool:
    return node.op_type in _INTEGER or node.op_type.startswith("QLinear")


def _error(rule: str, node: ir.Node, message: str, remedy: str) -> Finding:
    return Finding(rule=f"quantization/{rule}", severity="error", node=_name(node), message=message, remedy=remedy)


def _info(rule: str, node: ir.Node, message: str, remedy: str) -> Finding:
    return Finding(rule=f"quantization/{rule}", severity="info", node=_name(node), message=message, remedy=remedy)


def _name(node: ir.Node) -> str:
    return node.name or str(node.outputs[0].name)
