"""Preprocessing that contradicts itself is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.core.preprocess import Preprocess


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
        ({"interpolation": "lanczos"}, "interpolation\n"),
        ({"mena": (0.5,) * 3}, "mena\n.*[Ee]xtra"),
    ],
)
def test_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Preprocess(**({"size_hw": (24, 32)} | fields))


def test_taken() -> None:
    gray = Preprocess(size_hw=(24, 32), color="gray", mean=(0.3,), std=(0.35,))
    assert gray.channels == 1
    assert Preprocess(size_hw=(24, 32), resize="shorter_side", shorter_side=32).channels == 3
