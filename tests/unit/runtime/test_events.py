"""Events of results over time."""

from __future__ import annotations

import json

import numpy as np

from edgecnn.core.frame import UNKNOWN, Classification, Detections, Frame, LineCount, Tags, ZoneCount
from edgecnn.runtime.events import event_of

FRAME = Frame(0, 0, np.zeros((8, 8, 3), np.uint8))


def test_numbers_and_counts_of_objects() -> None:
    found = Detections(
        np.float32([[0, 0, 4, 4], [1, 1, 5, 5]]),
        np.float32([0.9, 0.5]),
        np.int64([0, 1]),
        ("person", "car"),
        np.int64([12, 0]),
        (LineCount("door", ((0, 0), (1, 1)), {"person": 3}, {}),),
        (ZoneCount("yard", ((0, 0), (1, 1), (1, 0)), {"car": 1}),),
    )

    event = json.loads(event_of("run", FRAME, found, 0).model_dump_json(by_alias=True))

    assert [entry["track"] for entry in event["objects"]] == [12, None]
    assert event["lines"] == [{"name": "door", "in": {"person": 3}, "out": {}}]
    assert event["zones"] == [{"name": "yard", "inside": {"car": 1}}]


def test_what_is_unknown_is_named_first() -> None:
    result = Classification((UNKNOWN, 1), (0.6, 0.4), ("unknown", "cat"))

    event = json.loads(event_of("run", FRAME, result, 0).model_dump_json(by_alias=True))

    assert event["classes"][0] == {"class": -1, "label": "unknown", "probability": 0.6}


def test_labels_that_are_there_and_none() -> None:
    for labels, numbers in ((("dog", "cat"), (3, 1)), ((), ())):
        parts = tuple(0.9 - 0.1 * place for place in range(len(labels)))
        result = Tags(numbers, parts, labels, np.zeros(4))

        event = json.loads(event_of("run", FRAME, result, 0).model_dump_json(by_alias=True))

        assert [tag["label"] for tag in event["tags"]] == list(labels)
        assert [tag["class"] for tag in event["tags"]] == list(numbers)
