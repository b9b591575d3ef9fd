"""What a target wants of a quantized graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.graph.layer_weights import LINEAR_LAYERS


@dataclass(frozen=True)
class Scheme:
    """Rules of one target.

    Attributes:
        name: Of the target.
        weights_as_int8: Whether weights are stored as INT8 with DequantizeLinear alone. TensorRT 8 wants them as
            FP32 with a Q/DQ pair (onnxruntime#11535, TensorRT's parser: "only activation types allowed").
        rest: Type of everything that is not INT8: layers left out, additions, activations, and the scales. TensorRT 8
            reads scales as FP32 numbers whatever their type; it is told by flags that it may choose FP16.
        symmetric: Whether activations are INT8 with zero point 0; else UINT8, with zero points. Weights are always
            symmetric.
        layers: Operators with weights that have an integer kernel.
        group_multiple: What the channels of a group must be a multiple of in a grouped convolution.
        operators: What else has an integer kernel, with scales of its own for every input and output. Where there are
            such, outputs are quantized as well, and biases stored as INT32: kernels take nothing else. Without any,
            outputs and biases stay float, and the identity branch of a residual addition is quantized.
        carriers: Operators that hand INT8 on as it is, with one scale before and behind.
        joins_elementwise: Whether the target's compiler joins an elementwise operator to the one before it, so that one
            more costs nothing.
    """

    name: str
    weights_as_int8: bool
    rest: Literal["fp16", "fp32"] = "fp32"
    symmetric: bool = True
    layers: tuple[str, ...] = tuple(sorted(LINEAR_LAYERS))
    group_multiple: int = 4
    operators: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    joins_elementwise: bool = True


# Signed and symmetric (zero point 0), activations per tensor, weights per output channel (ConvTranspose per tensor),
# biases in float: the only form that TensorRT takes.
QUANT_MAX = 127


def tensorrt_scheme(version: str) -> Scheme:
    """The scheme for a version of TensorRT, such as ``10.3.0``."""
    typed = int(version.split(".")[0]) >= 10
    return Scheme(name="tensorrt", weights_as_int8=typed, rest="fp16" if typed else "fp32")


TENSORRT = tensorrt_scheme("10")

# On x86 only products of unsigned activations with signed weights are quick. Sigmoid is a table of 256 numbers there.
# HardSigmoid has no kernel, but in integers it is a Min: see ``edgecnn.quantize.integer_forms``.
ONNXRUNTIME_X86 = Scheme(
    name="onnxruntime-x86",
    weights_as_int8=True,
    symmetric=False,
    layers=("Conv", "Gemm", "MatMul"),
    group_multiple=1,
    operators=("Add", "AveragePool", "Concat", "GlobalAveragePool", "HardSigmoid", "Mul", "Sigmoid"),
    carriers=("Flatten", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    joins_elementwise=False,
)
