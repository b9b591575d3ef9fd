"""Time by layer, from ONNX Runtime's own trace."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgecnn.backends.ort import OrtSession
from edgecnn.profiling.records import LayerTime

_ROUNDS = 30
_WARM_UP = 5
_SUFFIX = "_kernel_time"


def time_layers(model: Path, frame: npt.NDArray[Any], threads: int) -> tuple[LayerTime, ...]:
    """Run a network with tracing on, and give each layer's mean time, slowest first.

    A layer is a node of the graph as ONNX Runtime rewrote it, so a convolution may contain the activation after it.
    Tracing slows small layers: the times are for comparing layers, not for adding up.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = OrtSession(model, threads=threads, profile_prefix=Path(folder) / "trace")
        for _ in range(_WARM_UP + _ROUNDS):
            session.run({session.inputs[0].name: frame})
        events = session.end_profiling()
        session.close()
    return layers_from_trace(events, _WARM_UP)


def layers_from_trace(events: list[dict[str, Any]], warm_up: int) -> tuple[LayerTime, ...]:
    """Sum up a trace.

    Args:
        events: Of ONNX Runtime's profile; durations in microseconds.
        warm_up: Runs at the beginning that do not count.
    """
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            key = (name.removesuffix(_SUFFIX), str(event["args"].get("op_name", "")))
            times.setdefault(key, []).append(float(event["dur"]) * 1000)
    kept = {key: durations[warm_up:] for key, durations in times.items() if len(durations) > warm_up}
    whole = sum(sum(durations) for durations in kept.values()) or 1.0
    rows = [
        LayerTime(
            name=name,
            op_type=op_type,
            calls=len(durations),
            mean_ns=sum(durations) / len(durations),
            part=sum(durations) / whole,
        )
        for (name, op_type), durations in kept.items()
    ]
    return tuple(sorted(rows, key=lambda row: -row.mean_ns))
