"""The hand-over between the two threads."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.buffer import LATEST, WAIT, DropPolicy, FrameBuffer, Turns, parse_policy
from edgecnn.runtime.metrics import SourceMetrics

PIXEL = np.zeros((1, 1, 3), np.uint8)
# Long enough that a thread which can go on has gone on, short enough to wait for.
SOON_S = 0.2
LATE_S = 10.0


def frame(index: int) -> Frame:
    return Frame(index, 0, PIXEL)


class _CountedBuffer(FrameBuffer):
    """A buffer whose metrics are looked at."""

    def __init__(self, policy: DropPolicy) -> None:
        self.metrics = SourceMetrics()
        super().__init__(policy, self.metrics)

    @property
    def received(self) -> int:
        return self.metrics.counts[0]

    @property
    def dropped(self) -> int:
        return self.metrics.counts[1]


def put_all(buffer: FrameBuffer, count: int) -> threading.Thread:
    """Put frames in a thread, and close behind the last."""

    def work() -> None:
        for index in range(count):
            buffer.put(frame(index))
        buffer.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_latest_keeps_the_newest_and_counts_the_others() -> None:
    buffer = _CountedBuffer(LATEST)
    assert all(buffer.put(frame(index)) for index in range(5))
    taken = buffer.take(0)
    assert taken is not None
    assert (taken.index, buffer.received, buffer.dropped) == (4, 5, 4)
    assert buffer.take(0) is None


def test_wait_holds_the_producer_and_loses_nothing() -> None:
    buffer = _CountedBuffer(WAIT)
    producer = put_all(buffer, 50)
    producer.join(SOON_S)
    assert producer.is_alive()
    assert buffer.received < 10
    taken = [found.index for _ in range(50) if (found := buffer.take(LATE_S)) is not None]
    assert taken == list(range(50))
    assert (buffer.received, buffer.dropped) == (50, 0)


def test_close_wakes_a_producer_that_waits() -> None:
    buffer = _CountedBuffer(WAIT)
    answers: list[bool] = []
    producer = threading.Thread(target=lambda: answers.extend(buffer.put(frame(0)) for _ in range(20)), daemon=True)
    producer.start()
    producer.join(SOON_S)
    buffer.close()
    producer.join(LATE_S)
    assert not producer.is_alive()
    assert answers[0] is True
    assert answers[-1] is False


def test_close_wakes_a_consumer_that_waits() -> None:
    buffer = _CountedBuffer(LATEST)
    threading.Timer(0.05, buffer.close).start()
    begin = time.monotonic()
    assert buffer.take(LATE_S) is None
    assert time.monotonic() - begin < LATE_S / 2
    assert buffer.finished


def test_frames_that_wait_can_be_taken_after_close() -> None:
    buffer = _CountedBuffer(WAIT)
    buffer.put(frame(7))
    buffer.close()
    assert not buffer.finished
    taken = buffer.take(0)
    assert taken is not None
    assert taken.index == 7
    assert buffer.finished
    assert buffer.put(frame(8)) is False
    assert buffer.received == 1


@given(st.lists(st.sampled_from(["put", "take"]), max_size=60), st.integers(0, 60))
def test_latest_is_a_box_for_one_frame(steps: list[str], close_at: int) -> None:
    buffer = _CountedBuffer(LATEST)
    box: deque[int] = deque(maxlen=1)
    received = dropped = 0
    for number, step in enumerate(steps):
        if number == close_at:
            buffer.close()
        if step == "put":
            assert buffer.put(frame(number)) is (number < close_at)
            if number < close_at:
                received, dropped = received + 1, dropped + len(box)
                box.append(number)
        else:
            taken = buffer.take(0)
            assert (None if taken is None else taken.index) == (box.pop() if box else None)
        assert (buffer.received, buffer.dropped) == (received, dropped)


@pytest.mark.parametrize("policy", [LATEST, WAIT], ids=str)
@settings(max_examples=25, deadline=None)
@given(pauses=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_whatever_the_threads_do_frames_stay_in_order_and_are_accounted_for(
    policy: DropPolicy, pauses: list[tuple[int, int]]
) -> None:
    buffer = _CountedBuffer(policy)

    def produce() -> None:
        for index, (pause_ms, _) in enumerate(pauses):
            time.sleep(pause_ms / 1000)
            buffer.put(frame(index))
        buffer.close()

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    taken: list[int] = []
    while not buffer.finished:
        found = buffer.take(LATE_S)
        if found is not None:
            time.sleep(pauses[found.index][1] / 1000)
            taken.append(found.index)
    thread.join(LATE_S)
    assert taken == sorted(set(taken))
    assert taken[-1] == len(pauses) - 1  # the newest is never lost
    assert buffer.received == len(pauses) == len(taken) + buffer.dropped
    assert policy.drops or buffer.dropped == 0


def test_drop_oldest_keeps_the_newest_in_order() -> None:
    buffer = _CountedBuffer(parse_policy("drop-oldest:3"))
    for index in range(8):
        buffer.put(frame(index))
    assert [found.index for _ in range(3) if (found := buffer.take(0)) is not None] == [5, 6, 7]
    assert (buffer.received, buffer.dropped) == (8, 5)
    assert buffer.metrics.snapshot().dropped == {"buffer": 5}


@pytest.mark.parametrize("text", ["latest", "wait", "drop-oldest:2", "drop-oldest:40"])
def test_policies_read_as_they_are_written(text: str) -> None:
    assert str(parse_policy(text)) == text


@pytest.mark.parametrize("text", ["", "newest", "drop-oldest", "drop-oldest:0", "drop-oldest:-1", "drop-oldest:x"])
def test_another_policy_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"--drop {text}: not a drop policy"):
        parse_policy(text)


def test_buffers_take_turns_however_many_frames_one_has() -> None:
    buffers = [_CountedBuffer(parse_policy("drop-oldest:50")) for _ in range(3)]
    turns = Turns(buffers)
    assert turns.take() is None
    for index in range(30):
        buffers[0].put(frame(index))
    for index in range(4):
        buffers[1].put(frame(100 + index))
        buffers[2].put(frame(200 + index))
    taken = [found[1].index for _ in range(12) if (found := turns.take()) is not None]
    assert taken == [0, 100, 200, 1, 101, 201, 2, 102, 202, 3, 103, 203]
    assert turns.waiting
    for buffer in buffers:
        buffer.close()
    assert not turns.finished
    while turns.take() is not None:
        pass
    assert turns.finished
