"""The description of what happens to a camera frame before the network sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the network's input.

    A point (x, y) of the frame is at ``x * resized_w / frame_w + left`` and ``y * resized_h / frame_h + top`` of the
    input, pixels being squares whose corners have whole coordinates.

    Attributes:
        frame_hw: Height and width of the frame, pixels.
        resized_hw: Height and width that the whole frame is resized to.
        top: Rows of padding above the resized frame; below 0, rows of it that are cut.
        left: Columns of padding, or below 0 columns that are cut, at its left.
    """

    frame_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    top: int
    left: int


class Embedding(BaseModel):
    """The frames that a network takes whose preprocessing is inside it: uint8 ``(1, height, width, 3)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame_hw: tuple[PositiveInt, PositiveInt] = Field(description="height and width of the camera's frames, pixels")
    color: Literal["bgr", "rgb"] = Field(
        default="bgr", description="the order of the channels in the frames that the network gets"
    )


class Preprocess(BaseModel):
    """From a uint8 BGR frame of any size to the network's float32 input ``(1, channels, height, width)``.

    In this order: resize, crop at the centre or pad, change colour, multiply by ``scale``, subtract ``mean``, divide by
    ``std``. ``edgecnn.vision.preprocess`` carries it out; training, calibration, evaluation and the runtime all
    use that one function. With ``embed`` the network does all this itself, and gets the frame as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size_hw: tuple[int, int] = Field(description="height and width of the network's input, pixels")
    color: Literal["rgb", "bgr", "gray"] = "rgb"
    resize: Literal["stretch", "shorter_side", "letterbox"] = Field(
        default="stretch",
        description="stretch: to size_hw, whatever the aspect ratio; shorter_side: to that side, then crop; "
        "letterbox: to fit into size_hw, then pad",
    )
    shorter_side: int | None = Field(default=None, gt=0, description="pixels, for resize: shorter_side")
    padding: int = Field(default=114, ge=0, le=255, description="grey level around the frame, for resize: letterbox")
    anchor: Literal["center", "top_left"] = Field(
        default="center", description="where in the padding the frame is, for resize: letterbox; YOLOX wants top_left"
    )
    interpolation: Literal["area", "linear", "cubic"] = Field(
        default="area", description="area: averages when it shrinks (no aliasing), linear when it enlarges"
    )
    scale: float = Field(default=1 / 255, gt=0, description="grey levels are multiplied by this first")
    mean: tuple[float, ...] = Field(default=(0.485, 0.456, 0.406), description="one a channel, in the order of color")
    std: tuple[float, ...] = Field(default=(0.229, 0.224, 0.225), description="one a channel, in the order of color")
    embed: Embedding | None = Field(
        default=None, description="do all of this inside the network, which then takes uint8 frames of one size"
    )

    @property
    def outside(self) -> Preprocess:
        """The same done before the network, as for the network that has nothing embedded yet."""
        return self.model_copy(update={"embed": None})

    @property
    def to_frame(self) -> Preprocess:
        """How a picture of any size becomes a BGR frame of the size that the network takes.

        It is resized the way that the network's input is, to the frame's size instead: stretched; or brought to the
        frame's shorter side and cropped or padded at the centre; or letterboxed, with the same anchor and padding. So
        the network sees the same part of the picture as without embedding, and with the same aspect ratio; only
        letterboxed it is smaller where picture and frame have different aspect ratios.
        """
        assert self.embed is not None  # there is no frame without
        size_hw = self.embed.frame_hw
        changes = {"size_hw": size_hw, "shorter_side": min(size_hw), "color": "bgr", "interpolation": "area"}
        return self.outside.model_copy(update=changes)

    @property
    def channels(self) -> int:
        """1 for grey pictures, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the network's float32 input, without the batch."""
        return (self.channels, *self.size_hw)

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

    def placement(self, frame_hw: tuple[int, int]) -> Placement:
        """Where a frame of a size comes to lie in the input.

        Sizes are rounded as the networks' own training code rounds them: torchvision cuts the longer side's fraction,
        YOLOX (``top_left``) cuts both sides', Ultralytics (``center``) rounds.

        Args:
            frame_hw: Height and width of the frame, pixels.
        """
        frame_h, frame_w = frame_hw
        height, width = self.size_hw
        if self.resize == "stretch":
            return Placement(frame_hw, self.size_hw, 0, 0)
        if self.resize == "letterbox":
            factor = min(height / frame_h, width / frame_w)
            whole = int if self.anchor == "top_left" else round
            resized = (max(whole(frame_h * factor), 1), max(whole(frame_w * factor), 1))
            if self.anchor == "top_left":
                return Placement(frame_hw, resized, 0, 0)
            return Placement(frame_hw, resized, (height - resized[0]) // 2, (width - resized[1]) // 2)
        side = self.shorter_side
        assert side is not None  # the validator saw to it
        resized = (
            side if frame_h <= frame_w else int(side * frame_h / frame_w),
            side if frame_w <= frame_h else int(side * frame_w / frame_h),
        )
        return Placement(frame_hw, resized, -round((resized[0] - height) / 2), -round((resized[1] - width) / 2))
