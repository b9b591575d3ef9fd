"""Results as other programs read them: one JSON object for each frame."""

from __future__ import annotations

import math
import secrets
import time
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from edgecnn.core.frame import Classification, Detections, Embedding, Frame, Measurements, Segmentation, Tags
from edgecnn.core.usage import Result


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedClass(_Part):
    """A class that a classifier names."""

    number: int = Field(alias="class", description="counted from 0; -1 for unknown")
    label: str
    probability: float | None = Field(description="four decimals; null for what is not a number")


class DetectedObject(_Part):
    """An object that a detector finds."""

    number: int = Field(alias="class", description="counted from 0")
    label: str
    score: float = Field(description="0 to 1, four decimals")
    box_xyxy: tuple[float, float, float, float] = Field(
        description="left, top, right and bottom edge in pixels of the frame, from its upper left corner; one decimal"
    )
    track: int | None = Field(
        default=None,
        description="a number from 1 on that the object keeps from frame to frame; null: not followed, or not yet",
    )


class CrossedLine(_Part):
    """How many objects have crossed a line since the run began, by label."""

    name: str
    into: dict[str, int] = Field(alias="in")
    out: dict[str, int]


class OccupiedZone(_Part):
    """How many objects are in a zone now, by label."""

    name: str
    inside: dict[str, int]


class NamedValue(_Part):
    """A number that a regression network gives."""

    label: str
    value: float
    unit: str = Field(description="empty where none is stated")


class ClassArea(_Part):
    """How much of a frame is of a class."""

    number: int = Field(alias="class", description="counted from 0")
    label: str
    share: float = Field(description="of the pixels that the network has seen, 0 to 1, four decimals")


class WindowSpan(_Part):
    """Where a window of a signal lies."""

    file: str = Field(description="its file's name; empty for a stream")
    begin_s: float = Field(description="seconds from the begin of the signal to that of the window, six decimals")
    end_s: float = Field(description="to its end")


class _Event(_Part):
    id: str = Field(description="RUN/SOURCE/FRAME, unique: whoever gets an event twice knows it by this")
    source: str = Field(description="the name of the source in its run")
    frame: int = Field(description="counts the frames that the source delivered, from 0, dropped ones included")
    time: float = Field(description="the frame's arrival in seconds since 1970 (UTC)")
    age_ms: float = Field(description="from the frame's arrival to its result")
    window: WindowSpan | None = Field(default=None, description="of signals; left out for pictures")

    @model_serializer(mode="wrap")
    def _without_no_window(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in write(self).items() if name != "window" or value is not None}


class ClassificationEvent(_Event):
    """What a classifier says about a frame, most probable first."""

    classes: tuple[NamedClass, ...]


class DetectionEvent(_Event):
    """What a detector finds in a frame, best first."""

    objects: tuple[DetectedObject, ...]
    lines: tuple[CrossedLine, ...] = ()
    zones: tuple[OccupiedZone, ...] = ()


class TagsEvent(_Event):
    """The labels that a frame has, the surest first; there may be none."""

    tags: tuple[NamedClass, ...]


class MeasurementsEvent(_Event):
    """The numbers that a regression network gives."""

    values: tuple[NamedValue, ...]


class EmbeddingEvent(_Event):
    """Who, or what, a picture shows."""

    label: str | None = Field(description="the nearest name of the gallery, or unknown; null without a gallery")
    similarity: float | None = Field(description="the cosine with it, four decimals; null without a gallery")
    vector: tuple[float, ...] | None = Field(description="of length 1, six decimals; null with a gallery")


class SegmentationEvent(_Event):
    """How much of a frame is of each class; classes that are nowhere are left out."""

    areas: tuple[ClassArea, ...]


class Event(
    RootModel[ClassificationEvent | DetectionEvent | TagsEvent | MeasurementsEvent | EmbeddingEvent | SegmentationEvent]
):
    """A line of what ``edgecnn run --events`` writes."""


def name_run() -> str:
    """A name for a run that no other run has, on any machine: when it began (UTC), and eight random digits."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(4)}"


def event_of(run: str, frame: Frame, result: Result, age_ns: int) -> Event:
    """The event of one frame.

    Args:
        run: The name of the run.
        frame: Its picture is not looked at.
        result: Of the network.
        age_ns: From the frame's arrival to the result.
    """
    # The clock on the wall is asked each time: on a board without a battery it is set while the run goes on.
    arrival_ns = time.time_ns() - (time.monotonic_ns() - frame.captured_ns)
    when: dict[str, object] = {
        "id": f"{run}/{frame.source}/{frame.index}",
        "source": frame.source,
        "frame": frame.index,
        "time": round(arrival_ns / 1e9, 3),
        "age_ms": round(age_ns / 1e6, 3),
    }
    if frame.span is not None:
        span = frame.span
        when["window"] = {"file": span.file, "begin_s": round(span.begin_s, 6), "end_s": round(span.end_s, 6)}
    match result:
        case Classification():
            content = {"classes": _classes(result)}
        case Detections():
            content = _objects(result)
        case Tags():
            content = {"tags": _classes(result)}
        case Measurements():
            named = zip(result.labels, result.values, result.units, strict=True)
            content = {"values": [{"label": label, "value": value, "unit": unit} for label, value, unit in named]}
        case Embedding():
            similarity = None if result.similarity is None else round(result.similarity, 4)
            vector = [round(value, 6) for value in result.vector.tolist()] if result.label is None else None
            content = {"label": result.label, "similarity": similarity, "vector": vector}
        case Segmentation():
            shares = enumerate(zip(result.labels, result.shares, strict=True))
            areas = [
                {"class": number, "label": label, "share": round(share, 4)}
                for number, (label, share) in shares
                if share
            ]
            content = {"areas": areas}
    return Event.model_validate(when | content)


def _classes(result: Classification | Tags) -> list[dict[str, Any]]:
    named = zip(result.classes, result.labels, result.probabilities, strict=True)
    return [
        {"class": number, "label": label, "probability": round(part, 4) if math.isfinite(part) else None}
        for number, label, part in named
    ]


def _objects(result: Detections) -> dict[str, Any]:
    rows = zip(result.classes.tolist(), result.labels, result.scores.tolist(), result.boxes_xyxy.tolist(), strict=True)
    tracks = [None] * len(result) if result.tracks is None else [number or None for number in result.tracks.tolist()]
    objects = [
        {
            "class": number,
            "label": label,
            "score": round(score, 4),
            "box_xyxy": [round(edge, 1) for edge in box],
            "track": track,
        }
        for (number, label, score, box), track in zip(rows, tracks, strict=True)
    ]
    lines = [{"name": line.name, "in": line.into, "out": line.out} for line in result.lines]
    zones = [{"name": zone.name, "inside": zone.inside} for zone in result.zones]
    return {"objects": objects, "lines": lines, "zones": zones}
