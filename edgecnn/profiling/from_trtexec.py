"""A profile of what trtexec measured: its log, and what it exported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgecnn.backends.inspector import read_layer_metadata
from edgecnn.backends.trtexec import InferenceTime, LayerMean, TrtexecLog, read_inferences, read_log, read_profile
from edgecnn.errors import InputError
from edgecnn.profiling.environment import unknown_environment
from edgecnn.profiling.layer_names import name_layers
from edgecnn.profiling.measure import Identity
from edgecnn.profiling.records import LayerTime, Profile, Round, TrtexecSettings, round_of
from edgecnn.profiling.stability import warnings_of_samples

_MS = 1e6
_FIRST_WITH_NEW_DEFAULTS = 11


@dataclass(frozen=True)
class TrtexecFiles:
    """What trtexec left.

    Attributes:
        log: What it printed.
        times: Of ``--exportTimes``.
        profile: Of ``--exportProfile``.
        layers: Of ``--exportLayerInfo``.
    """

    log: Path
    times: Path | None = None
    profile: Path | None = None
    layers: Path | None = None


def profile_from_trtexec(files: TrtexecFiles, identity: Identity | None) -> Profile:
    """The same record as of a measurement with edgecnn.

    Args:
        files: What trtexec left.
        identity: Of the bundle whose network it ran; without, layers have the engine's names alone.

    Raises:
        InputError: A file is missing or something else, or the log has no times.
    """
    log = read_log(_text(files.log))
    settings = _settings(log, files.log)
    if files.times is None:
        raise InputError(
            f"{files.log}: trtexec prints percentiles, and no samples",
            "run it with --exportTimes=times.json and give that with --times",
        )
    rounds = _rounds(read_inferences(_text(files.times)), settings)
    layers = _layers(files)
    if identity is not None and identity.graph is not None:
        metadata = read_layer_metadata(_text(files.layers)) if files.layers is not None else {}
        layers = name_layers(layers, identity.graph, metadata)
    environment = unknown_environment().model_copy(
        update={"machine": log.gpu or "unknown", "packages": {"tensorrt": log.version}}
    )
    flags = (("transfers", settings.transfers), ("spin-wait", settings.spin_wait), ("CUDA graph", settings.cuda_graph))
    words = ", ".join(f"{name} {'on' if flag else 'off'}" for name, flag in flags)
    origin = "as its log says" if settings.stated else "by that version's defaults and the command's flags"
    notes = (f"trtexec of TensorRT {settings.version}: {words}, {origin}; with other settings its figures mean others",)
    return Profile(
        mode="trtexec",
        bundle=identity.name if identity is not None else files.log.stem,
        model_sha256=identity.model_sha256 if identity is not None else "",
        precision=identity.precision if identity is not None else "not stated",
        target=identity.target if identity is not None else log.gpu or "not stated",
        backend=f"TensorRT {settings.version}, trtexec",
        threads=0,
        frame_hw=None,
        input_shape=(),
        rounds=rounds,
        layers=layers,
        costs=() if identity is None or identity.graph is None else identity.graph.layers,
        accuracy={} if identity is None else identity.accuracy,
        notes=notes,
        warnings=warnings_of_samples(rounds),
        environment=environment,
        before=None,
        after=None,
        trtexec=settings,
    )


def _settings(log: TrtexecLog, path: Path) -> TrtexecSettings:
    """As the log states them; else the defaults of that version, which changed with 11, and the command's flags."""
    if not log.version:
        raise InputError(f"{path}: no log of trtexec: it names no TensorRT version", "give all that trtexec printed")
    new = int(log.version.split(".")[0]) >= _FIRST_WITH_NEW_DEFAULTS
    options = log.options
    stated = {"Data transfers", "Spin-wait", "CUDA Graph"} <= set(options)
    return TrtexecSettings(
        version=log.version,
        transfers=options.get("Data transfers", not new and "--noDataTransfers" not in log.command),
        spin_wait=options.get("Spin-wait", new or "--useSpinWait" in log.command),
        cuda_graph=options.get("CUDA Graph", new or "--useCudaGraph" in log.command),
        stated=stated,
    )


def _rounds(inferences: tuple[InferenceTime, ...], settings: TrtexecSettings) -> tuple[Round, ...]:
    """Transfers are stages where there were any; trtexec enqueues ahead: one begins before another has ended."""
    if not inferences:
        raise InputError("times.json: no inference in it", "run trtexec for longer: --duration=10")
    starts = np.array([each.start_ms for each in inferences])
    order = np.argsort(starts, kind="stable")
    stages = {"infer": [round(inferences[index].compute_ms * _MS) for index in order]}
    if settings.transfers:
        to = [round(inferences[index].to_device_ms * _MS) for index in order]
        back = [round(inferences[index].from_device_ms * _MS) for index in order]
        stages = {"to device": to, **stages, "from device": back}
    since = np.round((starts[order] - starts[order[0]]) * _MS).astype(int).tolist()
    return (round_of(0, 0, 0, since, stages),)


def _layers(files: TrtexecFiles) -> tuple[LayerTime, ...]:
    if files.profile is None:
        return ()
    means: tuple[LayerMean, ...] = read_profile(_text(files.profile))
    whole = sum(each.mean_ms for each in means) or 1.0
    rows = [
        LayerTime(
            name=each.name,
            op_type=_kind(each.name),
            calls=each.calls,
            mean_ns=each.mean_ms * _MS,
            part=each.mean_ms / whole,
        )
        for each in means
    ]
    return tuple(sorted(rows, key=lambda row: -row.mean_ns))


def _kind(name: str) -> str:
    """What TensorRT says in a name of a layer that is none of the network's."""
    found = re.match(r"Reformatting CopyNode|\{?ForeignNode|PWN|\[[A-Za-z]+\]", name)
    return found.group().strip("{[]") if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "give what trtexec printed or exported") from None
