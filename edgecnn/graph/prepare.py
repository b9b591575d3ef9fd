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


PREPARATION: tuple[Pass, ...] = (
    freeze_batch,
    infer_shapes,
    clean_up,
    infer_shapes,
    fold_pad,
    fold_batch_norm,
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
