"""Fold BatchNormalization into the convolution or matrix product before it or after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.batch_norm import Affine, affine_of, batch_norms, is_batch_norm, is_training
from edgecnn.graph.layer_weights import LayerWeights, attribute_ints, is_linear_layer, read_weights
from edgecnn.graph.model import PassResult, add_initializer, constant

_NO_LAYER = "other producer"


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
            plan = _plan(norm)
            if isinstance(plan, str):
                refusals[plan] += 1
                continue
            _remove(norm, plan, model.graph)
            counts["merged" if any(is_batch_norm(fold.kept) for fold in plan) else "folded"] += 1
        if counts.total() == done:  # a fold brings others within reach: only a round without one is the last
            return PassResult(modified=done > 0, counts=dict(counts + refusals))


def foldable_batch_norms(model: ir.Model) -> list[str]:
    """Names of the BatchNorms that ``fold_batch_norm`` would fold or merge; a node without one by its output."""
    return [norm.name or str(norm.outputs[0].name) for norm in batch_norms(model) if not isinstance(_plan(norm), str)]


@dataclass(frozen=True)
class _Fold:
    """Two neighbours and what becomes of them.

    Attributes:
        first: The node nearer to the graph's inputs.
        last: The other; of a layer in front of a Concat the same.
        kept: The one of them whose name and, MatMul apart, operator the node in their place has.
        parameters: Inputs of that node behind its first: ending of the name, and array.
    """

    first: ir.Node
    last: ir.Node
    kept: ir.Node
    parameters: Mapping[str, npt.NDArray[Any]]


def _plan(norm: ir.Node) -> tuple[_Fold, ...] | str:
    """How to fold one BatchNorm, or the first reason why not that says more than that there is no layer."""
    reason = _NO_LAYER
    for attempt in (_behind_layer, _behind_joined_layers, _before_layer, _behind_norm):
        found = attempt(norm)
        if isinstance(found, _Fold):
            return (found,)
        if isinstance(found, tuple):
            return found
        reason = found if reason == _NO_LAYER else reason
    return reason


def _behind_layer(norm: ir.Node) -> _Fold | str:
    layer = _producer(norm)
    if layer is None or not is_linear_layer(layer):
        return _NO_LAYER
    numbers = _numbers(layer.outputs[0], norm, layer)
    if isinstance(numbers, str):
        return numbers
    return _scaled(layer, norm, *numbers)


def _behind_joined_layers(norm: ir.Node) -> tuple[_Fold, ...] | str:
    """A fold for each of the layers whose channels are joined."""
    join = _producer(norm)
    if join is None or join.op_type != "Concat" or join.attributes["axis"].as_int() != 1:
        return _NO_LAYER
    layers = [value.producer() if value is not None else None for value in join.inputs]
    # A MatMul's channels are its last axis.
    if any(layer is None or not is_linear_layer(layer) or layer.op_type == "MatMul" for layer in layers):
        return _NO_LAYER
    if (reason := _refusal(join.outputs[0], norm)) is not None:
        return reason
    affine = affine_of(norm)
    folds: list[_Fold] = []
    taken = 0
    for layer in layers:
        assert layer is not None
        if (reason := _refusal(layer.outputs[0])) is not None:
            return reason
        form = read_weights(layer)
        if affine is None or form is None:
            return "not constant"
        part = slice(taken, taken + form.weight.shape[0] * form.weight.shape[1])
        fold = _scaled(layer, layer, Affine(affine.scale[part], affine.shift[part]), form)
        if isinstance(fold, str):
            return fold
        folds.append(fold)
        taken = part.stop
    return tuple(folds)


def _scaled(layer: ir.Node, last: ir.Node, affine: Affine, form: LayerWeights) -> _Fold | str:
    """A layer with an affine function behind it."""
    weight = form.weight * affine.scale.reshape(form.weight.shape[0], -1, 1, 1)
    bias = affine.scale * form.bias + affine.shift
    return _finite(_Fold(layer, last, layer, {"folded": form.stored(weight), "folded_bias": bias}), form.dtype)


def _before_layer(norm: ir.Node) -> _Fold | str:
    between = norm.outputs[0]
    layer = next((user for user, position in between.uses() if position == 0 and is_linear_layer(user)), None)
    if layer is None or layer.graph is not norm.graph:
        return _NO_LAYER
    numbers = _numbers(between, norm, layer)
    if isinstance(numbers, str):
        return numbers
    if attribute_ints(layer, "transA", 0)[0]:
        return "transposed input"
    affine, form = numbers
    if affine.shift.any() and _edges_differ(layer, form):
        return "padding"
    scale, shift = (array.reshape(form.weight.shape[0], 1, -1, 1) for array in (affine.scale, affine.shift))
    bias = form.bias + (form.weight * shift).sum(axis=(2, 3)).reshape(-1)
    return _finite(
        _Fold(norm, layer, layer, {"folded": form.stored(form.weight * scale), "folded_bias": bias}), form.dtype
    )


def _behind_norm(norm: ir.Node) -> _Fold | str:
    """Two BatchNorms as one, with mean 0, variance 1 and no epsilon."""
    first = _producer(norm)
    if first is None or not is_batch_norm(first):
        return _NO_LAYER
    if (reason := _refusal(first.outputs[0], first, norm)) is not None:
        return reason
    before, after, gain = affine_of(first), affine_of(norm), constant(norm.inputs[1])
    if before is None or after is None or gain is None:
        return "not constant"
    if not (before.is_finite and after.is_finite):
        return "overflow"
    both = after.after(before)
    zeros = np.zeros_like(both.scale)
    parameters = {"gain": both.scale, "shift": both.shift, "mean": zeros, "variance": zeros + 1}
    return _finite(_Fold(first, norm, norm, parameters), gain.dtype)


def _producer(norm: ir.Node) -> ir.Node | None:
    """What makes the input, where that is in the same graph: not, say, outside of the loop that the BatchNorm is in."""
    data = norm.inputs[0]
    producer = data.producer() if data is not None else None
    return producer if producer is not None and producer.graph is norm.graph else None


def _refusal(between: ir.Value, *norms: ir.Node) -> str | None:
    """Why what lies between two nodes, or the BatchNorms among them, bars a fold."""
    if between.is_graph_output():
        return "graph output"
    if len(between.uses()) != 1:
        return "two consumers"
    return "training mode" if any(is_training(norm) for norm in norms) else None


def _numbers(between: ir.Value, norm: ir.Node, layer: ir.Node) -> tuple[Affine, LayerWeights] | str:
    """What a BatchNorm and a layer compute, or why they cannot be folded."""
    if (reason := _refusal(between, norm)) is not None:
        return reason
    if layer.op_type == "MatMul" and any(
        value is None or value.shape is None or len(value.shape) != 2 for value in layer.inputs
    ):
        return "matmul rank"
    affine, form = affine_of(norm), read_weights(layer)
    if affine is None or form is None:
        return "not constant"
    return (affine, form) if affine.is_finite else "overflow"


def _edges_differ(layer: ir.Node, form: LayerWeights) -> bool:
    """Whether a constant added to the layer's input adds something else at the edges than in the middle."""
    if layer.op_type not in ("Conv", "ConvTranspose"):
        return False
    automatic = layer.attributes["auto_pad"].as_string() if "auto_pad" in layer.attributes else "NOTSET"
    single = form.weight.shape[3] == 1
    if layer.op_type == "ConvTranspose":
        spread = any(attribute_ints(layer, "output_padding", 0)) or "output_shape" in layer.attributes
        return not single or spread or any(stride != 1 for stride in attribute_ints(layer, "strides", 1))
    return any(attribute_ints(layer, "pads", 0)) or (automatic.startswith("SAME") and not single)


def _finite(fold: _Fold, dtype: np.dtype[Any]) -> _Fold | str:
    """The fold with its arrays in their type, if that holds them."""
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = {name: array.astype(dtype) for name, array in fold.parameters.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return "overflow"
    return _Fold(fold.first, fold.last, fold.kept, arrays)


def _remove(norm: ir.Node, plan: Sequence[_Fold], root: ir.Graph) -> None:
    """Carry a plan out; the BatchNorm's output keeps its name."""
    for fold in plan:
        _apply(root, fold)
    if norm.graph is not None:  # what was joined takes its place
        joined, output = norm.inputs[0], norm.outputs[0]
        assert joined is not None
        output.replace_all_uses_with(joined, replace_graph_outputs=True)
        norm.graph.remove(norm, safe=True)
        joined.name, joined.type = output.name, output.type or joined.type


def _apply(root: ir.Graph, fold: _Fold) -> None:
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
