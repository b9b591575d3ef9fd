"""Fix the sizes that a graph's inputs leave open."""

from __future__ import annotations

import onnx_ir as ir

from edgecnn.graph.model import PassResult


def freeze_batch(model: ir.Model) -> PassResult:
    """Make the first size of every input 1 where it is left open: a camera's frames come one at a time.

    Shapes that were derived from an open size are dropped, for shape inference to find them anew.
    """
    return _freeze(model, (1,))


def freeze_picture(model: ir.Model, height: int, width: int) -> PassResult:
    """As ``freeze_batch``, and the rows and columns of inputs (batch, channels, height, width) too, in pixels.

    Sizes that are fixed already stay.
    """
    return _freeze(model, (1, None, height, width))


def _freeze(model: ir.Model, sizes: tuple[int | None, ...]) -> PassResult:
    """Give inputs of at least as many dimensions the sizes, where theirs are open."""
    frozen = 0
    initializers = set(model.graph.initializers)
    for value in model.graph.inputs:
        if value.name in initializers or value.shape is None or len(value.shape) < len(sizes):
            continue
        wanted = (*sizes, *[None] * (len(value.shape) - len(sizes)))
        shape = [
            size if isinstance(size, int) or fixed is None else fixed
            for size, fixed in zip(value.shape, wanted, strict=True)
        ]
        if shape != list(value.shape):
            value.shape = ir.Shape(shape)
            frozen += 1
    if frozen:
        for node in model.graph:
            for output in node.outputs:
                output.shape = None
    return PassResult(modified=frozen > 0, counts={"inputs frozen": frozen})
