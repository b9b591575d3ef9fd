"""GStreamer pipelines as sources, for real."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.runtime.pipeline import run_pipeline
from edgecnn.runtime.sources import gstreamer
from edgecnn.runtime.sources.gstreamer import GStreamerSource

pytestmark = pytest.mark.skipif(
    shutil.which("gst-launch-1.0") is None,
    reason="no gst-launch-1.0: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-base",
)


def is_gone(process: int) -> bool:
    """Whether a process has ended, and not as a zombie that still waits for its parent."""
    return not Path(f"/proc/{process}").exists()


def source_of(elements: str, width: int = 320, height: int = 240) -> GStreamerSource:
    return GStreamerSource(f"{elements} ! videoconvert", width, height, 30.0, name="csi://0")


def test_frames_come_and_the_end_is_a_sentence() -> None:
    with source_of("videotestsrc num-buffers=20 pattern=blue") as source:
        frames = iter(source)
        images = [next(frames) for _ in range(20)]
        with pytest.raises(InputError) as caught:
            next(frames)
        assert source.live
    assert caught.value.message == "source csi://0: the pipeline ended after 20 frames"
    assert [frame.index for frame in images] == list(range(20))
    for frame in images:
        assert frame.image.shape == (240, 320, 3)
        assert frame.image.reshape(-1, 3).tolist()[:2] == [[255, 0, 0]] * 2  # BGR
    assert not np.shares_memory(images[0].image, images[1].image)


@pytest.mark.parametrize(("width", "height"), [(322, 241), (321, 120), (323, 64), (8, 8)])
def test_rows_that_gstreamer_fills_up_are_whole(width: int, height: int) -> None:
    # Left half white, right half black, in every row and every frame.
    board = f"videotestsrc num-buffers=3 pattern=white ! videobox right=-{width - width // 2}"
    with source_of(f"{board} ! video/x-raw,width={width},height={height}", width, height) as source:
        for frame in islice(source, 3):
            assert frame.image.shape == (height, width, 3)
            assert frame.image[:, : width // 2].min() > 200
            assert frame.image[:, width // 2 + 1 :].max() < 50


@pytest.mark.parametrize(
    ("elements", "complaint"),
    [
        ("nonexistentsrc", 'no element "nonexistentsrc"'),
        ("v4l2src device=/dev/video99", "Cannot identify device '/dev/video99'"),
        ("filesrc location=/nowhere", "Resource not found"),
    ],
)
def test_a_pipeline_that_cannot_run_is_answered_in_gstreamers_words(elements: str, complaint: str) -> None:
    with source_of(elements) as source, pytest.raises(InputError) as caught:
        next(iter(source))
    assert caught.value.message.startswith("source csi://0: the pipeline ended after 0 frames: ")
    assert complaint in caught.value.message
    assert "\n" not in caught.value.message
    assert "gst-launch-1.0" in caught.value.hint


def test_leaving_ends_the_child() -> None:
    with source_of("videotestsrc is-live=true") as source:
        process = source._process.pid
        assert next(iter(source)).index == 0
        assert not is_gone(process)
    assert is_gone(process)


def test_leaving_ends_a_child_that_does_not_listen() -> None:
    with source_of("videotestsrc is-live=true") as source:
        process = source._process.pid
        assert next(iter(source)).index == 0
        os.kill(process, signal.SIGSTOP)  # as in a driver: SIGTERM waits until it goes on
        begin = time.monotonic()
    assert is_gone(process)
    assert time.monotonic() - begin < 10


def test_a_camera_that_falls_silent_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with source_of("videotestsrc is-live=true", 64, 48) as source:
        frames = iter(source)
        assert next(frames).index == 0
        os.kill(source._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(gstreamer, "_SILENT_S", 0.3)
        with pytest.raises(InputError, match=r"source csi://0: no picture for 0\.3 s, after \d+ frames"):
            list(frames)


def test_ctrl_c_at_the_terminal_is_not_for_the_child() -> None:
    with source_of("videotestsrc is-live=true") as source:
        assert os.getpgid(source._process.pid) != os.getpgrp()


def test_a_run_ends_and_nothing_is_left() -> None:
    before = set(threading.enumerate())
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 8, 8), (1, 3))
    classifier = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")
    with source_of("videotestsrc is-live=true") as source:
        result = run_pipeline(source, session, classifier, [], threading.Event(), max_frames=10)
    assert result.failure is None
    assert result.report.processed == 10
    assert set(threading.enumerate()) <= before
