"""ONNX's layers, products and pools as Torch functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch.nn import functional

from edgecnn.errors import InputError
from edgecnn.graph.fold_pad import conv_pads
from edgecnn.graph.layer_weights import attribute, attribute_ints, for_each_axis

Function = Callable[..., Any]
_Tensor = torch.Tensor
_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
_MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_MEANS: tuple[Function, ...] = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


def padding(pads: Sequence[int]) -> list[int]:
    """ONNX's pads, all begins and then all ends, as Torch wants them: pairs from the last axis on."""
    half = len(pads) // 2
    return [pad for axis in reversed(range(half)) for pad in (pads[axis], pads[axis + half])]


def _pads(node: ir.Node, spatial: int) -> tuple[int, ...]:
    pads = conv_pads(node, spatial)
    if pads is None:
        raise InputError(f"training with quantization: {node.name} pads by the picture's size", "write its pads out")
    return pads


def _conv(node: ir.Node) -> Function:
    groups = attribute(node, "group", 1)

    def convolve(data: _Tensor, weight: _Tensor, bias: _Tensor | None = None) -> _Tensor:
        spatial = weight.ndim - 2
        strides, dilations = (for_each_axis(node, name, spatial) for name in ("strides", "dilations"))
        pads = _pads(node, spatial)
        around: Any = pads[:spatial]
        if pads[:spatial] != pads[spatial:]:
            data, around = functional.pad(data, padding(pads)), 0
        return _CONVOLUTIONS[spatial - 1](data, weight, bias, strides, around, dilations, groups)

    return convolve


def _conv_transpose(node: ir.Node) -> Function:
    groups = attribute(node, "group", 1)

    def convolve(data: _Tensor, weight: _Tensor, bias: _Tensor | None = None) -> _Tensor:
        spatial = weight.ndim - 2
        strides, dilations = (for_each_axis(node, name, spatial) for name in ("strides", "dilations"))
        more = attribute_ints(node, "output_padding", 0)
        further = more if len(more) == spatial else more * spatial
        made = _TRANSPOSED[spatial - 1](data, weight, bias, strides, 0, further, groups, dilations)
        return functional.pad(made, [-pad for pad in padding(_pads(node, spatial))])

    return convolve


def _gemm(node: ir.Node) -> Function:
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    first, second = attribute(node, "transA", 0), attribute(node, "transB", 0)

    def multiply(data: _Tensor, weight: _Tensor, bias: _Tensor | None = None) -> _Tensor:
        data, weight = data.T if first else data, weight if second else weight.T
        if bias is None or bias.ndim > 1 or beta != 1 or alpha != 1:
            product = alpha * functional.linear(data, weight)
            return product if bias is None else product + beta * bias
        return functional.linear(data, weight, bias.expand(len(weight)))

    return multiply


def _max_pool(node: ir.Node) -> Function:
    kernel = attribute_ints(node, "kernel_shape", 1)
    spatial = len(kernel)
    strides, dilations = (for_each_axis(node, name, spatial) for name in ("strides", "dilations"))
    ceil, pads = bool(attribute(node, "ceil_mode", 0)), _pads(node, spatial)

    def pool(data: _Tensor) -> _Tensor:
        padded = functional.pad(data, padding(pads), value=-torch.inf) if any(pads) else data
        return _MAXIMA[spatial - 1](padded, kernel, strides, 0, dilations, ceil)

    return pool


def _average_pool(node: ir.Node) -> Function:
    kernel = attribute_ints(node, "kernel_shape", 1)
    spatial = len(kernel)
    strides, pads = for_each_axis(node, "strides", spatial), _pads(node, spatial)
    ceil, whole = bool(attribute(node, "ceil_mode", 0)), bool(attribute(node, "count_include_pad", 0))

    def pool(data: _Tensor) -> _Tensor:
        def mean(array: _Tensor) -> _Tensor:
            padded = functional.pad(array, padding(pads)) if any(pads) else array
            return _MEANS[spatial - 1](padded, kernel, strides, 0, ceil)

        return mean(data) if whole or not any(pads) else mean(data) / mean(torch.ones_like(data[:1, :1]))

    return pool


LAYERS: dict[str, Callable[[ir.Node], Function]] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MaxPool": _max_pool,
}
"""For each operator what makes a function of its node."""
