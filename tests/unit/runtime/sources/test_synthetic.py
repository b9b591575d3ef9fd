"""The test picture and its pace."""

from __future__ import annotations

import time
from itertools import islice

import numpy as np
import pytest

from edgecnn.runtime.sources.synthetic import SyntheticSource, parse_synthetic


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("synthetic://", (640, 480, 30.0)),
        ("synthetic://@15", (640, 480, 15.0)),
        ("synthetic://1280x720", (1280, 720, 30.0)),
        ("synthetic://32x16@0.5", (32, 16, 0.5)),
        ("synthetic://1x1@1000", (1, 1, 1000.0)),
    ],
)
def test_parse(address: str, parsed: tuple[int, int, float]) -> None:
    assert parse_synthetic(address) == parsed


def test_frames_come_at_their_time_and_never_early() -> None:
    with SyntheticSource(32, 16, 100.0) as source:
        frames = list(islice(source, 31))
    assert [frame.index for frame in frames] == list(range(31))
    for frame in frames:
        # 1 ms: the first frame's own time is taken after the clock began to run.
        assert frame.captured_ns - frames[0].captured_ns >= 1e9 * frame.index / 100 - 1e6
    # A pace that a busy machine can hold: a third of what was asked for.
    assert frames[-1].captured_ns - frames[0].captured_ns < 0.9e9


def test_a_late_frame_is_not_skipped_and_the_next_keep_to_the_clock() -> None:
    with SyntheticSource(32, 16, 50.0) as source:
        frames = iter(source)
        first = next(frames)
        time.sleep(0.2)
        later = list(islice(frames, 14))
    assert [frame.index for frame in later] == list(range(1, 15))
    waited = [frame.captured_ns - first.captured_ns for frame in later]
    # 9 were due during the pause and come at once; a source that only paused between frames would take 0.2 s more.
    assert waited[8] < 0.2e9 + 0.15e9
    assert waited[13] >= 0.28e9 - 1e6


def test_picture_moves_and_belongs_to_the_reader() -> None:
    with SyntheticSource(64, 48, 200.0) as source:
        first, *_, last = islice(source, 60)
    assert first.image.shape == (48, 64, 3)
    assert first.image.dtype == np.uint8
    assert np.any(first.image != last.image)
    assert not np.shares_memory(first.image, last.image)


def test_leaving_ends_an_iteration_that_waits() -> None:
    source = SyntheticSource(8, 8, 0.01)
    frames = iter(source)
    next(frames)
    source.__exit__(None, None, None)
    assert next(frames, None) is None
