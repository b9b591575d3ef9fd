"""profile.json: what a measurement leaves behind. Raw samples, so that any statistic can be had later."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgecnn.core.layer_costs import LayerCost
from edgecnn.errors import InputError
from edgecnn.profiling.telemetry.energy import Energy
from edgecnn.profiling.telemetry.records import TelemetryLog

PROFILE = "profile.json"
SCHEMA_VERSION = 2
Mode = Literal["single-stream", "fixed-rate", "offline", "end-to-end", "cold-start", "sustained", "trtexec"]
MODES: tuple[Mode, ...] = get_args(Mode)
Nanoseconds = npt.NDArray[np.int64]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(_Part):
    """The machine and the software: what a result may be compared within."""

    machine: str = Field(description="the board's or the processor's name")
    architecture: str
    system: str
    cores: int
    memory_bytes: int
    l4t: str | None = Field(description="version of a Jetson's system; null elsewhere")
    power_mode: str | None = Field(description="of nvpmodel; null elsewhere")
    packages: dict[str, str] = Field(description="versions of the libraries that take part")


class Conditions(_Part):
    """What changes from minute to minute; empty where the system does not tell."""

    taken_at: str = Field(description="UTC, ISO 8601")
    load_average: float = Field(description="over one minute")
    governor: str | None = Field(description="cpufreq's governor of the first core")
    clocks_mhz: dict[str, tuple[float, float, float]] = Field(
        description="by processor: now, and the least and the most that it may be set to"
    )
    temperatures_celsius: dict[str, float] = Field(description="by thermal zone")
    throttle_events: dict[str, int] = Field(description="since the system started, by counter")


class LayerTime(_Part):
    """Time spent in one layer as the backend runs it."""

    name: str = Field(description="the backend's")
    op_type: str
    calls: int = Field(gt=0)
    mean_ns: float = Field(ge=0)
    part: float = Field(ge=0, le=1, description="of the time in all layers")
    layers: tuple[str, ...] = Field(default=(), description="those of the model that it computes; none: not known")


class Roofs(_Part):
    """What a board can do at most, for the roofline plot."""

    title: str
    operations_per_s: float = Field(gt=0, description="at the network's precision; a multiply-accumulate is two")
    bytes_per_s: float = Field(gt=0)


class TrtexecSettings(_Part):
    """What trtexec's figures contain; its defaults changed with TensorRT 11."""

    version: str
    transfers: bool = Field(description="whether inputs and outputs were copied")
    spin_wait: bool
    cuda_graph: bool
    stated: bool = Field(description="whether the log says so; else these are that version's defaults")


class Round(_Part):
    """Samples that one process took without a pause.

    Attributes:
        samples_ns: For every stage, the time of each sample; lists of one length. Their sum is the sample's latency.
    """

    process: int = Field(ge=0, description="rounds of one process have one number")
    begin_ns: int = Field(description="monotonic clock")
    warm_up: int = Field(ge=0, description="samples before the first one that counts")
    settled: bool = Field(default=True, description="whether the warm-up ended with steady times")
    batch: int = Field(default=1, gt=0, description="inputs in one sample")
    starts_ns: tuple[int, ...] = Field(
        description="since begin_ns; with a fixed rate, when the frame was due; ascending"
    )
    samples_ns: dict[str, tuple[int, ...]]
    yardstick_ns: tuple[int, ...] = Field(
        default=(), description="a fixed piece of work, timed beside the samples: how fast the processor itself was"
    )

    @model_validator(mode="after")
    def _whole(self) -> Round:
        lengths = {name: len(samples) for name, samples in self.samples_ns.items()}
        if set(lengths.values()) != {len(self.starts_ns)} or not self.starts_ns:
            raise ValueError(f"samples_ns and starts_ns want lists of one length; found {lengths}")
        return self

    def total_ns(self) -> Nanoseconds:
        """Latency of each sample."""
        return np.sum([np.asarray(times, np.int64) for times in self.samples_ns.values()], axis=0)


