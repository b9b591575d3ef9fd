"""Which neighbour of a BatchNormalization can take it, and with what weights; ``fold_bn`` carries that out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.graph.batch_norm import Affine, affine_of, is_batch_norm, is_training
from edgecnn.graph.layer_weights import LayerWeights, attribute_ints, is_linear_layer, read_weights
from edgecnn.graph.model import constant
from edgecnn.graph.operators import is_channel_concat

_NO_LAYER = "other producer"


@dataclass(frozen=True)
class Fold:
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


def plan_fold(norm: ir.Node) -> tuple[Fold, ...] | str:
    """How to fold one BatchNorm, or the first reason why not that says more than that there is no layer."""
    reason = _NO_LAYER
    for attempt in (_behind_layer, _behind_joined_layers, _before_layer, _behind_norm):
        found = attempt(norm)
        if not isinstance(found, str):
            return found if isinstance(found, tuple) else (found,)
        reason = found if reason == _NO_LAYER else reason
    return reason


def _behind_layer(norm: ir.Node) -> Fold | str:
    layer = _producer(norm)
    if layer is None or not is_linear_layer(layer):
        return _NO_LAYER
    numbers = _numbers(layer.outputs[0], norm, layer)
    if isinstance(numbers, str):
        return numbers
    return _scaled(layer, norm, *numbers)


def _behind_joined_layers(norm: ir.Node) -> tuple[Fold, ...] | str:
    """A fold for each of the layers whose channels are joined."""
    join = _producer(norm)
    if join is None or not is_channel_concat(join):
        return _NO_LAYER
    layers = [value.producer() if value is not None else None for value in join.inputs]
    # A MatMul's channels are its last axis.
    if any(layer is None or not is_linear_layer(layer) or layer.op_type == "MatMul" for layer in layers):
        return _NO_LAYER
    if (reason := _refusal(join.outputs[0], norm)) is not None:
        return reason
    affine = affine_of(norm)
    folds: list[Fold] = []
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


def _scaled(layer: ir.Node, last: ir.Node, affine: Affine, form: LayerWeights) -> Fold | str:
    """A layer with an affine function behind it."""
    weight = form.weight * affine.scale.reshape(form.weight.shape[0], -1, 1, 1)
    bias = affine.scale * form.bias + affine.shift
    return _finite(Fold(layer, last, layer, {"folded": form.stored(weight), "folded_bias": bias}), form.dtype)


def _before_layer(norm: ir.Node) -> Fold | str:
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
        Fold(norm, layer, layer, {"folded": form.stored(form.weight * scale), "folded_bias": bias}), form.dtype
    )


def _behind_norm(norm: ir.Node) -> Fold | str:
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
    return _finite(Fold(first, norm, norm, parameters), gain.dtype)


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


def _finite(fold: Fold, dtype: np.dtype[Any]) -> Fold | str:
    """The fold with its arrays in their type, if that holds them."""
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = {name: array.astype(dtype) for name, array in fold.parameters.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return "overflow"
    return Fold(fold.first, fold.last, fold.kept, arrays)
