"""Lines and polygons in a picture: which side, across or not, inside or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating[Any]]
Place = tuple[float, float]


def distances_from_line(points: Points, start: Place, end: Place) -> npt.NDArray[np.float64]:
    """How far points (K, 2) lie from the line through two, in the points' unit.

    Returns:
        (K,), above 0 on the right of who stands at ``start`` and looks to ``end``; y goes down.
    """
    along = np.subtract(end, start, dtype=np.float64)
    off = np.asarray(points, dtype=np.float64) - start
    return (along[0] * off[:, 1] - along[1] * off[:, 0]) / float(np.hypot(*along))


def is_crossed(before: Place, after: Place, start: Place, end: Place) -> bool:
    """Whether the way between two points on different sides of a line through two others meets it between these."""
    sides = distances_from_line(np.array([start, end]), before, after) if before != after else np.ones(2)
    return bool(sides[0] * sides[1] <= 0)


def inside_polygon(points: Points, corners: Sequence[Place]) -> npt.NDArray[np.bool_]:
    """Whether points (K, 2) lie in a polygon, by how often a ray to the right meets its edges (even or odd).

    Of an edge the end above belongs to it and the end below does not, so that none is counted twice.
    """
    x, y = np.asarray(points, dtype=np.float64).T[:, :, None]
    x1, y1 = np.asarray(corners, dtype=np.float64).T[:, None]
    x2, y2 = np.roll(x1, -1), np.roll(y1, -1)
    spans = (y1 > y) != (y2 > y)
    slope = (x2 - x1) / np.where(y2 == y1, 1, y2 - y1)
    return (spans & (x < x1 + (y - y1) * slope)).sum(axis=1) % 2 == 1
