"""The part of a recipe that makes a detector of a classifier."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgecnn.core.detector import Layout
from edgecnn.core.part import Part

STRIDES = (8, 16, 32)
SIDES = 4
# The export's name of a network's only output.
_OUTPUT = "output"


class HeadPart(Part):
    """A light anchor-free detector on the network: its maps at strides 8, 16 and 32 instead of its last layers."""

    kind: Literal["light"] = "light"
    width: int = Field(default=96, gt=0, description="channels of its maps; 64 for the smallest boards")
    depth: int = Field(default=2, gt=0, description="convolutions behind the neck at each stride")
    bins: int = Field(
        default=8,
        gt=1,
        description="a box's side is at most (bins - 1) strides away from its cell's centre, so that 8 suffices for "
        "objects as large as a picture of 448 pixels, 16 for one of 960",
    )

    @property
    def largest_side(self) -> int:
        """Pixels of the largest object that it can put a box around."""
        return 2 * (self.bins - 1) * STRIDES[-1]

    def layout(self, classes: int) -> Layout:
        """What the output of such a detector means."""
        return Layout(
            kind="nanodet",
            boxes=_OUTPUT,
            classes=classes,
            activation="sigmoid",
            strides=STRIDES,
            cell_point="centre",
            bins=self.bins,
        )
