"""From an FP32 network to INT8: equalize, calibrate, centre, round, and leave out what INT8 does not suit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgecnn.core.progress import Progress, Silent
from edgecnn.core.recipe import QuantizePart
from edgecnn.core.tensors import Arrays
from edgecnn.errors import GateMissed
from edgecnn.graph.layer_weights import is_linear_layer
from edgecnn.graph.onnxruntime_forms import use_onnxruntime_forms
from edgecnn.graph.prepare import run_passes
from edgecnn.graph.summary import count_macs
from edgecnn.quantize.activations import find_ranges
from edgecnn.quantize.calibrate import Feeds
from edgecnn.quantize.centre import centre_activations
from edgecnn.quantize.equalize import equalize
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.layer_rounding import Rounding
from edgecnn.quantize.offsets import centre_channels
from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import apply_roundings, find_roundings, frames_to_round
from edgecnn.quantize.schemes import TENSORRT, Scheme


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
    ranges, centred = find_ranges(model, placement, feeds, config, exclude, scheme)
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


def quantize_layers(
    calibrated: Calibrated, scheme: Scheme, chosen: Collection[str], *, additions: bool = True
) -> Quantized:
    """Write the quantization of some layers into a copy of the network.

    Args:
        calibrated: What ``calibrate_network`` found.
        scheme: The target's rules.
        chosen: Names of the layers, of ``calibrated.layers``.
        additions: Whether residual additions get one of their inputs in INT8.
    """
    model = ir.from_proto(ir.to_proto(calibrated.model))
    placement = placement_of(model, calibrated, scheme, chosen, additions=additions)
    scales = apply_roundings(model, placement, calibrated.roundings)
    insert_qdq(model, placement, calibrated.ranges, scales, scheme)
    done = sum(calibrated.layers[name] for name in chosen)
    counts = {
        "layers in INT8": len(placement.weights),
        "layers left out": len(placement.left_out),
        "additions in INT8": len(_additions(placement)),
        **calibrated.counts,
    }
    return Quantized(model, done / calibrated.total_macs if calibrated.total_macs else 1.0, counts)


def round_again(
    calibrated: Calibrated,
    scheme: Scheme,
    chosen: Collection[str],
    frames: Iterable[Arrays],
    advance: Callable[[], None] = lambda: None,
    *,
    additions: bool = True,
) -> Calibrated:
    """Learn the roundings anew for some layers: those of all layers make up for errors that others no longer make.

    Args:
        calibrated: What ``calibrate_network`` found.
        scheme: The target's rules.
        chosen: Names of the layers, of ``calibrated.layers``.
        frames: Feeds; all are kept.
        advance: Called after each layer.
        additions: Whether residual additions get one of their inputs in INT8.
    """
    placement = placement_of(calibrated.model, calibrated, scheme, chosen, additions=additions)
    roundings = find_roundings(calibrated.model, placement, calibrated.ranges, frames, scheme=scheme, advance=advance)
    return replace(calibrated, roundings=roundings)


def placement_of(
    model: ir.Model, calibrated: Calibrated, scheme: Scheme, chosen: Collection[str], *, additions: bool = True
) -> Placement:
    """Where Q/DQ go, in the calibrated model or a copy of it, if only some layers are quantized.

    Without ``additions``, those of TensorRT's scheme read both inputs as they are.
    """
    left = {str(node.name) for node in model.graph if is_linear_layer(node)} - set(chosen)
    if not additions and not scheme.operators:
        left |= {str(node.name) for node in model.graph if node.op_type == "Add"}
    placement = place(model, left, scheme)
    for value in [value for value in placement.activations if value.name not in calibrated.ranges]:
        del placement.activations[value]  # with other layers chosen, an addition's other branch counts as the identity
    return placement


def has_additions(calibrated: Calibrated, scheme: Scheme) -> bool:
    """Whether residual additions read INT8 that could as well read what it is made from."""
    return not scheme.operators and bool(
        _additions(placement_of(calibrated.model, calibrated, scheme, calibrated.layers))
    )


def _additions(placement: Placement) -> set[ir.Node]:
    return {node for uses in placement.activations.values() for node, _ in uses if node.op_type == "Add"}


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
