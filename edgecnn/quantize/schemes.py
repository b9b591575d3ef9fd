"""What a target wants of a quantized graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Scheme:
    """Rules of one target.

    Attributes:
        name: Of the target.
        weights_as_int8: Whether weights are stored as INT8 with DequantizeLinear alone. TensorRT 8 wants them as
            FP32 with a Q/DQ pair (onnxruntime#11535, TensorRT's parser: "only activation types allowed").
        rest: Type of everything that is not INT8: layers left out, additions, activations, and the scales. TensorRT 8
            reads scales as FP32 numbers whatever their type; it is told by flags that it may choose FP16.
    """

    name: str
    weights_as_int8: bool
    rest: Literal["fp16", "fp32"] = "fp32"


# Signed and symmetric (zero point 0), activations per tensor, weights per output channel (ConvTranspose per tensor),
# biases in float: the only form that TensorRT takes.
QUANT_MAX = 127


def tensorrt_scheme(version: str) -> Scheme:
    """The scheme for a version of TensorRT, such as ``10.3.0``."""
    typed = int(version.split(".")[0]) >= 10
    return Scheme(name="tensorrt", weights_as_int8=typed, rest="fp16" if typed else "fp32")
