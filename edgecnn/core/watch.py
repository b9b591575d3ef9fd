"""What is followed and counted in a camera's view, and how it is cut into tiles."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Coordinate = Annotated[float, Field(ge=0)]
Point = tuple[Coordinate, Coordinate]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Line(_Part):
    """A line that objects cross.

    Who stands at ``start`` and looks to ``end`` sees objects come ``in`` from the left to the right, and go ``out`` the
    other way: over a line drawn from left to right, ``in`` is down.
    """

    name: str = "line"
    start: Point = Field(
        description="x and y: parts of the frame where no coordinate of the line is above 1, else pixels"
    )
    end: Point

    @model_validator(mode="after")
    def _has_a_length(self) -> Line:
        if self.start == self.end:
            raise ValueError("start and end are the same point")
        return self


class Zone(_Part):
    """A polygon that objects are in."""

    name: str = "zone"
    points: tuple[Point, ...] = Field(
        min_length=3, description="its corners: parts of the frame where no coordinate is above 1, else pixels"
    )


class Tiles(_Part):
    """How a frame is cut, so that small objects are large enough for the network."""

    columns: int = Field(gt=0, le=16)
    rows: int = Field(gt=0, le=16)
    overlap: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="part of a tile that it shares with the next: more than the small objects are",
    )
    whole: bool = Field(default=True, description="whether the network also sees the whole frame, for large objects")


class Watch(_Part):
    """What is followed and counted."""

    track: bool = Field(default=False, description="give each object a number that it keeps; lines turn it on")
    lost_s: float = Field(default=1.0, gt=0, description="an object that is not seen for longer gets a new number")
    lines: tuple[Line, ...] = ()
    zones: tuple[Zone, ...] = ()

    @model_validator(mode="after")
    def _named_apart(self) -> Watch:
        for names in ([line.name for line in self.lines], [zone.name for zone in self.zones]):
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"the name {twice[0]} is there twice")
        return self

    @property
    def tracks(self) -> bool:
        """Whether objects are followed from frame to frame."""
        return self.track or bool(self.lines)


def in_pixels(points: tuple[Point, ...], frame_hw: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    """The points of a line or a zone in pixels of a frame.

    >>> in_pixels(((0.5, 0.5), (1, 0)), (480, 640))
    ((320.0, 240.0), (640.0, 0.0))
    >>> in_pixels(((320, 240), (1, 0)), (480, 640))
    ((320.0, 240.0), (1.0, 0.0))
    """
    relative = all(max(point) <= 1 for point in points)
    height, width = frame_hw if relative else (1, 1)
    return tuple((float(x * width), float(y * height)) for x, y in points)
