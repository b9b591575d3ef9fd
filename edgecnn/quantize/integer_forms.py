"""What integer kernels want beside Q/DQ pairs: biases as INT32, and HardSigmoid as a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.model import add_initializer, constant
from edgecnn.quantize.ranges import UNSIGNED_MAX, Grid, Range

# Attributes are FP32 numbers once a model was written down.
_FP32 = 1e-6
# A range that has to be widened by more loses more than a bit.
_MOST_WIDENING = 2.0
# A bias of more steps than this leaves the accumulator too little room.
_MOST_STEPS = 2**30


def range_before_gate(gate: ir.Node, seen: Range) -> Range:
    """The range of a HardSigmoid's input at which the zero point is a whole number in both of its readings.

    HardSigmoid is ``clip(alpha x + beta, 0, 1)``. With x in steps of s from ``-beta / alpha`` on, the number stored is
    ``(alpha x + beta) / (alpha s)``: read with a scale of ``alpha s`` and a zero point of 0 it is the result already,
    but for the ceiling, which is a Min of integers. For that ``beta / alpha / s`` must be a whole number.

    Args:
        gate: The HardSigmoid.
        seen: What its input takes; values below HardSigmoid's begin are cut off.

    Returns:
        That range; or ``seen``, where the input is multiplied as well and takes a small part of that range only: its
        digits are needed then, and the HardSigmoid stays in FP32.
    """
    begin, end = _bounds(gate)
    multiplied = len(tuple(gate.inputs[0].uses())) > 1 if gate.inputs[0] is not None else False
    reach = max(seen.high if multiplied else end, end)
    zero = max(math.floor(begin * UNSIGNED_MAX / (begin + reach)), 1)
    found = Range(-begin, begin * (UNSIGNED_MAX - zero) / zero)
    return seen if multiplied and found.high - found.low > _MOST_WIDENING * (seen.high - seen.low) else found


def suits_gate(gate: ir.Node, found: Range | None) -> bool:
    """Whether a range of a HardSigmoid's input is one that ``range_before_gate`` makes."""
    begin = _bounds(gate)[0]
    if found is None or not math.isclose(-found.low, begin, rel_tol=_FP32):
        return False
    steps = begin * UNSIGNED_MAX / (found.high - found.low)
    return math.isclose(steps, round(steps), rel_tol=_FP32)


def insert_gate(graph: ir.Graph, gate: ir.Node, quantized: ir.Value, grid: Grid, name: str) -> None:
    """Replace a HardSigmoid by a Min of its input's integers, dequantized with other parameters.

    Args:
        graph: The gate's.
        gate: The HardSigmoid.
        quantized: Its input, as UINT8.
        grid: Of that input, see ``range_before_gate``.
        name: For what is added.
    """
    alpha = _attribute(gate, "alpha", 0.2)
    one = round(1 / (alpha * grid.scale))
    top = add_initializer(graph, f"{name}.top", np.asarray(min(one, UNSIGNED_MAX), dtype=np.uint8))
    minimum = ir.Node("", "Min", [quantized, top], name=f"{name}.minimum")
    minimum.outputs[0].name, minimum.outputs[0].shape = f"{name}.minimum", quantized.shape
    minimum.outputs[0].dtype = ir.DataType.UINT8
    scale = add_initializer(graph, f"{name}.scale", np.asarray(alpha * grid.scale, dtype=np.float32))
    zero = add_initializer(graph, f"{name}.zero_point", np.asarray(0, dtype=np.uint8))
    restorer = ir.Node("", "DequantizeLinear", [minimum.outputs[0], scale, zero], name=f"{name}.dequantize")
    output, restored = gate.outputs[0], restorer.outputs[0]
    restored.name, restored.shape, restored.dtype = f"{name}.dequantized", output.shape, ir.DataType.FLOAT
    ir.convenience.replace_nodes_and_values(graph, gate, [gate], [minimum, restorer], [output], [restored])


def least_scales(bias: npt.NDArray[np.float64], input_scale: float) -> npt.NDArray[np.float32]:
    """The smallest scale of each output channel's weights at which its bias, in steps of both scales, is an INT32."""
    return np.asarray(np.abs(bias) / (input_scale * _MOST_STEPS), dtype=np.float32)


def insert_bias(graph: ir.Graph, layer: ir.Node, scales: npt.NDArray[np.float32], name: str) -> None:
    """Store a layer's bias as INT32.

    Args:
        graph: The layer's.
        layer: Conv or Gemm, whose bias has a number for each output channel.
        scales: The product of the scales of input and weights, for each.
        name: For what is added.
    """
    bias = constant(layer.inputs[2])
    assert bias is not None
    steps = np.rint(np.broadcast_to(bias.reshape(-1), scales.shape) / scales.astype(np.float64)).astype(np.int32)
    values: Iterable[ir.Value] = (
        add_initializer(graph, f"{name}.int32", steps),
        add_initializer(graph, f"{name}.scale", scales),
        add_initializer(graph, f"{name}.zero_point", np.zeros(scales.shape, dtype=np.int32)),
    )
    node = ir.Node(
        "", "DequantizeLinear", list(values), attributes=[ir.AttrInt64("axis", 0)], name=f"{name}.dequantize"
    )
    node.outputs[0].name, node.outputs[0].shape = f"{name}.dequantized", ir.Shape(scales.shape)
    node.outputs[0].dtype = ir.DataType.FLOAT
    graph.insert_before(layer, node)
    layer.replace_input_with(2, node.outputs[0])


def _bounds(gate: ir.Node) -> tuple[float, float]:
    """How far below and above 0 HardSigmoid begins and ends."""
    alpha, beta = _attribute(gate, "alpha", 0.2), _attribute(gate, "beta", 0.5)
    return beta / alpha, (1 - beta) / alpha


def _attribute(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].as_float() if name in node.attributes else default
