"""From an FP32 network to INT8: equalize, calibrate, centre, round, and leave out what INT8 does not suit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import onnx_ir as ir

from edgecnn.core.progress import Progress, Silent
from edgecnn.core.recipe import QuantizePart
from edgecnn.core.tensors import Arrays
from edgecnn.errors import GateMissed
from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.onnxruntime_forms import use_onnxruntime_forms
from edgecnn.graph.prepare import run_passes
from edgecnn.graph.summary import count_macs
from edgecnn.quantize.calibrate import collect_values
from edgecnn.quantize.centre import Centrable, centre_activations, find_centrable
from edgecnn.quantize.choose import choose_ranges
from edgecnn.quantize.equalize import equalize
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.integer_forms import range_before_gate
from edgecnn.quantize.layer_rounding import Rounding
from edgecnn.quantize.observers import find_range, other_ranges
from edgecnn.quantize.offsets import centre_channels
from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import apply_roundings, find_roundings
from edgecnn.quantize.schemes import TENSORRT, Scheme
from edgecnn.quantize.trials import activation_errors

# A range that clips is tried on so many: rare peaks must be among them.
_FRAMES_TO_CHOOSE = 40
# Rounding keeps its frames, or what the network made of them so far: so many, and their inputs take no more than this.
_FRAMES_TO_ROUND = 100
_BYTES_TO_ROUND = 128 << 20
# The error of each activation alone orders them, as sensitivities do layers.
_FRAMES_TO_TRY = 8
# Of the error that all activations make together. Centred, a value makes a quarter of its own.
_WORTH_A_NODE = 0.05


class Feeds(Protocol):
    """Gives the calibration feeds, one by one and from the start each time."""

    def __call__(self, purpose: str, most: int | None = None, /) -> Iterable[Arrays]:
        """All feeds, or ``most`` of them, spread evenly; ``purpose`` is for a person to read."""
        ...


@dataclass(frozen=True)
class Calibrated:
    """Everything about a network's quantization but the choice of its layers.

    Attributes:
        model: FP32, with channels equalized and activations centred; every layer has a name.
        layers: Layers that can be quantized, with their multiply-accumulates, by name.
        total_macs: Of all layers, those included that cannot be quantized.
        ranges: Of each value that may be quantized, by name.
        roundings: For layers, by the name of their output.
        counts: What was done.
    """

    model: ir.Model
    layers: dict[str, int]
    total_macs: int
    ranges: dict[str, Range]
    roundings: dict[str, Rounding]
    counts: dict[str, int]


@dataclass(frozen=True)
class Quantized:
    """A quantized network.

    Attributes:
        model: With Q/DQ pairs.
        int8_share: Part of the multiply-accumulates that INT8 layers do.
        counts: What was done.
    """

    model: ir.Model
    int8_share: float
    counts: dict[str, int]


def calibrate_network(
    model: ir.Model,
    feeds: Feeds,
    config: QuantizePart,
    exclude: Collection[str] = (),
    scheme: Scheme = TENSORRT,
    progress: Progress | None = None,
) -> Calibrated:
    """Prepare the quantization of convolutions and fully connected layers.

    Args:
        model: FP32, BatchNorms and pads folded, shapes inferred, every node named; changed in place.
        feeds: Gives the calibration feeds.
        config: The recipe's wishes.
        exclude: Names of nodes to leave in FP32.
        scheme: The target's rules.
        progress: Of what is not counted in feeds.

    Raises:
        GateMissed: No layer can be quantized.
    """
    forms = run_passes(model, (use_onnxruntime_forms,)) if scheme.operators else {}
    placement = place(model, exclude, scheme)
    if not placement.weights:
        reason = next(iter(placement.left_out.values()), "none has weights")
        raise GateMissed(f"int8: no layer can be quantized: {reason}", "convert with a higher --precision")
    moved = centre_channels(model, feeds("centre channels"), exclude) if config.equalize and scheme.symmetric else 0
    equalized = equalize(model, feeds("equalize channels"), exclude, scheme) if config.equalize else 0
    placement = place(model, exclude, scheme)  # of what was added, too
    ranges, centred = _find_ranges(model, placement, feeds, config, exclude, scheme)
    if centred:
        moved += centre_activations(model, placement, ranges, centred)
        placement = place(model, exclude, scheme)
    learned = config.rounding == "learned"
    # Read before the other bar begins. An iterator lets go of its list at the end, so rounding alone keeps frames.
    frames = iter(list(feeds("read pictures again", frames_to_round(model))))
    with (progress or Silent()).task("round layers", len(placement.weights)) as task:
        roundings = find_roundings(
            model, placement, ranges, frames, learned=learned, scheme=scheme, advance=task.advance
        )
    counts = {
        "channels equalized": equalized,
        "activations centred": moved,
        "layers rounded by their output" if learned else "biases corrected": len(roundings),
        **forms,
    }
    layers = {str(point.node.name): count_macs(point.node) or 0 for point in placement.weights}
    total = sum(count_macs(node) or 0 for node in model.graph if is_linear_layer(node))
    return Calibrated(model, layers, total, ranges, roundings, counts)


def _find_ranges(
    model: ir.Model,
    placement: Placement,
    feeds: Feeds,
    config: QuantizePart,
    exclude: Collection[str],
    scheme: Scheme,
) -> tuple[dict[str, Range], set[str]]:
    """The range of each value that is quantized, by name, and which of them are to be centred."""
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

        frames = list(feeds("choose ranges", min(_FRAMES_TO_CHOOSE, frames_to_round(model))))
        free = {name: error for name, error in errors.items() if name not in gates}
        ranges |= choose_ranges(model, ranges, free, others, frames, scheme, exclude)
    ranges |= {str(value.name): ranges[str(source.name)] for value, source in placement.carried.items()}
    return ranges, centred


def worth_a_node(costly: Collection[str], errors: Mapping[str, float]) -> tuple[str, ...]:
    """The activations that disturb the outputs so much that centring them pays for a node."""
    enough = _WORTH_A_NODE * sum(errors.values())
    return tuple(name for name in costly if errors[name] > enough)


def frames_to_round(model: ir.Model) -> int:
    """How many frames rounding may have: they stay in memory."""
    sizes = [value.shape for value in model.graph.inputs if value.name not in model.graph.initializers]
    numbers = sum(int(np.prod([size for size in shape or () if isinstance(size, int)])) for shape in sizes)
    return min(_FRAMES_TO_ROUND, max(1, _BYTES_TO_ROUND // (4 * numbers)))


def quantize_layers(calibrated: Calibrated, scheme: Scheme, chosen: Collection[str]) -> Quantized:
    """Write the quantization of some layers into a copy of the network.

    Args:
        calibrated: What ``calibrate_network`` found.
        scheme: The target's rules.
        chosen: Names of the layers, of ``calibrated.layers``.
    """
    model = ir.from_proto(ir.to_proto(calibrated.model))
    placement = placement_of(model, calibrated, scheme, chosen)
    scales = apply_roundings(model, placement, calibrated.roundings)
    insert_qdq(model, placement, calibrated.ranges, scales, scheme)
    done = sum(calibrated.layers[name] for name in chosen)
    counts = {"layers in INT8": len(placement.weights), "layers left out": len(placement.left_out), **calibrated.counts}
    return Quantized(model, done / calibrated.total_macs if calibrated.total_macs else 1.0, counts)


def round_again(
    calibrated: Calibrated,
    scheme: Scheme,
    chosen: Collection[str],
    frames: Iterable[Arrays],
    advance: Callable[[], None] = lambda: None,
) -> Calibrated:
    """Learn the roundings anew for some layers: those of all layers make up for errors that others no longer make.

    Args:
        calibrated: What ``calibrate_network`` found.
        scheme: The target's rules.
        chosen: Names of the layers, of ``calibrated.layers``.
        frames: Feeds; all are kept.
        advance: Called after each layer.
    """
    placement = placement_of(calibrated.model, calibrated, scheme, chosen)
    roundings = find_roundings(calibrated.model, placement, calibrated.ranges, frames, scheme=scheme, advance=advance)
    return replace(calibrated, roundings=roundings)


def placement_of(model: ir.Model, calibrated: Calibrated, scheme: Scheme, chosen: Collection[str]) -> Placement:
    """Where Q/DQ go, in the calibrated model or a copy of it, if only some layers are quantized."""
    left = {str(node.name) for node in model.graph if is_linear_layer(node)} - set(chosen)
    placement = place(model, left, scheme)
    for value in [value for value in placement.activations if value.name not in calibrated.ranges]:
        del placement.activations[value]  # with other layers chosen, an addition's other branch counts as the identity
    return placement


def layers_to_leave(calibrated: Calibrated, sensitivities: Mapping[str, float], share: float) -> tuple[str, ...]:
    """The layers that disturb the output most for what they compute, as many as fit.

    Layers whose errors sum to a hundredth of all are not worth a change of type, and stay in INT8.

    Args:
        calibrated: The network.
        sensitivities: Of each layer, as ``measure_sensitivities`` gives them.
        share: Part of all multiply-accumulates that may stay out of INT8.
    """
    left: list[str] = []
    budget = share * calibrated.total_macs
    negligible = sum(sensitivities.values()) / 100 / max(len(sensitivities), 1)
    for name in sorted(
        sensitivities, key=lambda name: sensitivities[name] / max(calibrated.layers[name], 1), reverse=True
    ):
        if calibrated.layers[name] <= budget and sensitivities[name] > negligible:
            left.append(name)
            budget -= calibrated.layers[name]
    return tuple(left)
