"""The part of a recipe that says where its network will run."""

from __future__ import annotations

from pydantic import Field

from edgecnn.core.part import Part


class TargetPart(Part):
    """Where it will run."""

    device: str = Field(default="orin-nano-8gb", description="a name from: edgecnn devices")
    tensorrt: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)*$",
        description="the version there, such as 10.3; none: that of the device's newest JetPack",
    )
    dla_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="run on the DLA, if it takes this part of the multiply-accumulates; none: on the GPU alone",
    )
