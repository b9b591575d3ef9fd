"""The description of what happens to a camera frame before the network sees it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Preprocess(BaseModel):
    """From a uint8 BGR frame of any size to the network's float32 input ``(1, channels, height, width)``.

    In this order: resize, crop at the centre, change colour, multiply by ``scale``, subtract ``mean``, divide by
    ``std``. ``edgecnn.vision.preprocess`` carries it out; training, calibration, evaluation and the runtime all
    use that one function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size_hw: tuple[int, int] = Field(description="height and width of the network's input, pixels")
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Literal["stretch", "shorter_side"] = Field(
        default="stretch",
        description="stretch: to size_hw, whatever the aspect ratio; shorter_side: to that side, then crop",
    )
    shorter_side: int | None = Field(default=None, gt=0, description="pixels, for resize: shorter_side")
    interpolation: Literal["area", "linear", "cubic"] = Field(
        default="area", description="area: averages when it shrinks (no aliasing), linear when it enlarges"
    )
    scale: float = Field(default=1 / 255, gt=0, description="grey levels are multiplied by this first")
    mean: tuple[float, ...] = Field(default=(0.485, 0.456, 0.406), description="one a channel, in the order of color")
    std: tuple[float, ...] = Field(default=(0.229, 0.224, 0.225), description="one a channel, in the order of color")

    @property
    def channels(self) -> int:
        """1 for grey pictures, else 3."""
        return 1 if self.color == "gray" else 3

    @model_validator(mode="after")
    def _consistent(self) -> Preprocess:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"color {self.color} wants {self.channels} values each in mean and std")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if min(self.size_hw) <= 0:
            raise ValueError("size_hw must be above 0")
        if self.resize == "shorter_side":
            if self.shorter_side is None:
                raise ValueError("resize: shorter_side wants the key shorter_side, in pixels")
            if self.shorter_side < max(self.size_hw):
                raise ValueError(f"shorter_side {self.shorter_side} is smaller than the crop {self.size_hw}")
        return self
