"""What an engine is asked to be, and what a built one is: the sidecar of a plan."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Compiler = Literal["tensorrt", "tensorrt_rtx"]
# As they are called on the command line.
COMPILERS: dict[str, Compiler] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
COMPILER_TITLES: dict[Compiler, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
# Compute capabilities that TensorRT-RTX builds for without such a GPU.
AHEAD_OF_TIME = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
# The files of an engine's folder.
PLAN, RECORD, TIMING_CACHE, LAYERS = "engine.plan", "engine.json", "timing.cache", "layers.json"
# What to do with an engine that is for something else.
OnMisfit = Literal["rebuild", "refuse"]
Shape = tuple[int, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShapeProfile(_Part):
    """The sizes that an input with open ones may have, and those that kernels are chosen for."""

    min: Shape
    opt: Shape
    max: Shape


class BuildOptions(_Part):
    """Choices of a build.

    Attributes:
        shapes: Of each input with open sizes; networks of edgecnn have none.
    """

    workspace_bytes: int | None = Field(
        default=None, gt=0, description="for one layer at most; none: TensorRT's choice"
    )
    optimization_level: int | None = Field(
        default=None, ge=0, le=5, description="the higher, the longer the build and the faster the engine; from 8.6 on"
    )
    version_compatible: bool = Field(default=False, description="runs with later versions, too; from 8.6 on")
    hardware_compatible: bool = Field(default=False, description="runs on every desktop GPU since Ampere; from 8.6 on")
    sparse_weights: bool = Field(default=False, description="use that two of four weights are 0, where it is faster")
    dla_core: int | None = Field(default=None, ge=0, description="run on this DLA, and what it cannot on the GPU")
    shapes: dict[str, ShapeProfile] = {}


class Control(_Part):
    """How an INT8 engine did beside the FP16 one of the same network: INT8 is kept where it is faster.

    Attributes:
        kept: Which of the two the plan is.
        int8_ms: Median time of an inference, with its transfers, or, where trtexec took it, without; none where it was
            not timed.
        fp16_ms: That of the other.
        reason: Why they were not timed; empty where they were.
    """

    kept: Literal["int8", "fp16"]
    int8_ms: float | None = None
    fp16_ms: float | None = None
    reason: str = ""


class EngineRecord(_Part):
    """What a plan was built from, by what and for what. The plan itself stays plain.

    Attributes:
        compiler: The package.
        version: Its version.
        compute_capability: Of the GPU that it is for, such as 8.7.
        gpu: That GPU's name; empty where it was built ahead of time, without one.
        l4t: The board's system; none elsewhere.
        model_sha256: Of the ONNX file.
        plan_sha256: Of the plan.
        plan_bytes: Its size.
        options: Those that it was built with in the end.
        timing_cache_sha256: Of the timings that kernels were chosen by; with the same file the same are chosen again.
        int8_layers: Layers that the graph has in INT8.
        computed_in_float: Those of them that the engine has not; none where it was not looked into, for want of a GPU.
        control: Of a network in INT8 that came with one in FP16.
    """

    schema_version: Literal[1] = 1
    compiler: Compiler
    version: str
    compute_capability: str
    gpu: str
    l4t: str | None
    model_sha256: str
    plan_sha256: str
    plan_bytes: int
    options: BuildOptions
    timing_cache_sha256: str | None = None
    int8_layers: int = 0
    computed_in_float: tuple[str, ...] | None = None
    control: Control | None = None

    def misfits(self, other: EngineRecord) -> tuple[str, ...]:
        """Why this engine does not serve where ``other`` would be built: a sentence each; none where it does."""
        found: list[str] = []
        if self.model_sha256 != other.model_sha256:
            found.append("it was built from another model")
        if self.compiler != other.compiler:
            found.append(f"it is for {COMPILER_TITLES[self.compiler]}, and {COMPILER_TITLES[other.compiler]} is here")
        elif not self._version_serves(other.version):
            title = COMPILER_TITLES[self.compiler]
            found.append(f"it was built with {title} {self.version}, and {other.version} is here")
        if not self._gpu_serves(other):
            has = f"{other.gpu} of {other.compute_capability}" if other.gpu else other.compute_capability
            found.append(f"it is for compute capability {self.compute_capability}, and the GPU here is {has}")
        return tuple(found)

    def _version_serves(self, version: str) -> bool:
        mine, theirs = (_numbers(each) for each in (self.version, version))
        if mine == theirs:
            return True
        # Version-compatible plans run on later versions of their major one, and on the next major one.
        return self.options.version_compatible and mine <= theirs and theirs[0] - mine[0] <= (2 if mine[0] == 8 else 1)

    def _gpu_serves(self, other: EngineRecord) -> bool:
        if (self.l4t is None) != (other.l4t is None):
            return False  # a Jetson's processor is another one, too
        if self.compute_capability == other.compute_capability:
            return True
        ampere = (8, 0)
        mine, theirs = (_numbers(each.compute_capability) for each in (self, other))
        return self.options.hardware_compatible and mine >= ampere and theirs >= ampere


def capability_member(compute_capability: str) -> str:
    """The member of TensorRT-RTX's ``ComputeCapability``: SM86 for 8.6."""
    return f"SM{compute_capability.replace('.', '')}"


def _numbers(version: str) -> tuple[int, ...]:
    """Major, minor and patch; what follows is a build, as in 10.13.3.9."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
