"""The outcome of checking a model for a device."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.estimate import Estimate


class Finding(BaseModel):
    """One thing that a check has to say.

    Attributes:
        rule: A short name that stays the same over versions, such as ``compiler/parse``.
        severity: ``error`` refuses the model; ``info`` explains the verdict.
        node: The ONNX node, or an empty string where the whole model is meant.
        message: What is so.
        remedy: What to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    severity: Literal["error", "info"]
    node: str
    message: str
    remedy: str


class Verdict(BaseModel):
    """Whether a model will run on a device, as far as that can be known without it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: bool
    device: str
    tensorrt: str = Field(default="", description="the version whose rules were applied; empty where there is none")
    compiler: str = Field(description="what compiled the model, and for which GPU; empty where it was not run")
    engine_bytes: int | None = Field(description="size of the compiled engine, for the GPU named in compiler")
    least_memory_bytes: int | None = Field(
        default=None, description="estimate: weights and the activations that live at the same time"
    )
    estimate: Estimate | None = Field(
        default=None, description="of latency, memory and energy on the device, in its default power mode"
    )
    findings: tuple[Finding, ...]
