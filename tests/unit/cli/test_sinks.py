"""Which sinks a run gets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.cli.sink_options import SinkOptions
from edgecnn.cli.sinks import open_sinks
from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import Metrics

RESULT = Classification((1,), (1.0,), ("b",))


@dataclass
class _Source:
    name: str
    live: bool = False
    fps: float = 10.0


def frame(index: int, source: str) -> Frame:
    return Frame(index, 0, np.full((120, 160, 3), 80, np.uint8), source)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Metrics]:
    """Puts three frames of each source into the sinks of some options."""

    def make(options: SinkOptions, *sources: _Source) -> Metrics:
        metrics = Metrics()
        with open_sinks(options, sources, metrics, lambda: None) as sinks:  # type: ignore[arg-type]
            for index in range(3):
                for source in sources:
                    for worker in sinks.workers:
                        worker.put(frame(index, source.name), RESULT, 0)
        assert sinks.failure() is None
        return metrics

    return make


def test_several_sources_have_a_video_each_and_events_in_common(run: Any, tmp_path: Path) -> None:
    options = SinkOptions(events=str(tmp_path / "events.jsonl"), save=tmp_path / "out.mp4")
    metrics = run(options, _Source("door"), _Source("rtsp://host:554/a b"), _Source("door"))
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == [
        "out-door-0.mp4",
        "out-door-2.mp4",
        "out-rtsp-host-554-a-b.mp4",
    ]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["source"] for event in events[:3]] == ["door", "rtsp://host:554/a b", "door"]
    assert len(events) == 9
    sinks = metrics.snapshot().sinks
    assert sinks["save rtsp://host:554/a b"].written == 3
    assert {sink.state for sink in sinks.values()} == {"closed"}


def test_one_source_has_the_file_that_was_named(run: Any, tmp_path: Path) -> None:
    run(SinkOptions(save=tmp_path / "out.mkv"), _Source("door", live=True))
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]


def test_what_was_opened_is_closed_where_another_is_refused(tmp_path: Path) -> None:
    options = SinkOptions(events=str(tmp_path / "events.jsonl"), events_rotate="1MB", save=tmp_path / "out.avi")
    for _ in range(2):  # the second would find the file locked
        with (
            pytest.raises(InputError, match="must end in"),
            open_sinks(options, [_Source("door")], Metrics(), lambda: None),  # type: ignore[list-item]
        ):
            pass
