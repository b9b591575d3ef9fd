"""From an FP32 network to INT8: equalize, calibrate, centre, round, insert."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from edgecnn.core.recipe import QuantizePart
from edgecnn.errors import GateMissed
from edgecnn.quantize.calibrate import collect_ranges
from edgecnn.quantize.centre import centre_activations
from edgecnn.quantize.equalize import equalize
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.place import place
from edgecnn.quantize.rounding import round_weights
from edgecnn.quantize.schemes import Scheme

Feeds = Callable[[str], Iterable[Mapping[str, npt.NDArray[Any]]]]


def quantize_network(
    model: ir.Model, feeds: Feeds, config: QuantizePart, scheme: Scheme, exclude: Collection[str] = ()
) -> dict[str, int]:
    """Put convolutions and fully connected layers into INT8.

    Args:
        model: FP32, BatchNorms and pads folded, shapes inferred; changed in place.
        feeds: Gives the calibration feeds, one by one and from the start each time; it is told what they are for.
        config: The recipe's wishes.
        scheme: The target's rules.
        exclude: Names of nodes to leave in FP32.

    Returns:
        Counts of what was done.

    Raises:
        GateMissed: No layer can be quantized.
    """
    placement = place(model, exclude)
    if not placement.weights:
        reason = next(iter(placement.left_out.values()), "none has weights")
        raise GateMissed(f"int8: no layer can be quantized: {reason}", "convert with --precision fp16")
    equalized = equalize(model, feeds("equalize channels"), exclude) if config.equalize else 0
    names = [str(value.name) for value in placement.activations]
    ranges = collect_ranges(model, names, feeds("calibrate ranges"), config)
    centred = centre_activations(model, placement, ranges) if config.equalize else 0
    learned = config.rounding == "learned"
    rounded = round_weights(model, placement, ranges, feeds("round weights"), learned=learned)
    insert_qdq(model, placement, ranges, rounded, scheme)
    return {
        "layers in INT8": len(placement.weights),
        "layers left in FP32": len(placement.left_out),
        "channels equalized": equalized,
        "activations centred": centred,
        "layers rounded by their output" if learned else "biases corrected": len(rounded),
    }
