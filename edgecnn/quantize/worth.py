"""Which activations disturb a network's outputs so much in INT8 that a node of their own pays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.output_error import OutputError
from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import Scheme

# Of the error that all activations make together. Centred, a value makes a quarter of its own.
_PART = 0.05


def worth_a_node(
    model: ir.Model,
    candidates: Collection[str],
    ranges: Mapping[str, Range],
    frames: Sequence[Arrays],
    scheme: Scheme,
    exclude: Collection[str] = (),
) -> tuple[str, ...]:
    """Quantize each candidate alone, and all activations together; weights stay in FP32.

    Args:
        model: FP32; left as it is.
        candidates: Names of values that are quantized.
        ranges: Of all values that are.
        frames: A few feeds.
        scheme: The target's rules.
        exclude: Names of nodes that are not quantized.

    Returns:
        Names of the candidates that make a large part of the error.
    """
    if not candidates:
        return ()
    error = OutputError(model, frames)

    def of(names: Collection[str] | None) -> float:
        copy = ir.from_proto(ir.to_proto(model))
        found = place(copy, exclude, scheme).activations
        chosen = {value: uses for value, uses in found.items() if names is None or value.name in names}
        insert_qdq(copy, Placement(chosen, [], {}), ranges, {}, scheme)
        return error.of(copy)

    together = of(None)
    return tuple(name for name in candidates if of({name}) > _PART * together)
