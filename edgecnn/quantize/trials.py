"""One activation in INT8 at a time, and what that does to the outputs of the whole network."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.tensors import Arrays
from edgecnn.graph.model import bytes_of
from edgecnn.quantize.insert import activation_grid, fake_quantize
from edgecnn.quantize.output_error import relative_error
from edgecnn.quantize.partial import PartialNetwork
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import Scheme

# What is kept of all frames.
_MOST_BYTES = 192 << 20
_MARK = ".quantized"

Trial = Callable[[Range], float]


def trials(
    model: ir.Model, names: Collection[str], frames: Sequence[Arrays], scheme: Scheme, exclude: Collection[str] = ()
) -> Iterator[tuple[str, Trial]]:
    """For each activation, in the graph's order, what measures the error that a range of it makes.

    The error is that of the outputs, relative to their power, the sum over all outputs. Everything else is in FP32, and
    only what stands behind the activation runs. Of the frames, as many as memory holds are
    taken from everywhere among them.

    Args:
        model: FP32; left as it is.
        names: Of activations that are quantized.
        frames: A few feeds.
        scheme: The target's rules.
        exclude: Names of nodes that are not quantized.

    Returns:
        Names, and functions to call before the next name. In a symmetric scheme a range whose ends are not as far from
        0 is that of a value that its middle is taken off.
    """
    marked = ir.from_proto(ir.to_proto(model))
    order = _mark(marked, names, exclude, scheme)
    outputs = [str(value.name) for value in marked.graph.outputs]
    network = PartialNetwork(marked, frames)
    marks = [name + _MARK for name in order]
    # With all that was passed before: branches lie side by side.
    cuts = {name: network.cut_behind(marks[: index + 1], outputs) for index, name in enumerate(order)}
    of_outputs = sum(bytes_of(value) or 0 for value in marked.graph.outputs)
    largest = max((of_outputs + sum(bytes_of(value) or 0 for value in cut) for cut in cuts.values()), default=0)
    count = min(len(frames), max(1, _MOST_BYTES // max(1, largest)))
    network.kept = [network.kept[index * len(frames) // count] for index in range(count)]
    expected = network.run(outputs)
    # Frames side by side, one thread each: the parts are small, and threads would wait for each other at every node.
    with ThreadPoolExecutor(min(count, os.cpu_count() or 1)) as pool:
        for name, cut in cuts.items():
            if all(value.name != name + _MARK for value in cut):
                continue  # no output hangs on it
            network.advance(cut)
            session = network.part(outputs, beside_others=count > 1)
            assert session is not None

            def trial(seen: Range, name: str = name, session: OrtSession = session) -> float:
                def run(kept: Arrays) -> Arrays:
                    feeds = {spec.name: kept[spec.name] for spec in session.inputs}
                    feeds[name + _MARK] = _quantized(feeds[name + _MARK], seen, scheme)
                    return session.run(feeds)

                return relative_error(pool.map(run, network.kept), expected)

            yield name, trial
            session.close()


def activation_errors(
    model: ir.Model,
    ranges: Mapping[str, Range],
    frames: Sequence[Arrays],
    scheme: Scheme,
    exclude: Collection[str] = (),
) -> dict[str, float]:
    """The error that each activation alone makes; see ``trials``."""
    return {name: trial(ranges[name]) for name, trial in trials(model, ranges, frames, scheme, exclude)}


def _mark(model: ir.Model, names: Collection[str], exclude: Collection[str], scheme: Scheme) -> list[str]:
    """Give what reads the quantized values names of their own; the names of ``names``, in the graph's order."""
    position = {node: index for index, node in enumerate(model.graph)}
    activations = place(model, exclude, scheme).activations
    found = {value: uses for value, uses in activations.items() if value.name in names}
    for value, uses in found.items():
        mark = ir.Node("", "Identity", [value], name=f"{value.name}{_MARK}")
        mark.outputs[0].name, mark.outputs[0].shape = mark.name, value.shape
        mark.outputs[0].dtype = value.dtype or ir.DataType.FLOAT
        for node, index in uses:
            node.replace_input_with(index, mark.outputs[0])
        model.graph.insert_before(min((node for node, _ in uses), key=position.__getitem__), mark)
    made = {output: index for node, index in position.items() for output in node.outputs}
    return [str(value.name) for value in sorted(found, key=lambda value: made.get(value, -1))]


def _quantized(array: npt.NDArray[Any], seen: Range, scheme: Scheme) -> npt.NDArray[np.float32]:
    if not scheme.symmetric:
        return fake_quantize(array, activation_grid(seen, scheme))
    middle, half = np.float32((seen.low + seen.high) / 2), (seen.high - seen.low) / 2
    return fake_quantize(array - middle, activation_grid(Range(-half, half), scheme)) + middle
