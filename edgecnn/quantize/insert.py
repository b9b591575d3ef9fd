"""Write quantization into a graph as QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.cast_fp16 import FP16_NORMAL
from edgecnn.graph.model import add_initializer, constant
from edgecnn.quantize.integer_forms import insert_bias, insert_gate, least_scales, suits_gate
from edgecnn.quantize.place import Placement, WeightPoint
from edgecnn.quantize.ranges import UNSIGNED_MAX, Grid, Range
from edgecnn.quantize.schemes import QUANT_MAX, Scheme


def insert_qdq(
    model: ir.Model,
    placement: Placement,
    ranges: Mapping[str, Range],
    rounded: Mapping[str, npt.NDArray[np.float32]],
    scheme: Scheme,
) -> None:
    """Put the pairs into the graph.

    Args:
        model: FP32; changed in place.
        placement: Places, from ``place`` on this very model.
        ranges: Of each value of ``placement.activations``, by name.
        rounded: Scales of the weights that are on their grid already, by the name of the layer's output.
        scheme: The target's rules.
    """
    graph = model.graph
    gates = {
        value: node
        for node in placement.gates
        if (value := node.inputs[0]) is not None and suits_gate(node, ranges.get(str(value.name)))
    }
    done = {node.outputs[0] for node in gates.values()}
    grids: dict[ir.Value | None, Grid] = {}
    for value, uses in placement.activations.items():
        if value in done:
            continue
        assert value.name is not None
        grid = activation_grid(ranges[value.name], scheme)
        quantized, restored = _insert_pair(graph, value, _parameters_of(graph, value.name, grid, scheme), value.name)
        grids[restored] = grid
        for node, position in uses:
            node.replace_input_with(position, restored)
        if value in gates:
            insert_gate(graph, gates[value], quantized, grid, f"{value.name}.gate")
    made: dict[tuple[ir.Value, int | None], ir.Value] = {}  # layers may share a weight
    for point in placement.weights:
        weight = point.node.inputs[1]
        assert weight is not None
        if scheme.operators:
            _integer_layer(graph, point, weight, rounded, grids[point.node.inputs[0]].scale, scheme)
            continue
        if (weight, point.axis) not in made:
            again = any(weight is other for other, _ in made)
            name = f"{weight.name}.axis{point.axis}" if again else str(weight.name)
            scales = rounded.get(str(point.node.outputs[0].name))
            made[weight, point.axis] = _quantized_weight(graph, point, weight, name, scales, scheme)
        point.node.replace_input_with(1, made[weight, point.axis])


def activation_grid(seen: Range, scheme: Scheme) -> Grid:
    """The numbers that an activation can take under a scheme."""
    if scheme.symmetric:
        # What is too small for FP16 throughout is not in FP16: cast_to_fp16 leaves its nodes alone.
        small = 0 < seen.peak < FP16_NORMAL
        return Grid(seen.peak / QUANT_MAX if small else float(scales_of(seen.peak)), -QUANT_MAX, QUANT_MAX)
    grid = seen.grid(symmetric=False)
    return grid if grid.scale >= np.finfo(np.float32).tiny else Grid(1.0, 0, UNSIGNED_MAX)


def scales_of(peaks: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """The scale at which each largest absolute value is the last step, rounded up to a number that FP16 has too.

    So weights lie on the same grid in a graph with FP16 scales as in one with FP32 scales. The smallest scale is FP16's
    smallest number, 6e-8: what is finer than that would be lost in an FP16 network as well. A tensor of zeros quantizes
    to zeros with any scale: it gets 1. A scale that is too large for FP16 stays as it is.
    """
    exact = np.asarray(peaks, dtype=np.float64) / QUANT_MAX
    with np.errstate(over="ignore"):
        scales = exact.astype(np.float16)
    scales = np.where(scales < exact, np.nextafter(scales, np.float16(np.inf)), scales)
    scales = np.where(np.isfinite(scales), scales.astype(np.float32), exact)
    return np.asarray(np.where(exact > 0, scales, 1.0), dtype=np.float32)


def weight_scales(weight: npt.NDArray[Any], axis: int | None) -> npt.NDArray[np.float32]:
    """Scales that cover the largest weight: one for each channel along ``axis``, or a single one."""
    if axis is None:
        peaks = np.abs(weight).max(initial=0)
    else:
        peaks = np.abs(weight).max(axis=tuple(d for d in range(weight.ndim) if d != axis), initial=0)
    return scales_of(peaks)


def quantize(array: npt.NDArray[Any], scales: npt.NDArray[np.float32], axis: int | None) -> npt.NDArray[np.int8]:
    """ONNX's QuantizeLinear with zero point 0: round half to even, saturate."""
    if axis is not None:
        scales = scales.reshape([-1 if d == axis else 1 for d in range(array.ndim)])
    # -128 stays unused, as TensorRT wants symmetric ranges.
    return np.clip(np.rint(array / scales), -QUANT_MAX, QUANT_MAX).astype(np.int8)


