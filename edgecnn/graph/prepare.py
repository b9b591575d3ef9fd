"""The passes that every model goes through, in their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as common

from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.fold_bn import fold_batch_norm
from edgecnn.graph.fold_pad import fold_pad
from edgecnn.graph.freeze import freeze_batch
from edgecnn.graph.lift_signals import lift_signals
from edgecnn.graph.model import PassResult, load_model, name_nodes

Pass = Callable[[ir.Model], PassResult]


def infer_shapes(model: ir.Model) -> PassResult:
    """Give every value the element type and shape that ONNX can infer."""
    return PassResult(modified=common.ShapeInferencePass()(model).modified)


def load_named(path: Path) -> ir.Model:
    """An ONNX file as passes want it that speak of nodes by name: shapes inferred, every node named."""
    model = load_model(path)
    run_passes(model, (infer_shapes,))
    name_nodes(model)
    return model


def with_shapes(model: ir.Model) -> ir.Model:
    """The model, or where shapes are open a copy in which what is computed from known shapes has become constants.

    Torch's older exporter writes the padding of some networks (NASNet, TensorFlow's "SAME") as a chain of operators on
    the shape of an input. ONNX infers nothing through it, and so no shape behind it, even where the picture's is fixed.
    The copy's weights are the model's own.
    """
    if all(_is_known(output) for node in model.graph for output in node.outputs):
        return model
    copy = model.clone()
    run_passes(copy, (clean_up, infer_shapes))
    return copy


def _is_known(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)


PREPARATION: tuple[Pass, ...] = (
    freeze_batch,
    infer_shapes,
    clean_up,
    infer_shapes,
    fold_pad,
    fold_batch_norm,
    lift_signals,
    clean_up,
)
"""From a graph of any exporter to a folded one."""


def run_passes(model: ir.Model, passes: tuple[Pass, ...]) -> dict[str, int]:
    """Run passes in order; the sum of their counts.

    Raises:
        RuntimeError: A pass failed; the message names it and those that ran before.
    """
    totals: dict[str, int] = {}
    for index, step in enumerate(passes):
        try:
            result = step(model)
        except Exception as error:
            done = ", ".join(before.__name__ for before in passes[:index]) or "none"
            raise RuntimeError(f"graph pass {step.__name__} failed (after: {done}): {error}") from error
        for name, count in result.counts.items():
            totals[name] = totals.get(name, 0) + count
    return {name: count for name, count in totals.items() if count}
