"""GStreamer pipelines as sources, for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Frame
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import EdgecnnError, InputError
from edgecnn.runtime.metrics import SourceMetrics
from edgecnn.runtime.pipeline import run_pipeline
from edgecnn.runtime.sources import live
from edgecnn.runtime.sources.base import open_source
from edgecnn.runtime.sources.gst_process import existing_elements
from edgecnn.runtime.sources.live import LiveSource

PACKAGES = "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
LATE_S = 20.0


@pytest.fixture(autouse=True, scope="module")
def _gstreamer() -> None:
    try:
        existing_elements(("videotestsrc",))
    except EdgecnnError as missing:
        pytest.skip(f"{missing.message}: apt-get install {PACKAGES}")


def is_gone(process: int) -> bool:
    """Whether a process has ended, and not as a zombie that still waits for its parent."""
    return not Path(f"/proc/{process}").exists()


def source_of(pipeline: str, metrics: SourceMetrics | None = None, *, wait: bool = True) -> LiveSource:
    source = open_source(f"gst://{pipeline}", metrics=metrics, wait=wait)
    assert isinstance(source, LiveSource)
    return source


def process_of(source: LiveSource) -> int:
    assert source._process is not None
    return source._process.pid


def test_every_frame_comes_and_the_end_of_the_pipeline_is_the_end() -> None:
    with source_of("videotestsrc num-buffers=50 pattern=blue") as source:
        frames = list(source)
        assert source.live
        assert source.fps == 30.0
    assert [frame.index for frame in frames] == list(range(50))
    for frame in frames:
        assert frame.image.shape == (240, 320, 3)
        assert frame.image.reshape(-1, 3).tolist()[:2] == [[255, 0, 0]] * 2  # BGR
    assert not np.shares_memory(frames[0].image, frames[1].image)


@pytest.mark.parametrize(("width", "height"), [(322, 241), (321, 120), (323, 64), (8, 8)])
@pytest.mark.parametrize("form", ["BGR", "GRAY8", "GRAY16_LE", "I420"])
def test_rows_that_gstreamer_fills_up_are_whole(width: int, height: int, form: str) -> None:
    # Left half white, right half black, in every row and every frame.
    board = f"videotestsrc num-buffers=3 pattern=white ! videobox right=-{width - width // 2} ! videoconvert"
    with source_of(f"{board} ! video/x-raw,format={form},width={width},height={height}") as source:
        frames = list(source)
    assert len(frames) == 3
    for frame in frames:
        assert (frame.image.shape, frame.image.dtype) == ((height, width, 3), np.uint8)
        assert frame.image[:, : width // 2 - 1].min() > 200
        assert frame.image[:, width // 2 + 1 :].max() < 50


def test_a_frame_that_is_kept_is_not_written_over() -> None:
    with source_of("videotestsrc num-buffers=60 pattern=ball") as source:
        kept = [(frame, frame.image.copy()) for frame in source]
    assert len(kept) == 60
    for frame, copy in kept:
        np.testing.assert_array_equal(frame.image, copy)


def test_frames_that_nobody_has_time_for_are_counted() -> None:
    metrics = SourceMetrics()
    with source_of("videotestsrc is-live=true ! video/x-raw,framerate=100/1", metrics, wait=False) as source:
        frames = iter(source)
        next(frames)
        time.sleep(1.0)  # more frames than there are slots
        indices = [frame.index for frame in islice(frames, 30)]
    dropped = metrics.snapshot().dropped["source"]
    assert dropped > 10
    assert indices[-1] == 30 + dropped


def test_the_capture_time_is_that_of_the_pipelines_clock() -> None:
    # A queue that holds 0.3 s back, as an encoder or a network would.
    delay = "queue min-threshold-time=300000000 max-size-time=0 max-size-bytes=0 max-size-buffers=0"
    with source_of(f"videotestsrc is-live=true ! {delay}", wait=False) as source:
        ages_s = [(time.monotonic_ns() - frame.captured_ns) / 1e9 for frame in islice(source, 20)]
    assert 0.25 < min(ages_s[5:]) < 0.6


def test_the_size_changes_in_mid_stream(tmp_path: Path) -> None:
    for number, (width, height) in enumerate(((64, 48), (160, 120))):
        pictures = f"videotestsrc num-buffers=20 ! video/x-raw,width={width},height={height} ! jpegenc"
        command = f"gst-launch-1.0 -q {pictures} ! multifilesink location={tmp_path}/{number}%02d.jpg"
        subprocess.run(command.split(), check=True)
    for index, path in enumerate(sorted(tmp_path.glob("*.jpg"))):
        path.rename(tmp_path / f"frame{index:03d}.jpg")
    with source_of(f"multifilesrc location={tmp_path}/frame%03d.jpg ! jpegdec") as source:
        sizes = [frame.image.shape[:2] for frame in source]
    assert sizes == [(48, 64)] * 20 + [(120, 160)] * 20


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("gst://nonexistentsrc", 'no element "nonexistentsrc"'),
        ("gst://videotestsrc ! !", "syntax error"),
        ("/dev/video99", "Cannot identify device '/dev/video99'"),
        ("gst://filesrc location=/nowhere ! decodebin", "Could not open file"),
    ],
)
def test_a_pipeline_that_cannot_run_is_answered_in_gstreamers_words(address: str, complaint: str) -> None:
    with open_source(address) as source, pytest.raises(InputError) as caught:
        next(iter(source))
    assert caught.value.message.startswith(f"source {address}: ")
    assert complaint in caught.value.message or "not found" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_leaving_ends_the_child() -> None:
    with source_of("videotestsrc is-live=true") as source:
        frames = iter(source)  # held, as its end is that of the child
        assert next(frames).index == 0
        process = process_of(source)
        assert not is_gone(process)
    assert is_gone(process)


def test_leaving_ends_a_child_that_does_not_listen() -> None:
    with source_of("videotestsrc is-live=true") as source:
        frames = iter(source)  # held, as its end is that of the child
        assert next(frames).index == 0
        process = process_of(source)
        os.kill(process, signal.SIGSTOP)  # as in a driver: SIGTERM waits until it goes on
    assert is_gone(process)


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL, signal.SIGSEGV], ids=lambda how: how.name)
def test_a_child_that_hangs_or_dies_is_started_again(monkeypatch: pytest.MonkeyPatch, how: signal.Signals) -> None:
    monkeypatch.setattr(live, "_SILENT_S", 0.5)
    metrics = SourceMetrics()
    with source_of("videotestsrc is-live=true", metrics, wait=False) as source:
        frames = iter(source)
        first = next(frames)
        process = process_of(source)
        os.kill(process, how)
        after = next(frame for frame in frames if process_of(source) != process)
        assert is_gone(process)
    assert after.index > first.index
    assert metrics.snapshot().reconnects == 1


_PARENT = """
import sys, time
from edgecnn.runtime.sources.base import open_source
source = open_source("gst://videotestsrc is-live=true")
for frame in source:
    print(source._process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_no_child_outlives_a_parent_that_is_killed(stopped: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        if stopped:
            os.kill(child, signal.SIGSTOP)
        parent.kill()
    end = time.monotonic() + LATE_S
    while not is_gone(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert is_gone(child)


def test_ctrl_c_at_the_terminal_is_not_for_the_child() -> None:
    with source_of("videotestsrc is-live=true") as source:
        frames = iter(source)
        next(frames)
        assert os.getpgid(process_of(source)) != os.getpgrp()


def test_a_run_ends_and_nothing_is_left() -> None:
    before, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 8, 8), (1, 3))
    classifier = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")
    source = source_of("videotestsrc is-live=true", wait=False)
    result = run_pipeline([source], session, classifier, [], threading.Event(), max_frames=10)
    assert not result.failures
    assert result.report.processed == 10
    assert set(threading.enumerate()) <= before
    assert len(os.listdir("/proc/self/fd")) <= files


class _Holding:
    """Keeps every frame, as a sink that has fallen behind does."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def put(self, frame: Frame, result: object, age_ns: int) -> None:
        self.frames.append(frame)

    def close(self, timeout_s: float) -> None:
        pass


def test_frames_that_sinks_keep_do_not_hold_up_the_camera() -> None:
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 8, 8), (1, 3))
    classifier = Classifier(Preprocess(size_hw=(8, 8)), ("red", "green", "blue"), "logits")
    sink = _Holding()
    source = source_of("videotestsrc is-live=true ! video/x-raw,framerate=60/1", wait=False)
    run_pipeline([source], session, classifier, [sink], threading.Event(), max_frames=40)
    assert len({frame.index for frame in sink.frames}) == 40
