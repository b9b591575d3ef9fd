"""Results as lines of JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.core.frame import Classification, Detections, Frame
from edgecnn.runtime.sinks.jsonlines import JsonLinesSink

FrameOf = Callable[..., Frame]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=_refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_a_line_for_each_frame_readable_at_once(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "new" / "events.jsonl"
    sink = JsonLinesSink(path)
    sink.write(frame_of(12), result, 3_214_567)
    assert lines(path) == [
        {
            "frame": 12,
            "time": lines(path)[0]["time"],
            "age_ms": 3.215,
            "classes": [
                {"class": 1, "label": "süß", "probability": 0.75},
                {"class": 0, "label": "b", "probability": 0.25},
            ],
        }
    ]
    sink.write(frame_of(14), result, 0)
    assert [line["frame"] for line in lines(path)] == [12, 14]
    sink.close()


def test_time_is_the_frames_arrival_in_utc(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    sink = JsonLinesSink(tmp_path / "events.jsonl")
    sink.write(frame_of(0, captured_s=time.monotonic() - 5.0), result, 0)
    sink.close()
    assert abs(lines(tmp_path / "events.jsonl")[0]["time"] - (time.time() - 5.0)) < 1.0


def test_a_second_run_appends(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "events.jsonl"
    for index in (1, 2):
        sink = JsonLinesSink(path)
        sink.write(frame_of(index), result, 0)
        sink.close()
    assert [line["frame"] for line in lines(path)] == [1, 2]


def test_a_line_that_a_power_cut_left_unfinished_spoils_no_other(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"frame": 0}\n{"fra')
    sink = JsonLinesSink(path)
    sink.write(frame_of(1), result, 0)
    sink.close()
    first, broken, last = path.read_text(encoding="utf-8").splitlines()
    assert (json.loads(first)["frame"], broken, json.loads(last)["frame"]) == (0, '{"fra', 1)


def test_what_is_no_number_is_null(tmp_path: Path, frame_of: FrameOf) -> None:
    sink = JsonLinesSink(tmp_path / "events.jsonl")
    sink.write(frame_of(0), Classification((0, 1, 2), (math.nan, 0.0, math.inf), ("a", "b", "c")), 0)
    sink.close()
    (line,) = lines(tmp_path / "events.jsonl")
    assert [found["probability"] for found in line["classes"]] == [None, 0.0, None]


def test_objects_have_a_box_in_pixels(tmp_path: Path, frame_of: FrameOf) -> None:
    found = Detections(
        boxes_xyxy=np.float32([[1.26, 2, 30.04, 40], [0, 0, 320, 120]]),
        scores=np.float32([0.123456, 0.1]),
        classes=np.int64([1, 0]),
        labels=("süß", "b"),
    )
    sink = JsonLinesSink(tmp_path / "events.jsonl")
    sink.write(frame_of(3), found, 0)
    sink.write(frame_of(4), found.above(0.5), 0)
    sink.close()
    first, second = lines(tmp_path / "events.jsonl")
    assert first["objects"] == [
        {"class": 1, "label": "süß", "score": 0.1235, "box_xyxy": [1.3, 2.0, 30.0, 40.0]},
        {"class": 0, "label": "b", "score": 0.1, "box_xyxy": [0.0, 0.0, 320.0, 120.0]},
    ]
    assert (first["frame"], second["frame"], second["objects"]) == (3, 4, [])
    assert "classes" not in first
