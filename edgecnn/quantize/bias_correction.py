"""Take out of each layer's bias what its quantization adds to the mean of its output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.graph.model import add_initializer, constant, model_bytes
from edgecnn.quantize.insert import quantize, scales_of, weight_scales
from edgecnn.quantize.place import Placement, WeightPoint

_ERROR = ".mean_error"


def correct_biases(
    model: ir.Model, placement: Placement, ranges: Mapping[str, float], frames: Iterable[Mapping[str, npt.NDArray[Any]]]
) -> int:
    """Correct the bias of every Conv and Gemm that ``placement`` quantizes.

    Rounding averages out, clipping does not: a clipped range makes outputs smaller on average, and so do rounded
    weights that a one-sided input (after ReLU) multiplies. Each layer is computed twice from the same FP32 input, as it
    is and quantized, and the mean difference of each output channel over all frames and positions is subtracted from
    its bias. As no layer then adds an offset, none is passed on. A layer whose bias is computed at run time, or differs
    from row to row, is left alone. (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
    Correction", 2019, section 4.2, in its empirical form.)

    Args:
        model: FP32, on which ``placement`` was made; its biases are changed.
        placement: The layers.
        ranges: The largest absolute value for each quantized value, by name.
        frames: Calibration feeds.

    Returns:
        How many layers were corrected.
    """
    points = [point for point in placement.weights if _bias_of(point.node) is not None]
    means = _mean_errors(model, points, ranges, frames)
    for point in points:
        _subtract(model.graph, point.node, means[_key(point.node)])
    return len(points)


def _key(node: ir.Node) -> str:
    """What a layer is known by: nodes need no name, and their outputs do."""
    return str(node.outputs[0].name)


def _beta(node: ir.Node) -> float:
    return node.attributes["beta"].as_float() if "beta" in node.attributes else 1.0


def _bias_of(node: ir.Node) -> npt.NDArray[np.float64] | None:
    """A layer's bias, one value a channel or one for all; None where it cannot be corrected."""
    if node.op_type not in ("Conv", "Gemm") or _beta(node) == 0:
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(1)
    bias = constant(node.inputs[2])
    if bias is None or (bias.size > 1 and bias.shape[-1] != bias.size):
        return None
    return bias.astype(np.float64).reshape(-1)


def _mean_errors(
    model: ir.Model,
    points: list[WeightPoint],
    ranges: Mapping[str, float],
    frames: Iterable[Mapping[str, npt.NDArray[Any]]],
) -> dict[str, npt.NDArray[np.float64]]:
    """For each layer, by its key, the mean over frames and positions of (quantized - FP32) of each output channel."""
    probe = ir.from_proto(ir.to_proto(model))
    nodes = {_key(node): node for node in probe.graph}
    quantized: dict[str, ir.Value] = {}
    outputs: dict[str, str] = {}
    for point in points:
        node = nodes[_key(point.node)]
        data = node.inputs[0]
        assert data is not None
        assert data.name is not None
        if data.name not in quantized:
            quantized[data.name] = _fake_quantized(probe.graph, node, data, ranges[data.name])
        outputs[_key(node)] = _probe_error(probe.graph, node, quantized[data.name], point.axis)
    session = OrtSession(model_bytes(probe))
    sums = {name: np.zeros(1) for name in outputs}
    count = 0
    try:
        for feeds in frames:
            results = session.run(feeds)
            count += 1
            for name, output in outputs.items():
                sums[name] = sums[name] + results[output].astype(np.float64)
    finally:
        session.close()
    return {name: total / max(count, 1) for name, total in sums.items()}


def _fake_quantized(graph: ir.Graph, before: ir.Node, value: ir.Value, limit: float) -> ir.Value:
    scale = add_initializer(graph, f"{value.name}.probe_scale", scales_of(limit))
    zero = add_initializer(graph, f"{value.name}.probe_zero", np.zeros((), dtype=np.int8))
    to_int8 = ir.Node("", "QuantizeLinear", [value, scale, zero])
    to_float = ir.Node("", "DequantizeLinear", [to_int8.outputs[0], scale, zero])
    to_int8.outputs[0].name, to_float.outputs[0].name = f"{value.name}.probe_int8", f"{value.name}.probe"
    graph.insert_before(before, [to_int8, to_float])
    return to_float.outputs[0]


def _probe_error(graph: ir.Graph, node: ir.Node, data: ir.Value, axis: int | None) -> str:
    """Add the quantized twin of a layer and the mean of its difference as a new output; that output's name."""
    weight = constant(node.inputs[1])
    assert weight is not None
    scales = weight_scales(weight, axis)
    shape = [-1 if d == axis else 1 for d in range(weight.ndim)]
    rounded = quantize(weight, scales, axis).astype(np.float32) * scales.reshape(shape)
    key = _key(node)
    twin_weight = add_initializer(graph, f"{key}.probe_weight", rounded)
    twin = ir.Node("", node.op_type, [data, twin_weight, *node.inputs[2:]], attributes=list(node.attributes.values()))
    difference = ir.Node("", "Sub", [twin.outputs[0], node.outputs[0]])
    # (N, C, ...) -> (C,): over every axis but the channels'.
    rank = weight.ndim if node.op_type == "Conv" else 2
    axes = [dimension for dimension in range(rank) if dimension != 1]
    inputs, attributes = [difference.outputs[0]], [ir.AttrInt64("keepdims", 0)]
    if graph.opset_imports[""] >= 18:  # where the axes became an input
        inputs.append(add_initializer(graph, f"{key}.probe_axes", np.asarray(axes, dtype=np.int64)))
    else:
        attributes.append(ir.AttrInt64s("axes", axes))
    mean = ir.Node("", "ReduceMean", inputs, attributes=attributes)
    for made, suffix in ((twin, ".twin"), (difference, ".difference"), (mean, _ERROR)):
        made.outputs[0].name = f"{key}{suffix}"
    mean.outputs[0].dtype = ir.DataType.FLOAT
    graph.insert_after(node, [twin, difference, mean])
    graph.outputs.append(mean.outputs[0])
    return f"{key}{_ERROR}"


def _subtract(graph: ir.Graph, node: ir.Node, error: npt.NDArray[np.float64]) -> None:
    before = _bias_of(node)
    assert before is not None
    corrected = np.broadcast_to(before, error.shape) - error / _beta(node)
    value = add_initializer(graph, f"{node.name or _key(node)}.corrected_bias", corrected.astype(np.float32))
    node.resize_inputs(3)
    node.replace_input_with(2, value)
