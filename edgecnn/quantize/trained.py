"""A calibrated network as a graph to train with what INT8 does to it, and what was learnt as its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.layer_weights import is_linear_layer, read_weights, replace_weights
from edgecnn.graph.model import constant
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.layer_rounding import Rounding
from edgecnn.quantize.network import Calibrated, placement_of
from edgecnn.quantize.place import Placement
from edgecnn.quantize.ranges import UNSIGNED_MAX, Range
from edgecnn.quantize.schemes import QUANT_MAX, Scheme

Arrays = Mapping[str, npt.NDArray[Any]]


def trainable(calibrated: Calibrated, scheme: Scheme) -> ir.Model:
    """The network with every layer quantized, weights and biases in FP32 with Q/DQ pairs behind the weights.

    Weights are those before rounding, biases those after the correction. Every layer has its own. Layers that were not
    rounded by what they compute (transposed convolutions) have weights in FP32. What hands on quantized values is not
    quantized again, and integer forms of biases and gates are left out: they compute the same up to their rounding.

    Args:
        calibrated: What ``calibrate_network`` found.
        scheme: The target's rules.
    """
    model = ir.from_proto(ir.to_proto(calibrated.model))
    placement = placement_of(model, calibrated, scheme, calibrated.layers)
    scales: dict[str, npt.NDArray[np.float32]] = {}
    for point in placement.weights:
        weights, name = read_weights(point.node), str(point.node.outputs[0].name)
        rounding = calibrated.roundings.get(name)
        if weights is not None and rounding is not None:
            replace_weights(model.graph, point.node, weights, weights.weight, rounding.bias, "trained")
            scales[name] = rounding.scales
    activations = {value: uses for value, uses in placement.activations.items() if value not in placement.carried}
    points = [point for point in placement.weights if point.node.outputs[0].name in scales]
    in_float = replace(scheme, operators=(), weights_as_int8=False)
    insert_qdq(model, Placement(activations, points, {}), calibrated.ranges, scales, in_float)
    return model


def with_trained(calibrated: Calibrated, scheme: Scheme, learnt: Arrays) -> Calibrated:
    """The calibration that training gave: weights rounded to nearest, biases, and the range of each scale.

    Args:
        calibrated: What training began with.
        scheme: The target's rules.
        learnt: Of ``trainable``'s graph, by the names of its initializers; scales among them.
    """
    model = trainable(calibrated, scheme)
    for name, array in learnt.items():
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    ranges, roundings = dict(calibrated.ranges), dict(calibrated.roundings)
    for node in model.graph:
        value = node.inputs[0] if node.op_type == "QuantizeLinear" else None
        if value is not None and value.name in ranges:
            ranges[value.name] = _range(node)
    for node in [node for node in model.graph if is_linear_layer(node)]:
        if (quantizer := _quantizer(node.inputs[1])) is not None:
            node.replace_input_with(1, quantizer.inputs[0])
            roundings[str(node.outputs[0].name)] = _rounding(node, _numbers(quantizer.inputs[1]))
    carried = placement_of(calibrated.model, calibrated, scheme, calibrated.layers).carried
    ranges |= {str(value.name): ranges[str(source.name)] for value, source in carried.items()}
    return replace(calibrated, ranges=ranges, roundings=roundings)


def _quantizer(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear of the pair that a layer's weights come from."""
    restorer = value.producer() if value is not None else None
    quantized = restorer.inputs[0] if restorer is not None and restorer.op_type == "DequantizeLinear" else None
    return quantized.producer() if quantized is not None else None


def _numbers(value: ir.Value | None) -> npt.NDArray[Any]:
    array = constant(value)
    assert array is not None
    return array


def _range(quantizer: ir.Node) -> Range:
    """What the numbers behind a QuantizeLinear stand for, so that its scale comes out again, to the bit."""
    scale, zero = float(_numbers(quantizer.inputs[1])), _numbers(quantizer.inputs[2])
    if zero.dtype == np.int8:
        return Range(-QUANT_MAX * scale, QUANT_MAX * scale)
    return Range(-int(zero) * scale, (UNSIGNED_MAX - int(zero)) * scale)


def _rounding(layer: ir.Node, scales: npt.NDArray[Any]) -> Rounding:
    weights = read_weights(layer)
    assert weights is not None
    step = scales.astype(np.float32).reshape(*weights.weight.shape[:2], 1, 1)
    steps = np.rint(weights.weight.astype(np.float32) / step)  # in FP32, as QuantizeLinear does
    whole = np.clip(steps, -QUANT_MAX, QUANT_MAX).astype(np.int8)
    return Rounding(whole, np.broadcast_to(weights.bias, step.size), step.reshape(-1))
