"""What crosses lines and what is in zones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Detections, LineCount, ZoneCount
from edgecnn.core.watch import Line, Zone, in_pixels
from edgecnn.vision.regions import Place, distances_from_line, inside_polygon, is_crossed

# A box that jitters on a line has not crossed it: its centre must go beyond by this part of the box's shorter side.
_BEYOND = 0.1


class LineCounter:
    """Counts the objects whose centre crosses a line, each time it does.

    Args:
        line: The line.
        forget_ns: What was not seen for longer is forgotten.
    """

    def __init__(self, line: Line, forget_ns: int) -> None:
        self._line = line
        self._forget_ns = forget_ns
        self._into: Counter[str] = Counter()
        self._out: Counter[str] = Counter()
        # Where each object last was clearly on one side, on which one, and when it was seen.
        self._places: dict[int, tuple[Place, bool, int]] = {}

    def update(self, found: Detections, frame_hw: tuple[int, int], time_ns: int) -> LineCount:
        """Count the objects of a frame, which have numbers."""
        start, end = ends = in_pixels((self._line.start, self._line.end), frame_hw)
        centres = centres_of(found)
        distances = distances_from_line(centres, start, end)
        margins = _BEYOND * (found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
        assert found.tracks is not None  # the tracker was here
        for row in np.flatnonzero(found.tracks):
            number = int(found.tracks[row])
            place: Place = (float(centres[row, 0]), float(centres[row, 1]))
            right = bool(distances[row] > 0)
            before = self._places.get(number)
            if abs(distances[row]) <= margins[row]:
                if before is not None:
                    self._places[number] = (before[0], before[1], time_ns)
                continue
            if before is not None and before[1] != right and is_crossed(before[0], place, start, end):
                (self._into if right else self._out)[found.labels[row]] += 1
            self._places[number] = (place, right, time_ns)
        self._places = {key: seen for key, seen in self._places.items() if time_ns - seen[2] <= self._forget_ns}
        return LineCount(self._line.name, ends, dict(self._into), dict(self._out))


def count_zone(zone: Zone, found: Detections, frame_hw: tuple[int, int]) -> ZoneCount:
    """The objects of a frame whose centre is in a zone."""
    corners = in_pixels(zone.points, frame_hw)
    inside = np.flatnonzero(inside_polygon(centres_of(found), corners))
    return ZoneCount(zone.name, corners, dict(Counter(found.labels[row] for row in inside)))


def centres_of(found: Detections) -> npt.NDArray[np.floating[Any]]:
    """Centres (K, 2) of the boxes, pixels."""
    return (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
