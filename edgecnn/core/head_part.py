"""The part of a recipe that makes another network of a classifier: a detector, or one that gives masks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

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
    def task(self) -> Literal["detection"]:
        """Of the network that it makes."""
        return "detection"

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

    def require_fits(self, size_hw: tuple[int, int]) -> None:
        """Refuse an input of a size that it cannot have.

        Raises:
            ValueError: It is so.
        """
        _require_whole(size_hw)
        if max(size_hw) > self.largest_side:
            raise ValueError(
                f"model.head: with bins: {self.bins} no object can be larger than {self.largest_side} pixels, and the "
                f"input has {max(size_hw)}: give it more bins"
            )


class LrasppPart(Part):
    """Lite R-ASPP on the network: masks from its maps at strides 8 and 16 instead of its last layers."""

    kind: Literal["lraspp"]
    width: int = Field(default=128, gt=0, description="channels that the coarser map is brought to")
    dilate: bool = Field(
        default=True,
        description="keep the network's last stage at stride 16 by dilated convolutions, as in the paper, if it halves "
        "its maps by convolutions; false: that stage is left out, which is faster and knows less",
    )
    stride: Literal[1, 2, 4, 8] = Field(
        default=1,
        description="pixels of the input for each cell of the mask, either way. 1: the mask is as large as the input; "
        "4 leaves a sixteenth to copy and to look through, and its edges are steps of 4 pixels. It can be changed "
        "without training anew",
    )

    @property
    def task(self) -> Literal["segmentation"]:
        """Of the network that it makes."""
        return "segmentation"

    def require_fits(self, size_hw: tuple[int, int]) -> None:
        """See ``HeadPart.require_fits``."""
        _require_whole(size_hw)


def _require_whole(size_hw: tuple[int, int]) -> None:
    if any(side % STRIDES[-1] for side in size_hw):
        raise ValueError(f"model.head wants preprocess.size_hw in multiples of {STRIDES[-1]}, not {size_hw}")


def _kind(head: Any) -> Any:
    """What says which head is meant; a detector's need not be named."""
    return head.get("kind", "light") if isinstance(head, dict) else getattr(head, "kind", None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


Head = Annotated[
    Annotated[HeadPart, Tag("light")] | Annotated[LrasppPart, Tag("lraspp")],
    Discriminator(
        _kind,
        custom_error_type="head_kind",
        custom_error_message="kind should be 'light' (a detector) or 'lraspp' (masks)",
    ),
]
