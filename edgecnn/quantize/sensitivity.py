"""What INT8 in one layer does to the outputs of the whole network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgecnn.core.tensors import Arrays
from edgecnn.quantize.network import Calibrated, placement_of, quantize_layers
from edgecnn.quantize.output_error import OutputError
from edgecnn.quantize.rounding import find_roundings
from edgecnn.quantize.schemes import Scheme


def measure_sensitivities(
    calibrated: Calibrated, scheme: Scheme, frames: Sequence[Arrays], advance: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Quantize one layer at a time, everything else in FP32, and measure the error at the outputs.

    Weights are rounded to nearest: learned roundings make up for what the layers before have done, and alone they
    would be at fault for nothing else.

    The errors of different layers add up in power, nearly: on MobileNetV2 their sum is within 0.7 dB of the error of
    all together. So what a set of layers costs can be read off, and the measured error also counts what a local one
    cannot see: early noise that later layers amplify, or that never reaches the output.

    Args:
        calibrated: The network.
        scheme: The target's rules.
        frames: A few feeds; each layer runs all of them.
        advance: Called after each layer.

    Returns:
        For each layer that can be quantized, by name: the power of the error relative to that of the output, the sum
        over all outputs.
    """
    placement = placement_of(calibrated.model, calibrated, scheme, calibrated.layers)
    nearest = find_roundings(calibrated.model, placement, calibrated.ranges, frames, learned=False, scheme=scheme)
    alone = replace(calibrated, roundings=nearest)
    error = OutputError(calibrated.model, frames)
    found: dict[str, float] = {}
    for name in calibrated.layers:
        found[name] = error.of(quantize_layers(alone, scheme, {name}).model)
        advance()
    return found