class Profile(_Part):
    """One measurement of one bundle.

    Attributes:
        session: Profiles with the same one were measured in turn, round by round, and can be compared in pairs.
        counts: Of frames, such as ``received`` and ``dropped``.
        accuracy: What the conversion measured, such as ``top1_drop``, percentage points.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    mode: Mode
    bundle: str
    model_sha256: str
    precision: str
    target: str
    backend: str = Field(description="what ran the network, such as: ONNX Runtime, CPU")
    threads: int
    frame_hw: tuple[int, int] | None = Field(description="size of the frames that were preprocessed, pixels")
    input_shape: tuple[int, ...]
    fps: float | None = Field(default=None, gt=0, description="of the fixed rate; null without one")
    session: str | None = None
    rounds: tuple[Round, ...] = Field(min_length=1)
    counts: dict[str, int] = {}
    layers: tuple[LayerTime, ...]
    costs: tuple[LayerCost, ...] = Field(default=(), description="of the model's layers; none where not known")
    roofs: Roofs | None = None
    accuracy: dict[str, float] = {}
    notes: tuple[str, ...] = Field(default=(), description="what a reader should know of how it was measured")
    warnings: tuple[str, ...] = Field(description="why the figures may not be repeatable, and what to do about it")
    environment: Environment
    before: Conditions | None
    after: Conditions | None
    trtexec: TrtexecSettings | None = None
    telemetry: TelemetryLog | None = None
    energy: Energy | None = Field(default=None, description="of the frames; null where it was not looked at")

    @model_validator(mode="after")
    def _of_one_kind(self) -> Profile:
        if len({tuple(each.samples_ns) for each in self.rounds}) != 1:
            raise ValueError("all rounds want the same stages, in the same order")
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the parts of a latency, in order."""
        return tuple(self.rounds[0].samples_ns)

    def stage_ns(self, stage: str) -> Nanoseconds:
        """Time of all samples in one stage, in order."""
        return np.concatenate([np.asarray(each.samples_ns[stage], np.int64) for each in self.rounds])

    def total_ns(self) -> Nanoseconds:
        """Latency of all samples, in order."""
        return np.concatenate([each.total_ns() for each in self.rounds])

    def times_ns(self) -> Nanoseconds:
        """When each sample began, monotonic clock."""
        return np.concatenate([np.asarray(each.starts_ns, np.int64) + each.begin_ns for each in self.rounds])


def read_profile(path: Path) -> Profile:
    """profile.json, or the one in a folder.

    Raises:
        InputError: There is none, it is of another schema version, or it is something else.
    """
    path = path / PROFILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"profile {path}: no such file", "edgecnn profile BUNDLE --out FOLDER writes one") from None
    except UnicodeDecodeError:
        text = ""
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"profile {path}: {_why_not(text, error)}", "measure again with edgecnn profile") from None


def _why_not(text: str, error: ValidationError) -> str:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return "not JSON"
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        return f"schema version {version}, and this edgecnn reads version {SCHEMA_VERSION}"
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"no profile: {place}: {first['msg']}" if place else f"no profile: {first['msg']}"


def round_of(
    process: int,
    begin_ns: int,
    warm_up: int,
    starts_ns: Sequence[int],
    samples_ns: Mapping[str, Sequence[int]],
    *,
    settled: bool = True,
    batch: int = 1,
    yardstick_ns: Sequence[int] = (),
) -> Round:
    """A round of whole numbers in whatever sequences, without the check that each of them is one."""
    plain = {name: tuple(samples) for name, samples in samples_ns.items()}
    return Round.model_construct(
        process=process,
        begin_ns=begin_ns,
        warm_up=warm_up,
        settled=settled,
        batch=batch,
        starts_ns=tuple(starts_ns),
        samples_ns=plain,
        yardstick_ns=tuple(yardstick_ns),
    )
