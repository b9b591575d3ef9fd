"""Lines, zones and tiles as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgecnn.core.watch import Line, Tiles, Watch, Zone


@pytest.mark.parametrize(
    ("part", "values", "complaint"),
    [
        (Line, {"start": (0, 0), "end": (0, 0)}, "the same point"),
        (Line, {"start": (-1, 0), "end": (0, 0)}, "greater than or equal to 0"),
        (Zone, {"points": [(0, 0), (1, 1)]}, "at least 3"),
        (Tiles, {"columns": 0, "rows": 1}, "greater than 0"),
        (Tiles, {"columns": 2, "rows": 2, "overlap": 1}, "less than 1"),
        (Watch, {"lines": [{"start": (0, 0), "end": (1, 1)}] * 2}, "the name line is there twice"),
    ],
)
def test_what_makes_no_sense_is_refused(part: Any, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        part.model_validate(values)


def test_lines_want_objects_to_be_followed_and_zones_do_not() -> None:
    zone = Zone(points=((0, 0), (1, 0), (1, 1)))
    assert Watch(lines=(Line(start=(0, 0), end=(1, 1)),)).tracks
    assert not Watch(zones=(zone,)).tracks
    assert Watch(track=True).tracks
