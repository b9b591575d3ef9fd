"""Remove what does nothing: constants computed at run time, identities, dead nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import onnx_ir as ir
import onnx_ir.passes.common as common
from onnxscript import optimizer

from edgecnn.graph.model import PassResult, constant

# The first version of the format in which a weight is not one of the graph's inputs as well.
_WEIGHTS_ARE_NO_INPUTS = 4


def clean_up(model: ir.Model) -> PassResult:
    """Fold constants, drop identities, dropout, dead nodes and computed convolution biases that are all zero.

    The general rewrites are onnxscript's and onnx-ir's; a zero bias is ours, because torch's exporter computes one for
    every convolution that has none, which would count as parameters. A bias that the file stores is a parameter, zero
    or not. Equal initializers are not merged, since BatchNorms that have learnt nothing yet would then count once.
    """
    before = _fingerprint(model)
    counts = Counter[str]()
    stored = frozenset(model.graph.initializers)
    optimizer.fold_constants(model)
    counts["zero biases removed"] = _remove_zero_biases(model, stored)
    for step in (
        common.InlinePass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveInitializersFromInputsPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
    ):
        step(model)
    model.ir_version = max(model.ir_version, _WEIGHTS_ARE_NO_INPUTS)
    for node in model.graph:
        node.metadata_props.clear()  # stack traces of the exporting machine
    after = _fingerprint(model)
    counts["nodes removed"] = max(before[0] - after[0], 0)
    return PassResult(modified=before != after, counts=dict(counts))


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


def _fingerprint(model: ir.Model) -> tuple[int, tuple[str, ...], int]:
    graph = model.graph
    return len(graph), tuple(sorted(graph.initializers)), sum(len(node.inputs) for node in graph)
