"""Remove what does nothing: constants computed at run time, copies, identities, dead nodes."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection

import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript import optimizer

from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.model import PassResult, constant, fix_weights

# Dropout with a training_mode input, which the folder of constants reads; before it Dropout never drops in inference.
_DROPOUT_WITH_MODE = 12
# Elements: what a computed constant may add to the file, 1 MB in FP32. A larger one is left to be computed where the
# network runs, unless it is a layer's weight or no larger than what it is computed from.
_LARGE = 512 * 512
_ROUNDS = 8  # two or three in graphs that were met
_QUANTIZATION = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
# What can make much of little. Without a known shape there is no telling.
_GROWING = frozenset({"ConstantOfShape", "Expand", "EyeLike", "OneHot", "Pad", "Range", "Resize", "Tile"})
# Biases, gains, shifts and slopes are equal where they have learnt nothing yet, and are separate parameters still.
_NORMS_AND_SLOPES = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "PRelu"}
)


def clean_up(model: ir.Model) -> PassResult:
    """Fold constants, merge equal ones, drop identities, dropout, dead nodes and computed zero biases of convolutions.

    The general rewrites are onnxscript's and onnx-ir's; a zero bias is ours, because torch's exporter computes one for
    every convolution that has none, which would count as parameters. A bias that the file stores is a parameter, zero
    or not. Weights that are computed from constants become constants, whatever their size: passes and TensorRT want
    to see them. Biases and the parameters of normalizations are never merged.
    """
    before = _fingerprint(model)
    counts = Counter[str]()
    common.InlinePass()(model)
    fix_weights(model)
    stored = frozenset(model.graph.initializers)
    if model.opset_imports.get("", _DROPOUT_WITH_MODE) < _DROPOUT_WITH_MODE:
        _replace_old_dropout(model)
    _fold_constants(model)
    counts["zero biases removed"] = _remove_zero_biases(model, stored)
    for step in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
    ):
        step(model)
    counts["equal constants merged"] = _merge_equal(model.graph)
    for node in model.graph:
        node.metadata_props.clear()  # stack traces of the exporting machine
    after = _fingerprint(model)
    counts["nodes removed"] = max(before[0] - after[0], 0)
    return PassResult(modified=before != after, counts=dict(counts))


def _fold_constants(model: ir.Model) -> None:
    """Fold until nothing is left: sizes decide what is folded, and what was folded tells the sizes of what follows."""
    for _ in range(_ROUNDS):
        common.ShapeInferencePass()(model)
        if not optimizer.fold_constants(model, output_size_limit=2**63, should_fold=_worth_storing).modified:
            return


def _worth_storing(node: ir.Node) -> bool | None:
    """Whether to put the result of a node with constant inputs into the file; None: if its inputs are small."""
    if node.op_type in _QUANTIZATION:
        return None
    inputs = sum(value.const_value.size for value in node.inputs if value is not None and value.const_value is not None)
    elements = _elements(node)
    if elements is None:
        return False if node.op_type in _GROWING else None
    return elements <= max(_LARGE, inputs) or _is_weight(node.outputs[0])


def _elements(node: ir.Node) -> int | None:
    """How many elements a node with constant inputs makes, as far as that is known before it has run."""
    shape = node.outputs[0].shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return math.prod(size for size in shape if isinstance(size, int))


def _is_weight(value: ir.Value) -> bool:
    """Whether a layer uses a value as its weight or bias, as it is or after other computations on constants."""
    return any(
        position > 0
        if is_linear_layer(user)
        else all(other is None or other is value or other.const_value is not None for other in user.inputs)
        and any(_is_weight(output) for output in user.outputs)
        for user, position in value.uses()
    )


def _replace_old_dropout(model: ir.Model) -> None:
    for graph in model.graphs():
        for node in graph:
            if node.op_type != "Dropout" or node.domain != "":
                continue
            if not any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
                copy = ir.Node("", "Identity", node.inputs[:1], name=node.name)
                ir.convenience.replace_nodes_and_values(graph, node, [node], [copy], node.outputs[:1], copy.outputs)


def _remove_zero_biases(model: ir.Model, stored: Collection[str]) -> int:
    removed = 0
    for node in model.graph:
        if node.op_type in ("Conv", "ConvTranspose") and len(node.inputs) == 3:
            value = node.inputs[2]
            bias = constant(value)
            if value is not None and value.name not in stored and bias is not None and not bias.any():
                node.resize_inputs(2)
                removed += 1
    return removed


def _merge_equal(graph: ir.Graph) -> int:
    """Let all users of equal constants use one of them; how many went."""
    alike = defaultdict[tuple[ir.DataType, tuple[object, ...]], list[ir.Value]](list)
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype != ir.DataType.STRING and _may_be_merged(value):
            alike[tensor.dtype, tuple(tensor.shape)].append(value)
    merged = 0
    for values in alike.values():
        kept: dict[bytes, ir.Value] = {}
        # Large models have few weights of one shape; those that have none of their kind are not even read.
        for value in values if len(values) > 1 else []:
            assert value.const_value is not None
            assert value.name is not None
            first = kept.setdefault(hashlib.sha256(value.const_value.tobytes()).digest(), value)
            if first is not value:
                value.replace_all_uses_with(first)
                del graph.initializers[value.name]
                merged += 1
    return merged


def _may_be_merged(value: ir.Value) -> bool:
    return not (value.is_graph_input() or value.is_graph_output()) and not any(
        position > 0 and (user.op_type in _NORMS_AND_SLOPES or (is_linear_layer(user) and position > 1))
        for user, position in value.uses()
    )


def _fingerprint(model: ir.Model) -> tuple[int, tuple[str, ...], int]:
    graph = model.graph
    inputs = len(graph.inputs) + sum(len(node.inputs) for node in graph)
    return len(graph), tuple(sorted(graph.initializers)), inputs
