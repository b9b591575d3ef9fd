"""Ranges of a network's values over calibration pictures, collected as a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.backends.ort import OrtSession
from edgecnn.core.recipe import QuantizePart
from edgecnn.core.tensors import Arrays
from edgecnn.errors import InputError
from edgecnn.quantize.histograms import Extremes
from edgecnn.quantize.observers import find_range, make_histogram
from edgecnn.quantize.ranges import Range


class Feeds(Protocol):
    """Gives the calibration feeds, one by one and from the start each time."""

    def __call__(self, purpose: str, most: int | None = None, /) -> Iterable[Arrays]:
        """All feeds, or ``most`` of them, spread evenly; ``purpose`` is for a person to read."""
        ...


def collect_values(
    model: ir.Model, values: Iterable[str], frames: Iterable[Arrays], config: QuantizePart
) -> dict[str, Extremes]:
    """Run frames through the network and see the named values.

    One frame is in memory at a time, and a histogram for each value: calibrating on more pictures takes no more memory.

    Args:
        model: FP32; left as it is.
        values: Names of the values to observe: inputs of the graph or results within it.
        frames: Feeds, one by one.
        config: The observer to use.

    Returns:
        For each name, what ``find_range`` wants.

    Raises:
        InputError: A value is infinite or not a number.
    """
    seen = {name: make_histogram(config) for name in values}
    for name, array in run_observed(model, seen, frames):
        seen[name].update(array)
    return seen


def collect_ranges(
    model: ir.Model, values: Iterable[str], frames: Iterable[Arrays], config: QuantizePart, *, symmetric: bool = True
) -> dict[str, Range]:
    """For each value what 8 bits shall represent; see ``collect_values`` and ``find_range``."""
    seen = collect_values(model, values, frames, config)
    return {name: find_range(each, config, symmetric=symmetric) for name, each in seen.items()}


def run_observed(
    model: ir.Model, values: Collection[str], frames: Iterable[Arrays]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Run frames through the network, one by one, and give the named values of each: name and array.

    Raises:
        InputError: A value is infinite or not a number.
    """
    session = OrtSession(_with_outputs(model, set(values)), optimize=False, beside_others=True)
    with ThreadPoolExecutor(1) as ahead:  # the next frame is run while the caller looks at this one
        try:
            waiting: deque[tuple[Arrays, Future[Arrays]]] = deque()
            for feeds in frames:
                waiting.append((feeds, ahead.submit(session.run, feeds)))
                if len(waiting) > 1:
                    yield from _observed(values, *waiting.popleft())
            for each in waiting:
                yield from _observed(values, *each)
        finally:
            ahead.shutdown()
            session.close()


def _observed(values: Collection[str], feeds: Arrays, run: Future[Arrays]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    results = run.result()
    for name in values:
        array = feeds[name] if name in feeds else results[name]
        if not np.isfinite(array).all():
            raise InputError(
                f"calibration: {name} holds infinity or NaN, and has no range",
                "the FP32 network overflows on a picture: check its weights, and the preprocessing",
            )
        yield name, array


def _with_outputs(model: ir.Model, names: set[str]) -> bytes:
    """The model, serialized, with inner values as further outputs."""
    proto = ir.to_proto(model)
    present = {output.name for output in proto.graph.output} | {value.name for value in proto.graph.input}
    proto.graph.output.extend(
        ir.to_proto(value)
        for node in model.graph
        for value in node.outputs
        if value.name in names and value.name not in present
    )
    return proto.SerializeToString()
