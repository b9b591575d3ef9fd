"""The range of every activation that is quantized, and which of them are to be centred."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from edgecnn.core.recipe import QuantizePart
from edgecnn.graph.model import bytes_of
from edgecnn.quantize.calibrate import Feeds, collect_values
from edgecnn.quantize.centre import Centrable, find_centrable
from edgecnn.quantize.choose import choose_ranges
from edgecnn.quantize.integer_forms import range_before_gate
from edgecnn.quantize.observers import find_range, other_ranges
from edgecnn.quantize.place import Placement
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import frames_to_round
from edgecnn.quantize.schemes import Scheme
from edgecnn.quantize.trials import activation_errors

# A range that clips is tried on so many, as rare peaks must be among them, and on more where they are small.
_FRAMES_TO_CHOOSE = 40
_SMALL_BYTES = 6 << 20
# The error of each activation alone orders them, as sensitivities do layers.
_FRAMES_TO_TRY = 8
# Of the error that all activations make together. Centred, a value makes a quarter of its own.
_WORTH_A_NODE = 0.05


def find_ranges(
    model: ir.Model,
    placement: Placement,
    feeds: Feeds,
    config: QuantizePart,
    exclude: Collection[str],
    scheme: Scheme,
) -> tuple[dict[str, Range], set[str]]:
    """Observe the activations, and choose their ranges as the recipe says.

    Args:
        model: FP32; left as it is.
        placement: Made on this model.
        feeds: Gives the calibration feeds.
        config: The recipe's wishes.
        exclude: Names of nodes that are not quantized.
        scheme: The target's rules.

    Returns:
        The range of each value of ``placement.activations``, by name, and the names of those to centre, whose ranges
        have two ends.
    """
    names = [str(value.name) for value in placement.activations if value not in placement.carried]
    seen = collect_values(model, names, feeds("calibrate ranges"), config)
    ranges = {name: find_range(each, config, symmetric=scheme.symmetric) for name, each in seen.items()}
    gates: dict[str, Range] = {}
    for gate in placement.gates:
        name = str(gate.inputs[0].name) if gate.inputs[0] is not None else ""
        gates[name] = range_before_gate(gate, ranges[name])
    ranges |= gates
    centrable = find_centrable(placement) if config.equalize and scheme.symmetric else Centrable((), ())
    errors: dict[str, float] = {}
    if config.observer == "auto" or centrable.costly:
        frames = list(feeds("try activations", _FRAMES_TO_TRY))
        errors = activation_errors(model, ranges, frames, scheme, exclude)
    centred = {*centrable.free, *worth_a_node(centrable.costly, errors)}
    ranges |= {name: find_range(seen[name], config, symmetric=False) for name in centred}
    if config.observer == "auto":

        def others(name: str) -> tuple[Range, ...]:
            return other_ranges(seen[name], config, symmetric=scheme.symmetric and name not in centred)

        frames = list(feeds("choose ranges", _frames_to_choose(model)))
        free = {name: error for name, error in errors.items() if name not in gates}
        ranges |= choose_ranges(model, ranges, free, others, frames, scheme, exclude)
    ranges |= {str(value.name): ranges[str(source.name)] for value, source in placement.carried.items()}
    return ranges, centred


def worth_a_node(costly: Collection[str], errors: Mapping[str, float]) -> tuple[str, ...]:
    """The activations that disturb the outputs so much that centring them pays for a node."""
    enough = _WORTH_A_NODE * sum(errors.values())
    return tuple(name for name in costly if errors[name] > enough)


def _frames_to_choose(model: ir.Model) -> int:
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    largest = max(bytes_of(value) or _SMALL_BYTES for value in values)
    return max(_SMALL_BYTES // max(1, largest), min(_FRAMES_TO_CHOOSE, frames_to_round(model)))
