"""Time by layer, as TensorRT reports it, or from ONNX Runtime's own trace."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgecnn.backends.inspector import read_layer_metadata
from edgecnn.backends.ort import OrtSession
from edgecnn.backends.session import Session
from edgecnn.backends.trt import TensorRtSession
from edgecnn.profiling.records import LayerTime

_ROUNDS = 30
_WARM_UP = 5
_SUFFIX = "_kernel_time"


def time_layers(session: Session, model: Path, frame: npt.NDArray[Any], threads: int) -> tuple[LayerTime, ...]:
    """Each layer's mean time, slowest first; none where the backend does not tell.

    Args:
        session: What runs the network.
        model: The ONNX file.
        frame: An input.
        threads: Of ONNX Runtime.
    """
    if isinstance(session, TensorRtSession):
        return _of_engine(session, frame)
    return _of_onnxruntime(model, frame, threads) if isinstance(session, OrtSession) else ()


def layer_metadata(session: Session) -> dict[str, str]:
    """What TensorRT says of where its layers come from, by their names; empty for others."""
    return read_layer_metadata(session.describe_layers()) if isinstance(session, TensorRtSession) else {}


def _of_engine(session: TensorRtSession, frame: npt.NDArray[Any]) -> tuple[LayerTime, ...]:
    """A layer of the engine may stand for several of the graph, and then has all their names."""
    times = session.layer_times({session.inputs[0].name: frame}, _WARM_UP + _ROUNDS)
    kept = {(name, ""): [ms * 1e6 for ms in each[_WARM_UP:]] for name, each in times.items()}
    return _rows(kept)


def _of_onnxruntime(model: Path, frame: npt.NDArray[Any], threads: int) -> tuple[LayerTime, ...]:
    """Run a network with tracing on.

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
    return _rows(kept)


def _rows(kept: Mapping[tuple[str, str], Sequence[float]]) -> tuple[LayerTime, ...]:
    """Of nanoseconds by name and operator."""
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
