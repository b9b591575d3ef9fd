"""Numbers for objects, which they keep from frame to frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecnn.core.frame import Detections
from edgecnn.errors import missing_extra

# Boxes of an object in consecutive frames overlap by this much, at least.
_OVERLAP = 0.1
# Of what a box says about its object's place, half is believed: less lags behind what moves, more follows every jitter.
_BELIEF = 0.5
# Frames that a source dropped are predicted over, one by one, but not for ever.
_MOST_SKIPPED = 100


class Tracker:
    """Follows the objects of one source with ByteTrack (Zhang et al., 2022), as edgefirst-tracker implements it.

    Its motion is in steps of a frame, so each frame that was dropped between two results is a step as well.

    Args:
        lost_s: An object that is not seen for longer gets a new number.

    Raises:
        EnvironmentMissing: edgefirst-tracker is not installed.
    """

    def __init__(self, lost_s: float) -> None:
        try:
            from edgefirst.tracker import ByteTrack
        except ImportError:
            raise missing_extra("edgefirst-tracker", "track") from None
        self._lost_ns = round(lost_s * 1e9)
        # Boxes below the user's threshold never come here, so every box may begin a track.
        self._tracker = ByteTrack(high_conf=0.0, iou=_OVERLAP, update=_BELIEF, lifespan_ns=self._lost_ns)
        self._numbers: dict[str, int] = {}
        self._issued = 0
        self._frame: tuple[int, int] | None = None

    def update(self, found: Detections, index: int, time_ns: int) -> Detections:
        """Number the objects of a frame.

        Args:
            found: The objects.
            index: The frame's, dropped ones counted.
            time_ns: When it was taken; it does not go back.
        """
        self._pass_over(index, time_ns)
        rows = self._step(found, time_ns)
        live = {track.info.uuid for track in self._tracker.get_active_tracks()}
        self._numbers = {name: number for name, number in self._numbers.items() if name in live}
        numbers = np.zeros(len(found), dtype=np.int64)
        for row, name in enumerate(rows):
            if name is not None:
                numbers[row] = self._number(name)
        return replace(found, tracks=numbers)

    def _pass_over(self, index: int, time_ns: int) -> None:
        """Let the tracks move on over the frames that were dropped."""
        if self._frame is not None:
            before, before_ns = self._frame
            skipped = min(max(index - before - 1, 0), _MOST_SKIPPED)
            if time_ns - before_ns > self._lost_ns:
                self._step(None, time_ns)  # or what was lost long ago is found at its old place
            else:
                for step in range(1, skipped + 1):
                    self._step(None, before_ns + (time_ns - before_ns) * step // (skipped + 1))
        self._frame = (index, time_ns)

    def _step(self, found: Detections | None, time_ns: int) -> list[str | None]:
        count = 0 if found is None else len(found)
        boxes = np.zeros((0, 4), np.float32) if found is None else np.ascontiguousarray(found.boxes_xyxy)
        scores = np.zeros(0, np.float32) if found is None else np.ascontiguousarray(found.scores)
        rows = self._tracker.update(boxes, scores, np.zeros(count, np.uintp), time_ns)
        return [None if row is None else row.uuid for row in rows]

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._issued += 1
            self._numbers[name] = self._issued
        return self._numbers[name]
