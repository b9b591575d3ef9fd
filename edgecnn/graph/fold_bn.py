"""Fold BatchNormalization into the convolution or matrix product before it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.model import PassResult, add_initializer, constant

_FOLDABLE = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def fold_batch_norm(model: ir.Model) -> PassResult:
    """Fold every BatchNormalization that directly follows a Conv, ConvTranspose, Gemm or MatMul with constant weights.

    With the running mean m and variance v, gain g and shift b of a channel, inference computes
    ``y = g (x - m) / sqrt(v + eps) + b`` (Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 2), which is
    linear in x. So with ``s = g / sqrt(v + eps)`` the weights of the channel become ``s W`` and the bias
    ``s (B - m) + b``. Computed in float64. A chain of BatchNorms is folded one after the other; groups, and a missing
    bias, are handled. A MatMul gets its bias by becoming a Gemm where its input has two dimensions.

    Refused, and counted under these names in the result:

    - ``other producer``: what comes before is none of the four operators.
    - ``two consumers``: the result before the BatchNorm is used elsewhere too.
    - ``graph output``: the result before the BatchNorm leaves the graph.
    - ``not constant``: weights, bias or the BatchNorm's parameters are computed at run time.
    - ``training mode``: the node normalizes by the batch's own statistics.
    - ``shared weights``: never refused; the weights of another user stay as they are, since new ones are made.
    - ``matmul rank``: a MatMul whose input has not two dimensions.
    - ``gemm form``: a Gemm with alpha or beta other than 1, or whose bias differs from row to row.
    """
    counts = Counter[str]()
    for node in list(model.graph):
        if node.op_type == "BatchNormalization" and node.domain in ("", "ai.onnx"):
            counts[_fold_one(model.graph, node)] += 1
    return PassResult(modified=counts["folded"] > 0, counts={key: value for key, value in counts.items() if value})


def _fold_one(graph: ir.Graph, norm: ir.Node) -> str:
    """Fold one BatchNorm; ``folded``, or why not."""
    before = norm.inputs[0]
    producer = before.producer() if before is not None else None
    if before is None or producer is None or producer.op_type not in _FOLDABLE:
        return "other producer"
    if before.is_graph_output():
        return "graph output"
    if len(before.uses()) != 1:
        return "two consumers"
    if _is_training(norm):
        return "training mode"
    affine = _affine_of(norm)
    weight = constant(producer.inputs[1])
    has_bias = len(producer.inputs) > 2 and producer.inputs[2] is not None
    bias = constant(producer.inputs[2]) if has_bias else np.zeros(1)
    if affine is None or weight is None or bias is None:
        return "not constant"
    scale, shift = affine
    axis_or_refusal = _output_axis(producer, weight)
    if isinstance(axis_or_refusal, str):
        return axis_or_refusal

    if bias.size > 1 and bias.shape[-1] != bias.size:
        return "gemm form"

    new_weight = _scaled(producer, weight.astype(np.float64), scale, axis_or_refusal)
    new_bias = scale * np.broadcast_to(bias.astype(np.float64).reshape(-1), scale.shape) + shift
    name = producer.name or producer.op_type
    weight_value = add_initializer(graph, f"{name}.folded", new_weight.astype(weight.dtype))
    bias_value = add_initializer(graph, f"{name}.folded_bias", new_bias.astype(weight.dtype))
    _replace(graph, norm, producer, weight_value, bias_value)
    return "folded"


def _is_training(norm: ir.Node) -> bool:
    """Whether the batch's own statistics are used: by the attribute, or before opset 14 by having further outputs."""
    training = norm.attributes.get("training_mode")
    return (training is not None and bool(training.as_int())) or any(output.name for output in norm.outputs[1:])


def _affine_of(norm: ir.Node) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """BatchNorm in inference as ``scale * x + shift`` for each channel, or None where a parameter is not constant."""
    parameters = [constant(value) for value in norm.inputs[1:5]]
    if any(parameter is None for parameter in parameters):
        return None
    gain, shift, mean, variance = (parameter.astype(np.float64) for parameter in parameters if parameter is not None)
    epsilon = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    scale = gain / np.sqrt(variance + epsilon)
    return scale, shift - scale * mean


def _output_axis(producer: ir.Node, weight: npt.NDArray[np.generic]) -> int | str:
    """The weight's axis of output channels, or the name of the refusal."""
    match producer.op_type:
        case "Conv":
            return 0
        case "ConvTranspose":
            return 1
        case "Gemm":
            if any(
                name in producer.attributes and producer.attributes[name].as_float() != 1 for name in ("alpha", "beta")
            ):
                return "gemm form"
            return 0 if "transB" in producer.attributes and producer.attributes["transB"].as_int() else 1
        case _:
            data = producer.inputs[0]
            flat = data is not None and data.shape is not None and len(data.shape) == 2 and weight.ndim == 2
            return 1 if flat else "matmul rank"


def _scaled(
    producer: ir.Node, weight: npt.NDArray[np.float64], scale: npt.NDArray[np.float64], axis: int
) -> npt.NDArray[np.float64]:
    """The weights, each output channel multiplied by its scale."""
    if producer.op_type == "ConvTranspose":
        # (in, out / groups, ...): the inputs of group g make the outputs of group g.
        groups = producer.attributes["group"].as_int() if "group" in producer.attributes else 1
        grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        by_group = scale.reshape(groups, 1, weight.shape[1], *([1] * (weight.ndim - 2)))
        return (grouped * by_group).reshape(weight.shape)
    return weight * scale.reshape([-1 if dimension == axis else 1 for dimension in range(weight.ndim)])


def _replace(graph: ir.Graph, norm: ir.Node, producer: ir.Node, weight: ir.Value, bias: ir.Value) -> None:
    """Put a node with the new weights where the pair was; it keeps the producer's name and the BatchNorm's output."""
    operator = "Gemm" if producer.op_type == "MatMul" else producer.op_type
    merged = ir.Node(
        "",
        operator,
        [producer.inputs[0], weight, bias],
        attributes=list(producer.attributes.values()),
        name=producer.name,
    )
    before, after = producer.outputs[0], norm.outputs[0]
    merged.outputs[0].name = after.name
    merged.outputs[0].shape = after.shape or before.shape
    if (dtype := after.dtype or before.dtype) is not None:
        merged.outputs[0].dtype = dtype
    after.replace_all_uses_with(merged.outputs[0], replace_graph_outputs=True)
    graph.insert_after(producer, merged)
    graph.remove([norm, producer], safe=True)
