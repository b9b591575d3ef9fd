"""Who looks after a run: its time, and what people should hear of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from edgecnn.runtime.buffer import DropPolicy
from edgecnn.runtime.metrics import Metrics, SourceState
from edgecnn.runtime.readings import Readings, ask_board

_LOOK_S = 0.1
_COUNT_S = 1.0
# Of the frames: from when on it is too much for the machine, and from when on no more. So many seconds in a row.
_MANY, _FEW = 0.1, 0.02
_LONG = 3
# Readings, by the ends of their names, that are 1 while the board makes something slower against heat.
_HOT = ("_cooling_active", "_thermal_slowdown_active")


class Watch:
    """Says when a source is lost and back, when frames are dropped, and when the board is too hot: a line each.

    Each is said once, and again when it is over.

    Args:
        metrics: Of the run.
        policies: By source.
        over: Is set when the time is over.
        say: Gets the lines.
        duration_s: How long the run may take.
        readings: Of the board.
    """

    def __init__(
        self,
        metrics: Metrics,
        policies: Mapping[str, DropPolicy],
        over: threading.Event,
        say: Callable[[str], None],
        duration_s: float | None,
        readings: Readings | None = None,
    ) -> None:
        self._metrics, self._policies, self._over, self._say = metrics, policies, over, say
        self._readings = readings
        self._end_s = time.monotonic() + duration_s if duration_s is not None else float("inf")
        self._ended = threading.Event()
        self._lost_s: dict[str, float] = {}
        self._states: dict[str, tuple[SourceState, str]] = {}
        self._counts = (0, 0)
        self._overloaded, self._row = False, 0
        self._hot: set[str] = set()

    def run(self) -> None:
        """Look until the end."""
        count_s = time.monotonic() + _COUNT_S
        while not self._ended.wait(max(min(_LOOK_S, self._end_s - time.monotonic()), 0)):
            now = time.monotonic()
            if now >= self._end_s:
                self._over.set()
                return
            for name in self._policies:
                self._look(name, now)
            if now >= count_s:
                count_s += _COUNT_S
                self._count()
                self._feel()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _look(self, name: str, now: float) -> None:
        state, reason = self._metrics.source(name).state
        before = self._states.get(name)
        if before == (state, reason):
            return
        self._states[name] = (state, reason)
        if state == "lost" and self._lost_s.setdefault(name, now) == now:
            self._say(f"source {name}: {reason}; it is tried again")
        elif state == "running" and (since := self._lost_s.pop(name, None)) is not None:
            self._say(f"source {name}: is back after {now - since:.1f} s")
        elif state == "ended" and reason and len(self._policies) > 1:
            self._say(f"{reason}; the others go on")

    def _count(self) -> None:
        found = [self._metrics.source(name).counts for name, policy in self._policies.items() if policy.drops]
        received, dropped = sum(counts[0] for counts in found), sum(counts[1] for counts in found)
        new, lost = received - self._counts[0], dropped - self._counts[1]
        self._counts = (received, dropped)
        changes = lost > _MANY * new if not self._overloaded else lost <= _FEW * new
        self._row = self._row + 1 if changes else 0
        if self._row < _LONG:
            return
        self._overloaded, self._row = not self._overloaded, 0
        if self._overloaded:
            self._say(f"overload: {lost} of {new} frames a second are dropped, so that results are about now")
        else:
            self._say("the overload is over: every frame is processed again")

    def _feel(self) -> None:
        hot = {name for name, value in ask_board(self._readings).items() if value and name.endswith(_HOT)}
        if hot and not self._hot:
            parts = ", ".join(sorted(name.removesuffix("_active").replace("_", " ") for name in hot))
            self._say(
                f"the board is too hot and has made itself slower ({parts}): better cooling, or a lower power mode"
            )
        elif self._hot and not hot:
            self._say("the board has cooled down")
        self._hot = hot
