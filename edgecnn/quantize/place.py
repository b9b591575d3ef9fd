"""Where Q/DQ pairs go: around the layers with weights, and around what a target's scheme names beside them.

For TensorRT by NVIDIA's rules for explicit quantization. Source: the section "Recommendations for placing Q/DQ" of the
TensorRT developer guide. In short: quantize the inputs of what has weights and leave outputs alone, so that the bias,
BatchNorm and activation that follow fuse into it; at a residual addition quantize the identity branch only, so that
the addition fuses into the convolution of the other.

For runtimes that compute layer by layer, in integers from input to output, outputs are quantized too, and so is what
stands between two layers, where there are kernels for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx_ir as ir

from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.model import constant
from edgecnn.quantize.between import between_layers, output_of
from edgecnn.quantize.schemes import TENSORRT, Scheme


@dataclass(frozen=True)
class WeightPoint:
    """A weight to quantize.

    Attributes:
        node: Its layer.
        axis: The axis of output channels, for a scale each; None for one scale.
    """

    node: ir.Node
    axis: int | None


@dataclass(frozen=True)
class Placement:
    """All places of a graph.

    Attributes:
        activations: For every value to quantize, the uses (node, input position) that take the quantized one.
        weights: The weights to quantize.
        left_out: Layers with weights that stay as they are: name and reason.
        carried: Values of ``activations`` that have the range of another one, which stands before a carrier.
        gates: HardSigmoids to compute on the quantized input, if its range suits that.
    """

    activations: dict[ir.Value, list[tuple[ir.Node, int]]]
    weights: list[WeightPoint]
    left_out: dict[str, str]
    carried: dict[ir.Value, ir.Value] = field(default_factory=dict[ir.Value, ir.Value])
    gates: list[ir.Node] = field(default_factory=list[ir.Node])


def place(model: ir.Model, exclude: Collection[str] = (), scheme: Scheme = TENSORRT) -> Placement:
    """Choose the places.

    Args:
        model: Shapes inferred.
        exclude: Names of nodes to leave as they are.
        scheme: The target's rules.
    """
    placement = Placement({}, [], {})
    for node in model.graph:
        if not is_linear_layer(node):
            continue
        if node.name in exclude:
            placement.left_out[str(node.name)] = "it is left out by choice"
            continue
        axis_or_reason = _weight_axis(node, scheme)
        if isinstance(axis_or_reason, str):
            placement.left_out[node.name or str(node.outputs[0].name)] = axis_or_reason
            continue
        data = node.inputs[0]
        assert data is not None
        placement.weights.append(WeightPoint(node, axis_or_reason))
        placement.activations.setdefault(data, []).append((node, 0))
    quantized = {point.node for point in placement.weights}
    if scheme.operators:
        found = between_layers(model, quantized, scheme, exclude)
        everything = {value: [(user, position) for user, position in value.uses()] for value in found.values}
        return Placement(everything, placement.weights, placement.left_out, found.carried, found.gates)
    for node in model.graph:
        if (
            node.op_type == "Add"
            and node.name not in exclude
            and (position := _identity_branch(node, quantized)) is not None
        ):
            branch = node.inputs[position]
            assert branch is not None
            placement.activations.setdefault(branch, []).append((node, position))
    return placement


def _weight_axis(node: ir.Node, scheme: Scheme) -> int | str | None:
    """The axis of a layer's output channels (None: one scale for all), or why it is left out."""
    if node.op_type not in scheme.layers:
        return f"{node.op_type} has no integer kernel"
    if scheme.operators and node.op_type == "Conv" and output_of(node).is_graph_output():
        return "its output is the network's, and would be INT8"
    weight = constant(node.inputs[1])
    if weight is None:
        return "its weights are computed at run time"
    if constant(node.inputs[0]) is not None:
        return "its input is constant"
    if node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.FLOAT:
        return "its input is not FP32"
    match node.op_type:
        case "Conv":
            groups = node.attributes["group"].as_int() if "group" in node.attributes else 1
            per_group = (weight.shape[1], weight.shape[0] // groups)
            multiple = scheme.group_multiple
            if groups > 1 and per_group != (1, 1) and any(size % multiple for size in per_group):
                found = f"{per_group[0]} and {per_group[1]}"
                return f"INT8 wants a multiple of {multiple} channels a group, and there are {found}"
            return 0
        case "ConvTranspose":
            return None
        case "Gemm":
            if "transA" in node.attributes and node.attributes["transA"].as_int():
                return "its input is transposed"
            return 0 if "transB" in node.attributes and node.attributes["transB"].as_int() else 1
        case _:
            return 1 if weight.ndim == 2 else "its weights have not two dimensions"


def _identity_branch(node: ir.Node, quantized: Collection[ir.Node]) -> int | None:
    """Which input of a residual addition is the identity, or None where the pattern is not there.

    The other input must come straight from a quantized convolution that nobody else reads: that is what the addition
    fuses into. Where both do (a block with a projection), the second is quantized.
    """
    if any(value is None or constant(value) is not None for value in node.inputs):
        return None
    fusable = [_is_private_convolution(value, quantized) for value in node.inputs]
    if fusable == [True, True] or fusable == [True, False]:
        return 1
    return 0 if fusable == [False, True] else None


def _is_private_convolution(value: ir.Value | None, quantized: Collection[ir.Node]) -> bool:
    producer = value.producer() if value is not None else None
    if value is None or producer is None or producer.op_type != "Conv" or producer not in quantized:
        return False
    return len(value.uses()) == 1 and not value.is_graph_output()
