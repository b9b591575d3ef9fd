"""Fix the size of the batch."""

from __future__ import annotations

import onnx_ir as ir

from edgecnn.graph.model import PassResult


def freeze_batch(model: ir.Model) -> PassResult:
    """Make the first size of every input 1 where it is left open: a camera's frames come one at a time.

    Shapes that were derived from an open size are dropped, for shape inference to find them anew.
    """
    frozen = 0
    initializers = set(model.graph.initializers)
    for value in model.graph.inputs:
        if value.name in initializers or value.shape is None or not len(value.shape):
            continue
        if not isinstance(value.shape[0], int):
            value.shape = ir.Shape([1, *list(value.shape)[1:]])
            frozen += 1
    if frozen:
        for node in model.graph:
            for output in node.outputs:
                output.shape = None
    return PassResult(modified=frozen > 0, counts={"inputs frozen": frozen})
