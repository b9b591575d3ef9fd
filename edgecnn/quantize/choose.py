"""The range of an activation at which the outputs of the network stay nearest to FP32."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import onnx_ir as ir

from edgecnn.core.tensors import Arrays
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import Scheme
from edgecnn.quantize.trials import Trial, trials

# Of all activations' errors together: where there is less, there is nothing to be won.
_PART = 0.01
# A range is drawn in by this factor at a time, for as long as the error falls by a part.
_STEP = 2**-0.25
_FALL = 0.98


def choose_ranges(
    model: ir.Model,
    ranges: Mapping[str, Range],
    errors: Mapping[str, float],
    candidates: Callable[[str], Sequence[Range]],
    frames: Sequence[Arrays],
    scheme: Scheme,
    exclude: Collection[str] = (),
) -> dict[str, Range]:
    """Try ranges of those activations that disturb the outputs most, one activation at a time, the rest in FP32.

    A tensor's own squared error counts a rare peak as much as it is high, whether a layer behind reads it or not, and
    whether a ReLU6 behind that layer lets through what it does there. Of MobileNetV2's last blocks a third of the range
    is best, and an eighth of the error is left.

    Args:
        model: FP32; left as it is.
        ranges: To begin with, see ``trials``.
        errors: What these do, see ``activation_errors``.
        candidates: Gives further ranges to try for a name.
        frames: Feeds. Too few of them do not have the peaks that must not be clipped.
        scheme: The target's rules.
        exclude: Names of nodes that are not quantized.

    Returns:
        Ranges that are better.
    """
    enough = _PART * sum(errors.values())
    tried = [name for name, error in errors.items() if error > enough]
    found: dict[str, Range] = {}
    for name, trial in trials(model, tried, frames, scheme, exclude) if tried else ():
        best = _search(trial, ranges[name], candidates(name), scheme)
        if best != ranges[name]:
            found[name] = best
    return found


def _search(trial: Trial, first: Range, others: Sequence[Range], scheme: Scheme) -> Range:
    least, best = trial(first), first
    for other in others:
        if other != first and (error := trial(other)) < _FALL * least:
            least, best = error, other
    both = scheme.symmetric and first.low == -first.high
    for low, high in ((_STEP, _STEP),) if both else ((1.0, _STEP), (_STEP, 1.0)):
        while True:
            closer = Range(low * best.low, high * best.high)
            if closer == best or (error := trial(closer)) >= _FALL * least:
                break
            least, best = error, closer
    return best
