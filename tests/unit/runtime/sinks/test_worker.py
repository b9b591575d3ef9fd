"""A sink's thread: order, room, and what it makes of a sink that fails."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.metrics import SinkMetrics
from edgecnn.runtime.sinks import worker
from edgecnn.runtime.sinks.base import Delivery
from edgecnn.runtime.sinks.worker import SinkWorker

FrameOf = Callable[..., Frame]
LONG_S = 20.0


class _Scripted:
    """Keeps what it gets; each write asks ``then`` first."""

    def __init__(self, then: Callable[[Frame], None] = lambda _: None) -> None:
        self.frames: list[Frame] = []
        self.closed = 0
        self._then = then

    def write(self, frame: Frame, result: Classification, age_ns: int) -> None:
        self._then(frame)
        self.frames.append(frame)

    def close(self) -> None:
        self.closed += 1

    @property
    def indices(self) -> list[int]:
        return [frame.index for frame in self.frames]


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def metrics() -> SinkMetrics:
    return SinkMetrics()


@pytest.fixture
def said() -> list[str]:
    return []


def test_every_result_in_order_where_files_are_written(
    metrics: SinkMetrics, frame_of: FrameOf, result: Classification
) -> None:
    sink = _Scripted(lambda _: time.sleep(0.001))
    hands = SinkWorker(sink, "events", metrics, wait=True, room=2)
    for index in range(50):
        hands.put(frame_of(index), result, 0)
    hands.close(LONG_S)
    assert (sink.indices, sink.closed) == (list(range(50)), 1)
    found = metrics.snapshot()
    assert (found.state, found.written, found.dropped, found.waiting) == ("closed", 50, 0, 0)


def test_a_sink_that_hangs_costs_the_oldest_and_no_time(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification
) -> None:
    go, inside = threading.Event(), threading.Event()

    def hang(_: Frame) -> None:
        inside.set()
        assert go.wait(LONG_S)

    sink = _Scripted(hang)
    hands = SinkWorker(sink, "slow", metrics, wait=False, room=3, say=said.append)
    hands.put(frame_of(0), result, 0)
    assert inside.wait(LONG_S)
    for index in range(1, 11):
        hands.put(frame_of(index), result, 0)
    assert metrics.snapshot().dropped == 7
    hands.close(0.01)
    assert said == ["slow: did not finish in 0.01 s"]
    assert metrics.snapshot().state == "failing"
    assert metrics.snapshot().dropped == 10
    hands.put(frame_of(11), result, 0)
    assert metrics.snapshot().dropped == 11
    go.set()
    wait_for(lambda: sink.closed)
    assert sink.indices == [0]


def test_the_newest_remain(metrics: SinkMetrics, frame_of: FrameOf, result: Classification) -> None:
    go, inside = threading.Event(), threading.Event()

    def hang(_: Frame) -> None:
        inside.set()
        assert go.wait(LONG_S)

    sink = _Scripted(hang)
    hands = SinkWorker(sink, "slow", metrics, wait=False, room=3)
    hands.put(frame_of(0), result, 0)
    assert inside.wait(LONG_S)
    for index in range(1, 11):
        hands.put(frame_of(index), result, 0)
    go.set()
    hands.close(LONG_S)
    assert sink.indices == [0, 8, 9, 10]


def test_a_full_disk_is_said_once_and_tried_again(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_FIRST_RETRY_S", 0.01)
    full = [True]

    def write(_: Frame) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device", "events.jsonl")

    sink = _Scripted(write)
    hands = SinkWorker(sink, "events", metrics, wait=True, say=said.append)
    for index in range(20):
        hands.put(frame_of(index), result, 0)
        time.sleep(0.002)
    wait_for(lambda: metrics.snapshot().dropped == 20)
    assert said == ["events: events.jsonl: no room left on the disk; it is tried again, the rest goes on"]
    assert metrics.snapshot().state == "failing"
    full[0] = False
    index = 20
    while not sink.frames:
        hands.put(frame_of(index), result, 0)
        index += 1
        time.sleep(0.005)
    wait_for(lambda: metrics.snapshot().state == "running")
    hands.close(LONG_S)
    found = metrics.snapshot()
    assert (found.written + found.dropped, found.state, hands.trouble()) == (index, "closed", "")
    assert said[1] == f"events: works again; {found.dropped} results were lost"
    assert len(said) == 2


def test_results_that_wait_for_a_full_disk_get_their_last_chance_at_the_end(
    metrics: SinkMetrics, frame_of: FrameOf, result: Classification
) -> None:
    go = threading.Event()

    def write(frame: Frame) -> None:
        if frame.index == 0:
            assert go.wait(LONG_S)
            raise OSError(errno.ENOSPC, "full")

    sink = _Scripted(write)
    hands = SinkWorker(sink, "events", metrics, wait=True)
    hands.put(frame_of(0), result, 0)
    hands.put(frame_of(1), result, 0)
    threading.Timer(0.2, go.set).start()
    hands.close(LONG_S)
    assert (sink.indices, metrics.snapshot().dropped) == ([1], 1)


def test_another_error_ends_the_sink_and_no_more(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification
) -> None:
    def write(frame: Frame) -> None:
        if frame.index == 2:
            raise EnvironmentMissing("--save out.mp4: no room left on the disk", "free some")

    sink = _Scripted(write)
    hands = SinkWorker(sink, "video", metrics, wait=True, say=said.append)
    for index in range(10):
        hands.put(frame_of(index), result, 0)
    hands.close(LONG_S)
    assert (sink.indices, sink.closed) == ([0, 1], 1)
    assert said == ["--save out.mp4: no room left on the disk; free some"]
    assert hands.trouble() == said[0]
    found = metrics.snapshot()
    assert (found.state, found.reason, found.written, found.dropped) == ("failing", said[0], 2, 8)


def test_an_error_while_closing_is_said(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification
) -> None:
    class _Cut(_Scripted):
        def close(self) -> None:
            raise OSError(errno.EIO, "Input/output error", "out.mp4")

    hands = SinkWorker(_Cut(), "video", metrics, wait=True, say=said.append)
    hands.put(frame_of(0), result, 0)
    hands.close(LONG_S)
    assert said == ["video: out.mp4: Input/output error"]
    assert metrics.snapshot().state == "failing"


def test_a_bug_is_named_as_one(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification
) -> None:
    hands = SinkWorker(_Scripted(lambda _: [].pop()), "page", metrics, wait=False, say=said.append)
    hands.put(frame_of(0), result, 0)
    hands.close(LONG_S)
    assert said == ["page: a bug in edgecnn: IndexError: pop from empty list"]


def test_where_no_pictures_are_looked_at_none_wait(
    metrics: SinkMetrics, frame_of: FrameOf, result: Classification
) -> None:
    sink = _Scripted()
    hands = SinkWorker(sink, "events", metrics, wait=True, pictures=False)
    hands.put(frame_of(7), result, 0)
    hands.close(LONG_S)
    assert (sink.indices, sink.frames[0].image.size) == ([7], 0)


def test_somebody_who_is_away_is_said_once_and_again_when_back(
    metrics: SinkMetrics, said: list[str], frame_of: FrameOf, result: Classification
) -> None:
    class _Sending(_Scripted):
        now = Delivery()

        def delivery(self) -> Delivery:
            return self.now

    sink = _Sending()
    hands = SinkWorker(sink, "mqtt", metrics, wait=False, say=said.append)
    hands.put(frame_of(0), result, 0)
    sink.now = Delivery(waiting=12, dropped=3, trouble="mqtt: the broker is away")
    wait_for(lambda: metrics.snapshot().state == "failing")
    found = metrics.snapshot()
    assert (found.waiting, found.dropped, found.reason) == (12, 3, "mqtt: the broker is away")
    sink.now = Delivery(dropped=3)
    wait_for(lambda: metrics.snapshot().state == "running")
    hands.close(LONG_S)
    assert said == ["mqtt: the broker is away", "mqtt: works again; 0 results are still to be sent"]
    assert metrics.snapshot().dropped == 3
