"""What a run counts and times while it goes on, to be read at any time from any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.percentiles import DurationHistogram, Percentiles

SourceState = Literal["connecting", "running", "lost", "ended"]
SinkState = Literal["running", "failing", "closed"]


class _Snapshot(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShiftSnapshot(_Snapshot):
    """How like the training pictures a source's frames are, until now."""

    compared: int = Field(description="frames that were compared")
    unlike: int = Field(description="those that lie beyond the bundle's threshold")
    distance: float = Field(description="of the last one, as a part of the threshold: unlike above 1")
    furthest: str = Field(description="the statistic that is furthest off on average, and by how many deviations")


class SourceSnapshot(_Snapshot):
    """One source until now."""

    state: SourceState
    reason: str = Field(description="why it is not running, in one sentence; empty where it is")
    received: int = Field(description="frames that the source delivered")
    processed: int = Field(description="frames with a result")
    dropped: dict[str, int] = Field(description="frames without one, by the place where they were dropped")
    reconnects: int
    frame_age: Percentiles = Field(description="from a frame's capture to its result")
    shift: ShiftSnapshot | None = Field(
        default=None, description="none where the bundle remembers nothing of training pictures, or before a frame came"
    )


class SinkSnapshot(_Snapshot):
    """One sink until now."""

    state: SinkState
    reason: str = Field(description="why it fails, in one sentence; empty where it does not")
    written: int = Field(description="results that it took")
    dropped: int = Field(description="results that it never will take, as it was too slow or had failed")
    waiting: int = Field(description="results that it has yet to take or to send")


class Snapshot(_Snapshot):
    """A whole run until now."""

    seconds: float = Field(description="since the run began")
    sources: dict[str, SourceSnapshot]
    sinks: dict[str, SinkSnapshot]
    frame_age: Percentiles = Field(description="from capture to result, of all sources")
    stages: dict[str, Percentiles] = Field(description="time of a frame in each stage")


class SourceMetrics:
    """Counts of one source."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: SourceState = "connecting"
        self._reason = ""
        self._received = self._processed = self._connects = 0
        self._dropped: Counter[str] = Counter()
        self._age = DurationHistogram()
        self._shift: ShiftSnapshot | None = None

    def enter(self, state: SourceState, reason: str = "") -> None:
        """It changed its state."""
        with self._lock:
            self._connects += state == "running" != self._state
            self._state, self._reason = state, reason

    def receive(self) -> None:
        """It delivered a frame."""
        with self._lock:
            self._received += 1

    def drop(self, place: str, count: int = 1) -> None:
        """Frames were given up."""
        if count:
            with self._lock:
                self._dropped[place] += count

    def process(self, age_ns: int) -> None:
        """A frame has its result, so long after it was captured."""
        with self._lock:
            self._processed += 1
            self._age.record(age_ns)

    def compare(self, distance: float, furthest: str) -> None:
        """A frame was compared with training pictures; see ``ShiftSnapshot``."""
        with self._lock:
            before = self._shift
            compared, unlike = (before.compared, before.unlike) if before is not None else (0, 0)
            self._shift = ShiftSnapshot(
                compared=compared + 1, unlike=unlike + (distance > 1), distance=distance, furthest=furthest
            )

    @property
    def state(self) -> tuple[SourceState, str]:
        """The state, and the reason for it."""
        with self._lock:
            return self._state, self._reason

    @property
    def counts(self) -> tuple[int, int]:
        """How many frames were received, and dropped."""
        with self._lock:
            return self._received, sum(self._dropped.values())

    def age(self) -> DurationHistogram:
        """All ages of its frames until now."""
        with self._lock:
            return self._age.copy()

    def snapshot(self) -> SourceSnapshot:
        """Until now."""
        with self._lock:
            return SourceSnapshot(
                state=self._state,
                reason=self._reason,
                received=self._received,
                processed=self._processed,
                dropped=dict(self._dropped),
                reconnects=max(self._connects - 1, 0),
                frame_age=self._age.summary(),
                shift=self._shift,
            )


class SinkMetrics:
    """Counts of one sink."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: SinkState = "running"
        self._reason = ""
        self._written = self._dropped = self._waiting = 0

    def enter(self, state: SinkState, reason: str = "") -> None:
        """It changed its state."""
        with self._lock:
            self._state, self._reason = state, reason

    def count(self, *, written: int = 0, dropped: int = 0) -> None:
        """It took results, or never will."""
        with self._lock:
            self._written += written
            self._dropped += dropped

    def wait(self, results: int) -> None:
        """So many results wait for it now."""
        with self._lock:
            self._waiting = results

    def snapshot(self) -> SinkSnapshot:
        """Until now."""
        with self._lock:
            return SinkSnapshot(
                state=self._state,
                reason=self._reason,
                written=self._written,
                dropped=self._dropped,
                waiting=self._waiting,
            )


class Metrics:
    """Of a run: its sources and sinks by name, and its stages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begin = time.monotonic()
        self._sources: defaultdict[str, SourceMetrics] = defaultdict(SourceMetrics)
        self._sinks: defaultdict[str, SinkMetrics] = defaultdict(SinkMetrics)
        self._stages: defaultdict[str, DurationHistogram] = defaultdict(DurationHistogram)

    def source(self, name: str) -> SourceMetrics:
        """Those of a source; they begin with the first call."""
        with self._lock:
            return self._sources[name]

    def sink(self, name: str) -> SinkMetrics:
        """Those of a sink; they begin with the first call."""
        with self._lock:
            return self._sinks[name]

    def stage(self, name: str, duration_ns: int) -> None:
        """A frame took so long in a stage."""
        with self._lock:
            self._stages[name].record(duration_ns)

    def ages(self) -> dict[str, DurationHistogram]:
        """All frames' ages until now, by source."""
        with self._lock:
            sources = dict(self._sources)
        return {name: source.age() for name, source in sources.items()}

    def stage_times(self) -> dict[str, DurationHistogram]:
        """All times in each stage until now."""
        with self._lock:
            return {name: histogram.copy() for name, histogram in self._stages.items()}

    def snapshot(self) -> Snapshot:
        """Everything until now."""
        with self._lock:
            sources, sinks = dict(self._sources), dict(self._sinks)
            ages = DurationHistogram()
            for source in sources.values():
                ages.add(source.age())
            stages = {name: histogram.summary() for name, histogram in self._stages.items()}
        return Snapshot(
            seconds=time.monotonic() - self._begin,
            sources={name: each.snapshot() for name, each in sources.items()},
            sinks={name: each.snapshot() for name, each in sinks.items()},
            frame_age=ages.summary(),
            stages=stages,
        )
