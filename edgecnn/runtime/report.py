"""What a run did, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.percentiles import DurationHistogram, Percentiles
from edgecnn.runtime.metrics import Metrics, SinkSnapshot, SourceSnapshot

STAGES = ("preprocess", "infer", "decode", "sinks")


class RunReport(BaseModel):
    """What a run did.

    Attributes:
        frame_age: From a frame's capture to its result, of all sources.
        stages: Time in preprocess, infer, decode and sinks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="the source's name; those of several with commas between them")
    backend: str
    frames_in: int = Field(description="frames that the sources delivered, but for those that waited at the end")
    processed: int
    resized: int = Field(
        description="processed frames that were brought to the size that a network with embedded preprocessing takes"
    )
    dropped: int = Field(description="frames that were given up, such as for newer ones, before they were processed")
    seconds: float
    fps: float = Field(description="processed frames a second")
    frame_age: Percentiles
    stages: dict[str, Percentiles]
    sources: dict[str, SourceSnapshot]
    sinks: dict[str, SinkSnapshot]


def make_report(names: Sequence[str], backend: str, metrics: Metrics, resized: int, seconds: float) -> RunReport:
    """The report of a run that has ended.

    Args:
        names: Of the sources.
        backend: In words.
        metrics: Of the run.
        resized: Processed frames that were resized to fit a network with embedded preprocessing.
        seconds: How long it took.
    """
    found = metrics.snapshot()
    processed = sum(source.processed for source in found.sources.values())
    dropped = sum(
        count for source in found.sources.values() for place, count in source.dropped.items() if place != "stop"
    )
    nothing = DurationHistogram().summary()
    return RunReport(
        source=", ".join(names),
        backend=backend,
        frames_in=processed + dropped,
        processed=processed,
        resized=resized,
        dropped=dropped,
        seconds=seconds,
        fps=processed / seconds if seconds else 0.0,
        frame_age=found.frame_age,
        stages={name: found.stages.get(name, nothing) for name in STAGES},
        sources=found.sources,
        sinks=found.sinks,
    )
