"""profile.json: what a measurement leaves behind. Raw samples, so that any statistic can be had later."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

STAGES = ("preprocess", "infer", "decode")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Environment(_Part):
    """The machine and the software at the time of the measurement."""

    taken_at: str = Field(description="UTC, ISO 8601")
    machine: str = Field(description="the board's or the processor's name")
    architecture: str
    system: str
    cores: int
    memory_bytes: int
    governor: str | None = Field(description="cpufreq's governor; none where the system does not say")
    load_average: float = Field(description="over one minute, before the measurement")
    jetpack: str | None
    power_mode: str | None
    packages: dict[str, str]


class LayerTime(_Part):
    """Time spent in one layer as the backend runs it."""

    name: str
    op_type: str
    calls: int = Field(gt=0)
    mean_ns: float = Field(ge=0)
    part: float = Field(ge=0, le=1, description="of the time in all layers")


class Profile(_Part):
    """One measurement of one bundle in single-stream mode: one frame after another, each as soon as it can.

    Attributes:
        samples_ns: For every stage, the time of each measured frame; all lists are of one length.
    """

    schema_version: Literal[1] = 1
    bundle: str
    model_sha256: str
    precision: str
    target: str
    backend: str = Field(description="what ran the network, such as: ONNX Runtime, CPU")
    threads: int
    frame_hw: tuple[int, int] = Field(description="size of the frames that were preprocessed, pixels")
    input_shape: tuple[int, ...]
    warm_up: int = Field(ge=0, description="frames run before the first sample")
    samples_ns: dict[str, tuple[int, ...]]
    layers: tuple[LayerTime, ...]
    warnings: tuple[str, ...] = Field(description="why the figures may not be repeatable, and what to do about it")
    environment: Environment

    @model_validator(mode="after")
    def _whole(self) -> Profile:
        lengths = {name: len(samples) for name, samples in self.samples_ns.items()}
        if tuple(lengths) != STAGES or len(set(lengths.values())) != 1 or not lengths["infer"]:
            raise ValueError(f"samples_ns wants lists of one length for {', '.join(STAGES)}; found {lengths}")
        return self

    def total_ns(self) -> list[int]:
        """Time from frame to result for each measured frame."""
        return [sum(times) for times in zip(*self.samples_ns.values(), strict=True)]
