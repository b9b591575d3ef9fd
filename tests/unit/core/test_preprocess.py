"""Preprocessing that contradicts itself is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.core.preprocess import Embedding, Placement, Preprocess


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"color": "gray"}, "color gray wants 1 values each in mean and std"),
        ({"mean": (0.5,)}, "color rgb wants 3 values each in mean and std"),
        ({"std": (1.0, 1.0)}, "color rgb wants 3 values each in mean and std"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be above 0"),
        ({"size_hw": (0, 32)}, "size_hw must be above 0"),
        ({"size_hw": (32, -1)}, "size_hw must be above 0"),
        ({"resize": "shorter_side"}, "resize: shorter_side wants the key shorter_side, in pixels"),
        ({"resize": "shorter_side", "shorter_side": 31}, r"shorter_side 31 is smaller than the crop \(24, 32\)"),
        ({"shorter_side": 0}, "shorter_side\n.*greater than 0"),
        ({"scale": 0}, "scale\n.*greater than 0"),
        ({"padding": 256}, "padding\n.*less than or equal to 255"),
        ({"padding": -1}, "padding\n.*greater than or equal to 0"),
        ({"anchor": "bottom"}, "anchor\n"),
        ({"interpolation": "lanczos"}, "interpolation\n"),
        ({"mena": (0.5,) * 3}, "mena\n.*[Ee]xtra"),
        ({"embed": {"frame_hw": (0, 640)}}, "embed.frame_hw.0\n.*greater than 0"),
        ({"embed": {"frame_hw": (480, 640), "color": "gray"}}, "embed.color\n"),
        ({"embed": {}}, "embed.frame_hw\n.*required"),
    ],
)
def test_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Preprocess(**({"size_hw": (24, 32)} | fields))


def test_taken() -> None:
    gray = Preprocess(size_hw=(24, 32), color="gray", mean=(0.3,), std=(0.35,))
    assert gray.channels == 1
    assert Preprocess(size_hw=(24, 32), resize="shorter_side", shorter_side=32).channels == 3


@pytest.mark.parametrize(
    ("anchor", "frame_hw", "resized_hw", "top", "left"),
    [
        ("top_left", (480, 640), (312, 416), 0, 0),
        ("center", (480, 640), (312, 416), 52, 0),
        ("center", (640, 480), (416, 312), 0, 52),
        ("top_left", (427, 640), (277, 416), 0, 0),  # 277.55 is cut
        ("center", (427, 640), (278, 416), 69, 0),  # and here rounded
        ("center", (425, 640), (276, 416), 70, 0),
        ("center", (100, 101), (412, 416), 2, 0),  # enlarged
        ("center", (3, 2000), (1, 416), 207, 0),  # never to nothing
        ("top_left", (416, 416), (416, 416), 0, 0),
    ],
)
def test_a_letterbox_keeps_the_aspect_ratio(
    anchor: str, frame_hw: tuple[int, int], resized_hw: tuple[int, int], top: int, left: int
) -> None:
    spec = Preprocess.model_validate({"size_hw": (416, 416), "resize": "letterbox", "anchor": anchor})

    assert spec.placement(frame_hw) == Placement(frame_hw, resized_hw, top, left)


def test_what_comes_before_an_embedded_preprocessing_resizes_alike() -> None:
    fields = {"size_hw": (96, 96), "resize": "letterbox", "anchor": "top_left", "padding": 7, "color": "gray"}
    outside = Preprocess.model_validate(fields | {"mean": (0.3,), "std": (0.35,), "interpolation": "cubic"})
    spec = outside.model_copy(update={"embed": Embedding(frame_hw=(480, 640))})

    assert spec.outside == outside
    to_frame = spec.to_frame
    assert (to_frame.size_hw, to_frame.color, to_frame.embed) == ((480, 640), "bgr", None)
    assert (to_frame.resize, to_frame.anchor, to_frame.padding) == ("letterbox", "top_left", 7)
