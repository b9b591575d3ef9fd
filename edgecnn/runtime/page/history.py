"""A run's figures over the last minutes, second by second."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecnn.core.percentiles import DurationHistogram
from edgecnn.runtime.metrics import Metrics, Snapshot
from edgecnn.runtime.readings import Readings, ask_board, unit_of

# Ten minutes of seconds.
_SAMPLES = 600


@dataclass(frozen=True)
class SourceSecond:
    """A source in one second.

    Attributes:
        fps: Frames with a result.
        age_p50_ms: Median age of these at their result; None where there were none.
        age_p99_ms: 99% were not older.
    """

    fps: float
    age_p50_ms: float | None
    age_p99_ms: float | None


@dataclass(frozen=True)
class Second:
    """One sample.

    Attributes:
        number: Counts the samples.
        time_s: Since 1970.
    """

    number: int
    time_s: float
    sources: Mapping[str, SourceSecond]
    readings: Mapping[str, float]


class History:
    """Samples a run.

    Args:
        metrics: Of the run.
        readings: Of the board.
    """

    def __init__(self, metrics: Metrics, readings: Readings | None = None) -> None:
        self._metrics, self._readings = metrics, readings
        self._lock = threading.Lock()
        self._seconds: deque[Second] = deque(maxlen=_SAMPLES)
        self._numbers = itertools.count(1)
        self._before: dict[str, DurationHistogram] = {}
        self._before_s = time.monotonic()
        self._since: dict[str, tuple[str, float]] = {}
        self._now = metrics.snapshot()

    def sample(self) -> None:
        """Take one; to be called about once a second."""
        now, ages = self._metrics.snapshot(), self._metrics.ages()
        now_s, time_s = time.monotonic(), time.time()
        readings = ask_board(self._readings)
        seconds = max(now_s - self._before_s, 1e-3)
        sources: dict[str, SourceSecond] = {}
        for name, age in ages.items():
            new = age.since(self._before[name]) if name in self._before else age
            found = new.summary()
            p50, p99 = (found.p50_ms, found.p99_ms) if new.count else (None, None)
            sources[name] = SourceSecond(new.count / seconds, p50, p99)
        with self._lock:
            self._before, self._before_s, self._now = ages, now_s, now
            for name, source in now.sources.items():
                if self._since.get(name, ("",))[0] != source.state:
                    self._since[name] = (source.state, time_s)
            self._seconds.append(Second(next(self._numbers), time_s, sources, readings))

    def document(self, after: int) -> dict[str, Any]:
        """What the page shows, as JSON: the state now, and the samples behind a number."""
        with self._lock:
            seconds = [second for second in self._seconds if second.number > after]
            now, since = self._now, dict(self._since)
            last = self._seconds[-1] if self._seconds else None
        return {
            "seconds": round(now.seconds, 1),
            "now": round(time.time(), 1),
            "last": last.number if last else 0,
            "sources": _sources(now, since, last),
            "sinks": {name: sink.model_dump() for name, sink in now.sinks.items()},
            "units": _units(last.readings if last else {}),
            "history": _columns(seconds),
        }


def _sources(now: Snapshot, since: Mapping[str, tuple[str, float]], last: Second | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, source in now.sources.items():
        second = last.sources.get(name) if last else None
        found[name] = {
            "state": source.state,
            "reason": source.reason,
            "since": round(since[name][1], 1) if name in since else None,
            "received": source.received,
            "processed": source.processed,
            "dropped": source.dropped,
            "reconnects": source.reconnects,
            "unlike_percent": round(100 * source.shift.unlike / source.shift.compared, 1) if source.shift else None,
            "fps": _rounded(second.fps if second else None),
            "age_p50_ms": _rounded(second.age_p50_ms if second else None),
            "age_p99_ms": _rounded(second.age_p99_ms if second else None),
        }
    return found


def _columns(seconds: list[Second]) -> dict[str, Any]:
    sources = sorted({name for second in seconds for name in second.sources})
    readings = list(dict.fromkeys(name for second in seconds for name in second.readings))
    empty = SourceSecond(0.0, None, None)
    return {
        "number": [second.number for second in seconds],
        "time": [round(second.time_s, 1) for second in seconds],
        "sources": {
            name: {
                "fps": [_rounded(second.sources.get(name, empty).fps) for second in seconds],
                "age_p50_ms": [_rounded(second.sources.get(name, empty).age_p50_ms) for second in seconds],
                "age_p99_ms": [_rounded(second.sources.get(name, empty).age_p99_ms) for second in seconds],
            }
            for name in sources
        },
        "readings": {name: [_rounded(second.readings.get(name)) for second in seconds] for name in readings},
    }


def _units(readings: Mapping[str, float]) -> dict[str, Any]:
    """How a reading is shown: which chart it is in, under which name, in which unit."""
    found: dict[str, Any] = {}
    for name in readings:
        part, unit = unit_of(name)
        found[name] = {"part": part, "quantity": unit.quantity if unit else name, "unit": unit.unit if unit else ""}
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3 if abs(value) < 100 else 1)
