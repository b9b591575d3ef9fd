"""Results as lines of JSON."""

from __future__ import annotations

import fcntl
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.core.frame import Classification, Detections, Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sinks.jsonlines import JsonLinesSink, Rotation, parse_rotation

FrameOf = Callable[..., Frame]
RUN = "20261123T060000Z-0123abcd"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line, parse_constant=_refuse) for line in path.read_text(encoding="utf-8").splitlines()]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_a_line_for_each_frame_readable_at_once(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "new" / "events.jsonl"
    sink = JsonLinesSink(path, RUN)
    sink.write(frame_of(12), result, 3_214_567)
    assert lines(path) == [
        {
            "id": f"{RUN}/door/12",
            "source": "door",
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
    sink = JsonLinesSink(tmp_path / "events.jsonl", RUN)
    sink.write(frame_of(0, captured_s=time.monotonic() - 5.0), result, 0)
    sink.close()
    assert abs(lines(tmp_path / "events.jsonl")[0]["time"] - (time.time() - 5.0)) < 1.0


def test_a_second_run_appends(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "events.jsonl"
    for index in (1, 2):
        sink = JsonLinesSink(path, RUN)
        sink.write(frame_of(index), result, 0)
        sink.close()
    assert [line["frame"] for line in lines(path)] == [1, 2]


@pytest.mark.parametrize("cut", ['{"', '{"id":"r/door/7","sour', '{"id":"r/door/7","source":"door","frame":7}'[:-1]])
def test_a_line_that_a_kill_left_unfinished_is_taken_back(
    tmp_path: Path, frame_of: FrameOf, result: Classification, cut: str
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"frame": 0}\n' + cut)
    sink = JsonLinesSink(path, RUN)
    sink.write(frame_of(1), result, 0)
    sink.close()
    assert [line["frame"] for line in lines(path)] == [0, 1]


@pytest.mark.parametrize("last", ["notes of mine", '{"frame": 8}'])
def test_a_last_line_that_is_whole_or_somebody_elses_stays(
    tmp_path: Path, frame_of: FrameOf, result: Classification, last: str
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(last)
    sink = JsonLinesSink(path, RUN)
    sink.write(frame_of(1), result, 0)
    sink.close()
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert (first, json.loads(second)["frame"]) == (last, 1)


def all_frames(path: Path, keep: int) -> list[int]:
    """The frames of a rotated file and its predecessors, oldest first."""
    files = [path.with_name(f"{path.name}.{number}") for number in range(keep, 0, -1)] + [path]
    return [line["frame"] for file in files if file.exists() for line in lines(file)]


def test_a_full_file_makes_room(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLinesSink(path, RUN, Rotation(1000, 3))
    for index in range(100, 200):
        sink.write(frame_of(index), result, 0)
    sink.close()
    names = sorted(found.name for found in tmp_path.iterdir())
    assert names == ["events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3"]
    assert all(found.stat().st_size <= 1000 for found in tmp_path.iterdir())
    assert all(found.stat().st_size > 800 for found in tmp_path.iterdir() if found != path)
    kept = all_frames(path, 3)
    assert kept == list(range(kept[0], 200))
    assert len(kept) > 15


def test_a_number_that_a_kill_left_free_is_taken_first(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    path = tmp_path / "events.jsonl"
    for number in (2, 3):
        path.with_name(f"{path.name}.{number}").write_text(f'{{"frame": {10 - number}}}\n')
    sink = JsonLinesSink(path, RUN, Rotation(250, 3))
    for index in (10, 11):
        sink.write(frame_of(index), result, 0)
    sink.close()
    assert all_frames(path, 3) == [7, 8, 10, 11]


def test_an_event_larger_than_a_file_is_written_all_the_same(
    tmp_path: Path, frame_of: FrameOf, result: Classification
) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLinesSink(path, RUN, Rotation(10, 5))
    for index in range(3):
        sink.write(frame_of(index), result, 0)
    sink.close()
    assert all_frames(path, 5) == [0, 1, 2]


def test_two_runs_do_not_rotate_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    first = JsonLinesSink(path, RUN, Rotation(1000, 3))
    with pytest.raises(InputError, match="another run writes this file"):
        JsonLinesSink(path, RUN, Rotation(1000, 3))
    first.close()
    JsonLinesSink(path, RUN, Rotation(1000, 3)).close()


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path, frame_of: FrameOf, result: Classification) -> None:
    path, away = tmp_path / "events.jsonl", tmp_path / "away"
    sink = JsonLinesSink(path, RUN)
    sink.write(frame_of(0), result, 0)
    path.rename(away)
    sink.write(frame_of(1), result, 0)
    path.unlink()
    sink.write(frame_of(2), result, 0)
    sink.close()
    assert [line["frame"] for line in lines(away)] == [0]
    assert [line["frame"] for line in lines(path)] == [2]


LIMITED = """
import resource, sys
from pathlib import Path
from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sinks.jsonlines import JsonLinesSink, Rotation, parse_rotation
path, result = Path(sys.argv[1]), Classification((1,), (1.0,), ("b",))
sink = JsonLinesSink(path, "r")
resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
for index in range(5):
    try:
        sink.write(Frame(index, 0, None), result, 0)
    except OSError:
        print(index)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.write(Frame(9, 0, None), result, 0)
"""


def test_half_a_line_on_a_full_disk_is_taken_back(tmp_path: Path) -> None:
    """A limit on the file's size lets through what fits, as a disk does that becomes full."""
    path = tmp_path / "events.jsonl"
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "3", "4"]
    assert [line["frame"] for line in lines(path)] == [0, 1, 9]


ENDLESS = """
import itertools, sys
from pathlib import Path
from edgecnn.core.frame import Classification, Frame
from edgecnn.runtime.sinks.jsonlines import JsonLinesSink, Rotation
path = Path(sys.argv[1])
sink = JsonLinesSink(path, "r", Rotation(30_000, 1000))
for index in itertools.count(int(sys.argv[2])):
    count = 1 + index % 150
    result = Classification(tuple(range(count)), (0.5,) * count, ("name",) * count)
    sink.write(Frame(index, 0, None), result, 0)
    print(index, flush=True)
"""


def test_a_kill_at_any_moment_loses_and_tears_no_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    begin = 0
    for wanted in (60, 61, 75):
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, path, str(begin)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert child.stdout is not None
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, 4096)  # the child is not far ahead of what is read
        told = [int(child.stdout.readline()) for _ in range(wanted)]
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().split("\n")[:-1]]
        child.wait()
        child.stdout.close()
        JsonLinesSink(path, RUN).close()  # the next run
        files = len(list(tmp_path.iterdir()))
        frames = all_frames(path, files + 1)
        # What was said to be written is there; one more can have been written and not said.
        assert frames[: told[-1] + 1] == list(range(told[-1] + 1))
        assert len(frames) <= told[-1] + 2
        begin = len(frames)
    assert len(list(tmp_path.iterdir())) > 5


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("100MB:10", Rotation(10**8, 10)), ("1.5kB:1", Rotation(1500, 1)), ("2gb", Rotation(2 * 10**9, 10))],
)
def test_sizes(text: str, wanted: Rotation) -> None:
    assert parse_rotation(text) == wanted


@pytest.mark.parametrize("text", ["", "100", "100MB:0", "0MB:3", "MB", "100MB:", "-1MB", "100MB:3:4", "1TB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--events-rotate"):
        parse_rotation(text)


def test_who_reads_no_more_ends_the_run(frame_of: FrameOf, result: Classification) -> None:
    program = """
import sys
from edgecnn.core.frame import Classification, Frame
from edgecnn.runtime.sinks.jsonlines import StandardOutputSink
stopped = []
sink = StandardOutputSink("r", lambda: stopped.append(1))
index = 0
while not stopped:
    sink.write(Frame(index, 0, None), Classification((1,), (1.0,), ("b",)), 0)
    index += 1
sink.write(Frame(index, 0, None), Classification((1,), (1.0,), ("b",)), 0)
sys.exit(5)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    assert json.loads(child.stdout.readline())["frame"] == 0
    child.stdout.close()
    assert child.stderr.read() == ""
    assert child.wait() == 5
    child.stderr.close()


def test_what_is_no_number_is_null(tmp_path: Path, frame_of: FrameOf) -> None:
    sink = JsonLinesSink(tmp_path / "events.jsonl", RUN)
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
    sink = JsonLinesSink(tmp_path / "events.jsonl", RUN)
    sink.write(frame_of(3), found, 0)
    sink.write(frame_of(4), found.above(0.5), 0)
    sink.close()
    first, second = lines(tmp_path / "events.jsonl")
    assert first["objects"] == [
        {"class": 1, "label": "süß", "score": 0.1235, "box_xyxy": [1.3, 2.0, 30.0, 40.0], "track": None},
        {"class": 0, "label": "b", "score": 0.1, "box_xyxy": [0.0, 0.0, 320.0, 120.0], "track": None},
    ]
    assert (first["frame"], second["frame"], second["objects"]) == (3, 4, [])
    assert "classes" not in first
