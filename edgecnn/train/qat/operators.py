"""ONNX operators as Torch functions, with gradients: those that networks for pictures are made of.

Batches may be larger than the one that a graph was exported with: where a shape in the graph begins with 1, the first
axis is taken for that of the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch
from torch.nn import functional

from edgecnn.errors import InputError
from edgecnn.graph.layer_weights import attribute
from edgecnn.train.qat.layer_operators import LAYERS, Function
from edgecnn.train.qat.shape_operators import SHAPES

_Tensor = torch.Tensor
_TYPES = {ir.DataType.FLOAT: torch.float32, ir.DataType.INT64: torch.int64, ir.DataType.INT32: torch.int32}


def function_of(node: ir.Node) -> Function:
    """What a node computes of its inputs, which are tensors, or None where an input is left out.

    Raises:
        InputError: There is no function for it here.
    """
    if node.domain == "" and node.op_type in _PLAIN:
        return _PLAIN[node.op_type]
    builder = _BUILDERS.get(node.op_type) if node.domain == "" else None
    if builder is None:
        raise InputError(
            f"training with quantization: no gradient is known here of {node.op_type}, at {node.name}",
            "leave quantize.qat out",
        )
    return builder(node)


def _over_places(reduce: Function) -> Function:
    return lambda data: reduce(data, dim=tuple(range(2, data.ndim)), keepdim=True)


def _reduction(reduce: Function) -> Callable[[ir.Node], Function]:
    def build(node: ir.Node) -> Function:
        kept, stated = bool(attribute(node, "keepdims", 1)), node.attributes.get("axes")

        def compute(data: _Tensor, axes: _Tensor | None = None) -> _Tensor:
            chosen = stated.as_ints() if stated is not None else axes.tolist() if axes is not None else range(data.ndim)
            return reduce(data, dim=tuple(chosen), keepdim=kept)

        return compute

    return build


def _clip(data: _Tensor, low: _Tensor | None = None, high: _Tensor | None = None) -> _Tensor:
    return data if low is None and high is None else torch.clamp(data, low, high)


def _hard_sigmoid(node: ir.Node) -> Function:
    alpha, beta = attribute(node, "alpha", 0.2), attribute(node, "beta", 0.5)
    return lambda data: torch.clamp(alpha * data + beta, 0, 1)


def _leaky_relu(node: ir.Node) -> Function:
    slope = attribute(node, "alpha", 0.01)
    return lambda data: functional.leaky_relu(data, slope)


def _elu(node: ir.Node) -> Function:
    alpha = attribute(node, "alpha", 1.0)
    return lambda data: functional.elu(data, alpha)


def _gelu(node: ir.Node) -> Function:
    approximate = attribute(node, "approximate", "none")
    return lambda data: functional.gelu(data, approximate=approximate)


def _softmax(node: ir.Node) -> Function:
    axis = attribute(node, "axis", -1)
    return lambda data: torch.softmax(data, dim=axis)


def _cast(node: ir.Node) -> Function:
    wanted = ir.DataType(attribute(node, "to", 1))
    if wanted not in _TYPES:
        raise InputError(f"training with quantization: {node.name} casts to {wanted.name}", "leave quantize.qat out")
    return lambda data: data.to(_TYPES[wanted])


def _batch_norm(node: ir.Node) -> Function:
    epsilon = attribute(node, "epsilon", 1e-5)
    return lambda data, gain, shift, mean, variance: functional.batch_norm(
        data, mean, variance, gain, shift, eps=epsilon
    )


def _instance_norm(node: ir.Node) -> Function:
    epsilon = attribute(node, "epsilon", 1e-5)
    return lambda data, gain, shift: functional.instance_norm(data, weight=gain, bias=shift, eps=epsilon)


def _layer_norm(node: ir.Node) -> Function:
    axis, epsilon = attribute(node, "axis", -1), attribute(node, "epsilon", 1e-5)
    return lambda data, gain, shift=None: functional.layer_norm(data, data.shape[axis:], gain, shift, epsilon)


def _local_norm(node: ir.Node) -> Function:
    size = attribute(node, "size", 1)
    alpha, beta, bias = attribute(node, "alpha", 1e-4), attribute(node, "beta", 0.75), attribute(node, "bias", 1.0)
    return lambda data: functional.local_response_norm(data, size, alpha, beta, bias)


_PLAIN: dict[str, Function] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "Clip": _clip,
    "Div": torch.div,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "GlobalAveragePool": _over_places(torch.mean),
    "GlobalMaxPool": _over_places(torch.amax),
    "HardSwish": functional.hardswish,
    "Identity": lambda data: data,
    "Log": torch.log,
    "MatMul": torch.matmul,
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Mish": functional.mish,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "PRelu": lambda data, slope: torch.where(data > 0, data, slope * data),
    "Pow": torch.pow,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Sqrt": torch.sqrt,
    "Sub": torch.sub,
    "Tanh": torch.tanh,
}
_BUILDERS: dict[str, Callable[[ir.Node], Function]] = {
    **LAYERS,
    **SHAPES,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky_relu,
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceSum": _reduction(torch.sum),
    "Softmax": _softmax,
}
