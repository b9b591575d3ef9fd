"""Results as other programs read them: one JSON object for each frame."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field, RootModel

from edgecnn.core.frame import Classification
from edgecnn.core.usage import Result


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NamedClass(_Part):
    """A class that a classifier names."""

    number: int = Field(alias="class", description="counted from 0")
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


class _Event(_Part):
    frame: int = Field(description="counts the frames that the source delivered, from 0, dropped ones included")
    time: float = Field(description="the frame's arrival in seconds since 1970 (UTC)")
    age_ms: float = Field(description="from the frame's arrival to its result")


class ClassificationEvent(_Event):
    """What a classifier says about a frame, most probable first."""

    classes: tuple[NamedClass, ...]


class DetectionEvent(_Event):
    """What a detector finds in a frame, best first."""

    objects: tuple[DetectedObject, ...]


class Event(RootModel[ClassificationEvent | DetectionEvent]):
    """A line of what ``edgecnn run --events`` writes."""


def event_of(frame: int, arrival_ns: int, age_ns: int, result: Result) -> Event:
    """The event of one frame.

    Args:
        frame: Its index.
        arrival_ns: Its arrival in nanoseconds since 1970.
        age_ns: From its arrival to the result.
        result: Of the network.
    """
    when = {"frame": frame, "time": round(arrival_ns / 1e9, 3), "age_ms": round(age_ns / 1e6, 3)}
    if isinstance(result, Classification):
        named = zip(result.classes, result.labels, result.probabilities, strict=True)
        classes = [
            {"class": number, "label": label, "probability": round(part, 4) if math.isfinite(part) else None}
            for number, label, part in named
        ]
        return Event.model_validate(when | {"classes": classes})
    rows = zip(result.classes.tolist(), result.labels, result.scores.tolist(), result.boxes_xyxy.tolist(), strict=True)
    objects = [
        {"class": number, "label": label, "score": round(score, 4), "box_xyxy": [round(edge, 1) for edge in box]}
        for number, label, score, box in rows
    ]
    return Event.model_validate(when | {"objects": objects})
