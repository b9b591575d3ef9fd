"""Cross-layer equalization: give the channels of a tensor, which share one scale in INT8, ranges of one size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecnn.core.recipe import QuantizePart
from edgecnn.core.tensors import Arrays
from edgecnn.graph.layer_weights import Float64, replace_weights
from edgecnn.quantize.calibrate import collect_ranges, run_observed
from edgecnn.quantize.channels import ChannelScales, Ids, free_scales
from edgecnn.quantize.elementwise import append_elementwise
from edgecnn.quantize.histograms import ChannelHistogram
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.output_error import OutputError
from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.rounding import apply_roundings, find_roundings
from edgecnn.quantize.schemes import TENSORRT, Scheme

# How far a ceiling stays clear of the range, as a factor, and of the largest value too: what is tried in turn.
_CLEARANCES = (2.0, 4.0, 8.0, 16.0, 1e30)
_OF_PEAK = 0.625
# Of the outputs' power, what equalization alone may change on frames that it has not seen: INT8 changes a hundredth.
_NEGLIGIBLE = 1e-4
# What is left of INT8's error where scales below a ceiling pay: they are an approximation, and the others are not.
_PAYS = 0.8
# One frame of so many is kept for that, up to a number that memory holds.
_KEPT_OF, _KEPT = 5, 32
# A channel that is nearly dead would get a scale without bounds.
_LARGEST = 2.0**10
# And one that wakes up in another picture would meet its ceiling.
_LARGEST_BELOW_CEILING = 64.0


def equalize(
    model: ir.Model,
    frames: Iterable[Arrays],
    exclude: Collection[str] = (),
    scheme: Scheme = TENSORRT,
) -> int:
    """Scale channels so that those of one tensor use its INT8 range alike; the network's function stays as it is.

    Multiplying an output channel's weights and bias by s and the next layer's weights for that channel by 1/s changes
    nothing where all between is positively homogeneous. With a scale for each output channel the first is free; the
    second changes how well the next layer's weights can be rounded. So a channel with range r (its best INT8 range over
    the frames) and relative weight w in the layers that read it (root mean square, each row divided by its largest
    weight) gets ``s = sqrt(w / r)``, after which channel and weights have the same range (Nagel et al., "Data-Free
    Quantization Through Weight Equalization and Bias Correction", 2019, section 4.1, with the ranges of activations in
    place of those of weights). Where only depthwise convolutions read it ``s = 1 / r``: they have a scale a channel.

    Behind SiLU and its kind, which are not homogeneous, scales start anew with a multiplication, where compilers join
    it to the same kernel: all that sums over such channels sees one range.

    Residual additions tie the channels of what they add. A branch that is quantized itself counts as a layer's input
    does: behind a projection it has values that the ReLU after the addition cuts off, and a channel that is nearly dead
    there would be scaled up until the others had no steps left in the branch.

    A Clip at 6 bounds scales from below by 1, and from above so that its ceiling stays out of reach. That is the one
    approximation: pictures that calibration has not seen go beyond what it saw, and then are cut off. So a fifth of
    the frames only shows whether the outputs stay, and the ceiling's clearance grows until they do. They also show
    whether such scales are for the better: they trade the ranges of activations for those of weights.

    Args:
        model: FP32, shapes inferred; changed in place.
        frames: Feeds, one by one.
        exclude: Names of nodes that must stay as they are.
        scheme: The target's rules.

    Returns:
        How many channels were scaled.
    """
    free = _free(model, exclude, scheme)
    names = {str(layer.node.inputs[0].name) for layer in free.layers if layer.node.inputs[0] and layer.inputs.any()}
    names |= {str(clip.outputs[0].name) for clip, (numbers, _) in free.ceilings.items() if numbers.any()}
    quantized = place(model, exclude, scheme).activations
    branches = {str(value.name): ids for value, ids in free.added.items() if value in quantized and ids.any()}
    names |= branches.keys()
    histograms: dict[str, ChannelHistogram] = {}
    unseen = _Kept()
    for name, array in run_observed(model, names, unseen.take_out(frames) if free.ceilings else frames):
        histograms.setdefault(name, ChannelHistogram()).update(array)
    spans = {name: _Span(histogram.ranges(), histogram.peaks()) for name, histogram in histograms.items()}
    scales = _choose(free, spans, branches, _CLEARANCES[-1])
    if unseen.frames:
        original = OutputError(model, unseen.frames)

        def scaled_by(chosen: Float64) -> ir.Model:
            trial = ir.from_proto(ir.to_proto(model))
            _scale(trial.graph, _free(trial, exclude, scheme), chosen)
            return trial

        for clearance in _CLEARANCES[:-1]:
            closer = _choose(free, spans, branches, clearance)
            if original.of(scaled_by(closer)) < _NEGLIGIBLE:
                with_ceilings, without = (
                    _in_int8(scaled_by(each), unseen.frames, exclude, scheme) for each in (closer, scales)
                )
                pays = original.of(with_ceilings) < _PAYS * original.of(without)
                scales = closer if pays else scales
                break
    _scale(model.graph, free, scales)
    return int((scales != 1).sum())


def _in_int8(model: ir.Model, frames: Sequence[Arrays], exclude: Collection[str], scheme: Scheme) -> ir.Model:
    """The model, changed in place: weights rounded to nearest and biases corrected, all by these frames."""
    placement = place(model, exclude, scheme)
    names = [str(value.name) for value in placement.activations]
    ranges = collect_ranges(model, names, frames, QuantizePart(), symmetric=scheme.symmetric)
    apply_roundings(model, placement, find_roundings(model, placement, ranges, frames, learned=False, scheme=scheme))
    insert_qdq(model, Placement(placement.activations, [], {}), ranges, {}, scheme)
    return model


@dataclass(frozen=True)
class _Span:
    """What the channels of a value take: the best INT8 range of each, and the largest absolute value."""

    ranges: Float64
    peaks: Float64


class _Kept:
    """Some of the frames that pass by, from first to last, in bounded memory."""

    def __init__(self) -> None:
        self.frames: list[Arrays] = []

    def take_out(self, frames: Iterable[Arrays]) -> Iterator[Arrays]:
        """Pass the others on."""
        every = 1
        for index, frame in enumerate(frames):
            if index % _KEPT_OF != _KEPT_OF - 1:
                yield frame
            elif index // _KEPT_OF % every == 0:
                self.frames.append(frame)
                if len(self.frames) == _KEPT:
                    self.frames, every = self.frames[::2], 2 * every


def _free(model: ir.Model, exclude: Collection[str], scheme: Scheme) -> ChannelScales:
    return free_scales(model, exclude, behind_elementwise=scheme.joins_elementwise)


def _scale(graph: ir.Graph, free: ChannelScales, scales: Float64) -> None:
    for layer in free.layers:
        made, taken = scales[layer.outputs], scales[layer.inputs]
        if (made == 1).all() and (taken == 1).all():
            continue
        weights = layer.weights
        groups, outputs, inputs, _ = weights.weight.shape
        scaled = weights.weight * made.reshape(groups, outputs, 1, 1) / taken.reshape(groups, 1, inputs, 1)
        replace_weights(graph, layer.node, weights, scaled, weights.bias.reshape(-1) * made, "equalized")
    for value, numbers in free.sources.items():
        if (scales[numbers] != 1).any():
            append_elementwise(graph, value, "Mul", scales[numbers], "equalized")


def _choose(free: ChannelScales, spans: Mapping[str, _Span], branches: Mapping[str, Ids], clearance: float) -> Float64:
    """A scale for each number of ``free``; ceilings stay as many times above the ranges as ``clearance`` says."""
    ranges, weights = np.zeros(free.count), np.zeros(free.count)
    for layer in free.layers:
        span = spans.get(str(layer.node.inputs[0].name)) if layer.node.inputs[0] else None
        if span is None:
            continue
        np.maximum.at(ranges, layer.inputs, span.ranges)
        if layer.mixes:
            kernel = np.abs(layer.weights.weight)
            relative = kernel / np.maximum(kernel.max(axis=(2, 3), keepdims=True), np.finfo(np.float32).tiny)
            np.maximum.at(weights, layer.inputs, np.sqrt((relative**2).mean(axis=(1, 3))).reshape(-1))
    for name, numbers in branches.items():
        if name in spans:  # without frames there are none
            np.maximum.at(ranges, numbers, spans[name].ranges)
    alive = ranges > 0
    alive[0] = False
    mixed = alive & (weights > 0)
    scales = np.ones(free.count)
    scales[alive] = 1 / ranges[alive]
    scales[mixed] = np.sqrt(weights[mixed] / ranges[mixed])
    for part in _components(free):
        part = part[alive[part]]
        if part.size:
            scales[part] /= np.exp(np.log(scales[part]).mean())
    scales = np.clip(scales, 1 / _LARGEST, _LARGEST)
    most = np.full(free.count, _LARGEST_BELOW_CEILING)
    for clip, (numbers, ceiling) in free.ceilings.items():
        if (seen := spans.get(str(clip.outputs[0].name))) is not None:
            bounds = clearance * np.maximum(seen.ranges, _OF_PEAK * seen.peaks)
            np.minimum.at(most, numbers, np.maximum(ceiling / np.maximum(bounds, np.finfo(np.float32).tiny), 1))
    for numbers, _ in free.ceilings.values():
        part = numbers[alive[numbers]]
        if part.size:
            scales[part] = np.clip(scales[part] * (most[part] / scales[part]).min(), 1, most[part])
            # one of the channels reaches the ceiling, and the rest keep their proportions as far as they can
    scales[0] = 1
    return scales


def _components(free: ChannelScales) -> list[Ids]:
    """Numbers that meet in a tensor, or are linked through others that do: only their proportions matter."""
    label = np.arange(free.count)

    def find(number: int) -> int:
        while label[number] != number:
            label[number] = label[label[number]]
            number = int(label[number])
        return number

    for layer in free.layers:
        members = layer.inputs[layer.inputs > 0]
        for member in members[1:].tolist():
            first, second = sorted((find(int(members[0])), find(member)))
            label[second] = first
    roots = np.asarray([find(number) for number in range(free.count)])
    return [np.nonzero(roots == root)[0] for root in np.unique(roots) if root > 0]
