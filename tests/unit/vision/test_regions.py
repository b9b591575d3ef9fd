"""Lines and polygons, against OpenCV's and by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.vision.regions import distances_from_line, inside_polygon, is_crossed

WHOLE = st.integers(0, 40)


def test_right_of_a_line_to_the_right_is_down() -> None:
    found = distances_from_line(np.float32([[5, 8], [5, 3], [-90, 5], [90, 9]]), (0, 5), (10, 5))
    np.testing.assert_allclose(found, [3, -2, 0, 4])
    np.testing.assert_allclose(distances_from_line(np.float32([[0, 0]]), (3, 0), (0, 4)), [2.4])


@pytest.mark.parametrize(
    ("before", "after", "crossed"),
    [
        ((5, 0), (5, 10), True),
        ((5, 10), (5, 0), True),
        ((12, 0), (12, 10), False),  # beside the end
        ((9, 0), (11, 10), True),  # through the end itself
        ((0, 0), (30, 10), False),
        ((5, 0), (5, 0), False),
    ],
)
def test_a_way_crosses_a_line_between_its_ends(
    before: tuple[float, float], after: tuple[float, float], crossed: bool
) -> None:
    assert is_crossed(before, after, (0, 5), (10, 5)) is crossed


@given(
    corners=st.lists(st.tuples(WHOLE, WHOLE), min_size=3, max_size=8, unique=True),
    points=st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=20),
)
def test_a_polygon_has_in_it_what_opencv_says(corners: list[tuple[int, int]], points: list[tuple[int, int]]) -> None:
    outline = np.array(corners, np.float32)
    where = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) for x, y in points]

    found = inside_polygon(np.float32(points), corners)

    off_the_edge = [place != 0 for place in where]
    assert found[off_the_edge].tolist() == [place > 0 for place, off in zip(where, off_the_edge, strict=True) if off]


def test_no_points_are_inside_nothing() -> None:
    assert inside_polygon(np.zeros((0, 2)), [(0, 0), (1, 0), (0, 1)]).shape == (0,)


def test_neighbours_share_no_point() -> None:
    """Each point of a grid is in exactly one of two squares that share an edge, and so counted once."""
    rows = np.array([(x, y) for x in range(8) for y in range(4)], np.float32)
    left, right = [(0, 0), (4, 0), (4, 4), (0, 4)], [(4, 0), (8, 0), (8, 4), (4, 4)]
    assert (inside_polygon(rows, left) ^ inside_polygon(rows, right)).all()
