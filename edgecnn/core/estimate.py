"""What a network will take of a board, as far as that can be known without it. Never a measurement."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Bound = Literal["multiplying", "moving", "starting"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Part):
    """A figure that nobody measured."""

    kind: Literal["estimate"] = "estimate"
    low: float
    middle: float
    high: float

    def text(self, unit: str) -> str:
        """As people read it, with the word beside it."""
        low, middle, high = (_rounded(value) for value in (self.low, self.middle, self.high))
        return f"{middle} {unit} (estimate; {low} to {high})"


class Dominant(_Part):
    """Kernels of one kind, bound by one thing, that together take a large part of the time."""

    kind: Literal["estimate"] = "estimate"
    operators: str = Field(description="what they compute, such as conv")
    bound: Bound = Field(description="what takes the time: multiplying, moving bytes, or starting the kernels")
    count: int
    part: float = Field(ge=0, le=1, description="of the latency")
    slowest: str = Field(description="the ONNX node that the slowest of them begins with")


class DlaEstimate(_Part):
    """What the DLA takes of the work."""

    kind: Literal["estimate"] = "estimate"
    mac_share: float = Field(description="of the multiply-accumulates, 0 to 1")
    loadables: int
    moved_bytes: int = Field(description="reformatted between DLA and GPU in each run")


class Estimate(_Part):
    """Of one network on one board. Ranges hold 80% of published results, see docs/estimate.md."""

    kind: Literal["estimate"] = "estimate"
    device: str
    power_mode: str = Field(description="empty: the highest clocks")
    precision: Literal["fp32", "fp16", "int8"]
    batch: int
    latency_ms: Range = Field(description="of a batch, from input to output on the GPU")
    images_per_second: Range
    memory_bytes: Range = Field(description="of the process: weights, activations, libraries")
    energy_mj: Range | None = Field(default=None, description="of a picture, millijoules; none: see notes")
    macs: int = Field(description="multiply-accumulates of a batch; counted, not estimated")
    kernels: int = Field(description="after fusion")
    parts: dict[Bound, float] = Field(description="of the latency, 0 to 1")
    off_tensor_cores: float = Field(description="part of the latency in kernels that tensor cores cannot take")
    dominant: tuple[Dominant, ...]
    dla: DlaEstimate | None = None
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """The latency in one line."""
        mode = f", {self.power_mode}" if self.power_mode else ""
        return f"latency {self.latency_ms.text('ms')} in {self.precision.upper()} on {self.device}{mode}"


def _rounded(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
