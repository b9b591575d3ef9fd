"""Fold BatchNormalization into the convolution or matrix product before it or after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from edgecnn.graph.batch_norm import batch_norms, is_batch_norm
from edgecnn.graph.bn_neighbours import Fold, plan_fold
from edgecnn.graph.model import PassResult, add_initializer


def fold_batch_norm(model: ir.Model) -> PassResult:
    """Fold every BatchNormalization next to a Conv, ConvTranspose, Gemm or MatMul with constant weights.

    In inference a BatchNorm is ``s x + t`` for each channel (``affine_of``), which is linear, as the layers are.
    Behind a layer the weights of output channel o become ``s[o] W[o]`` and the bias ``s B + t``. In front of a
    layer the weights of input channel i become ``W[:, i] s[i]`` and the bias ``B + sum of W[:, i] t[i]``. All in
    float64. The layer before comes first; where a Concat joins the channels of several layers, each of them takes
    its own part of the BatchNorm (as in CSP blocks of YOLO, and in MixNet). Groups and missing biases are handled,
    as are alpha and beta of a Gemm, which become 1. A MatMul gets its bias by becoming a Gemm. New weights are
    made, so that other users of the old ones keep them. Two BatchNorms in a row that no layer takes become one,
    which is counted as ``merged``.

    Refused, and counted under these names in the result:

    - ``other producer``: neither what comes before nor what comes after is one of the four operators, nor a Concat of
      such alone.
    - ``two consumers``: what lies between the two nodes is used elsewhere too.
    - ``graph output``: what lies between the two nodes leaves the graph.
    - ``not constant``: weights, bias or the BatchNorm's parameters are computed at run time.
    - ``training mode``: the node normalizes by the batch's own statistics.
    - ``matmul rank``: a MatMul of other than two dimensions. A BatchNorm's channels are axis 1, a MatMul's the last;
      with a Transpose between the two they are no neighbours, which is ``other producer``.
    - ``padding``: in front of a convolution that pads with zeros, where the shift would have to be zero too, or of a
      ConvTranspose, whose kernel overlaps itself less at the edges. Without a shift both fold.
    - ``transposed input``: in front of a Gemm with transA, whose input channels are not axis 1.
    - ``overflow``: the new weights are not finite in the type of the old ones, as with a variance of zero.
    """
    counts = Counter[str]()
    refusals = Counter[str]()
    while True:
        done = counts.total()
        refusals.clear()
        for norm in tuple(batch_norms(model)):
            plan = plan_fold(norm)
            if isinstance(plan, str):
                refusals[plan] += 1
                continue
            _remove(norm, plan, model.graph)
            counts["merged" if any(is_batch_norm(fold.kept) for fold in plan) else "folded"] += 1
        if counts.total() == done:  # a fold brings others within reach: only a round without one is the last
            return PassResult(modified=done > 0, counts=dict(counts + refusals))


def foldable_batch_norms(model: ir.Model) -> list[str]:
    """Names of the BatchNorms that ``fold_batch_norm`` would fold or merge; a node without one by its output."""
    return [
        norm.name or str(norm.outputs[0].name) for norm in batch_norms(model) if not isinstance(plan_fold(norm), str)
    ]


def _remove(norm: ir.Node, plan: Sequence[Fold], root: ir.Graph) -> None:
    """Carry a plan out; the BatchNorm's output keeps its name."""
    for fold in plan:
        _apply(root, fold)
    if norm.graph is not None:  # what was joined takes its place
        joined, output = norm.inputs[0], norm.outputs[0]
        assert joined is not None
        output.replace_all_uses_with(joined, replace_graph_outputs=True)
        norm.graph.remove(norm, safe=True)
        joined.name, joined.type = output.name, output.type or joined.type


def _apply(root: ir.Graph, fold: Fold) -> None:
    """Put one node where two were, with the name of the one that is kept and the output of the last."""
    kept, after = fold.kept, fold.last.outputs[0]
    name = kept.name or str(after.name)
    # In the outermost graph, which bodies of loops and branches can see, so that no two of them name the same.
    parameters = [add_initializer(root, f"{name}.{ending}", array) for ending, array in fold.parameters.items()]
    dropped = ("alpha", "beta", "epsilon")
    attributes = [attribute for key, attribute in kept.attributes.items() if key not in dropped]
    if is_batch_norm(kept):
        attributes.append(ir.AttrFloat32("epsilon", 0.0))
    operator = "Gemm" if kept.op_type == "MatMul" else kept.op_type
    merged = ir.Node("", operator, [fold.first.inputs[0], *parameters], attributes=attributes, name=kept.name)
    output, graph = merged.outputs[0], kept.graph
    assert graph is not None
    output.name, output.shape, output.type = after.name, after.shape, after.type or fold.first.outputs[0].type
    after.replace_all_uses_with(output, replace_graph_outputs=True)
    graph.insert_after(fold.last, merged)
    graph.remove({fold.last, fold.first}, safe=True)