def fake_quantize(array: npt.NDArray[Any], grid: Grid) -> npt.NDArray[np.float32]:
    """What is left of an array after 8 bits."""
    scale = np.float32(grid.scale)
    return np.asarray(np.clip(np.rint(array / scale), grid.lowest, grid.highest) * scale, dtype=np.float32)


def _integer_layer(
    graph: ir.Graph,
    point: WeightPoint,
    weight: ir.Value,
    rounded: Mapping[str, npt.NDArray[np.float32]],
    input_scale: float,
    scheme: Scheme,
) -> None:
    """Quantize a layer's weights for itself alone, and its bias with the product of both scales."""
    node, array = point.node, constant(weight)
    assert array is not None
    name = str(node.outputs[0].name)
    scales = rounded.get(name)
    if scales is None:
        scales = weight_scales(array, point.axis)
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None and scales.size == bias.size:
        scales = np.maximum(scales, least_scales(bias.reshape(-1), input_scale))
        insert_bias(graph, node, np.float32(input_scale) * scales, f"{name}.bias")
    node.replace_input_with(1, _quantized_weight(graph, point, weight, f"{name}.weight", scales, scheme))


def _quantized_weight(
    graph: ir.Graph,
    point: WeightPoint,
    weight: ir.Value,
    name: str,
    scales: npt.NDArray[np.float32] | None,
    scheme: Scheme,
) -> ir.Value:
    """The weight as the layer shall see it, at the front of its first layer."""
    array = constant(weight)
    assert array is not None
    if scales is None:
        scales = weight_scales(array, point.axis)
    parameters = _scale_and_zero(graph, name, scales)
    if not scheme.weights_as_int8:
        return _insert_pair(graph, weight, parameters, name, point.axis)[1]
    stored = add_initializer(graph, f"{name}.int8", quantize(array, scales, point.axis))
    node = _dequantize(stored, parameters, point.axis, name)
    graph.insert_before(point.node, node)
    return node.outputs[0]


def _parameters_of(graph: ir.Graph, name: str, grid: Grid, scheme: Scheme) -> tuple[ir.Value, ir.Value]:
    scale = np.asarray(grid.scale, dtype=np.float32)
    if scheme.symmetric:
        return _scale_and_zero(graph, name, scale)
    zero = np.asarray(-grid.lowest, dtype=np.uint8)
    return add_initializer(graph, f"{name}.scale", scale), add_initializer(graph, f"{name}.zero_point", zero)


def _scale_and_zero(graph: ir.Graph, name: str, scale: npt.NDArray[np.float32]) -> tuple[ir.Value, ir.Value]:
    return (
        add_initializer(graph, f"{name}.scale", scale),
        add_initializer(graph, f"{name}.zero_point", np.zeros(scale.shape, dtype=np.int8)),
    )


def _insert_pair(
    graph: ir.Graph, value: ir.Value, parameters: tuple[ir.Value, ir.Value], name: str, axis: int | None = None
) -> tuple[ir.Value, ir.Value]:
    """Q and DQ right after what makes ``value``; their outputs. Their names begin with ``name``."""
    attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
    quantizer = ir.Node("", "QuantizeLinear", [value, *parameters], attributes=attributes, name=f"{name}.quantize")
    quantizer.outputs[0].name = f"{name}.quantized"
    quantizer.outputs[0].shape, quantizer.outputs[0].dtype = value.shape, parameters[1].dtype or ir.DataType.INT8
    restorer = _dequantize(quantizer.outputs[0], parameters, axis, name)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantizer, restorer])
    else:
        graph.insert_after(producer, [quantizer, restorer])
    return quantizer.outputs[0], restorer.outputs[0]


def _dequantize(value: ir.Value, parameters: tuple[ir.Value, ir.Value], axis: int | None, name: str) -> ir.Node:
    attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
    node = ir.Node("", "DequantizeLinear", [value, *parameters], attributes=attributes, name=f"{name}.dequantize")
    node.outputs[0].name = f"{name}.dequantized"
    node.outputs[0].shape, node.outputs[0].dtype = value.shape, ir.DataType.FLOAT
    return node
