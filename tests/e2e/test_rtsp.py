"""An RTSP camera, for real: H.264 over TCP from a GStreamer server on this machine."""

from __future__ import annotations

import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification, Frame
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.runtime.pipeline import RunResult, run_pipeline
from edgecnn.runtime.sources.base import FrameSource, open_source

SYSTEM_PYTHON = Path("/usr/bin/python3")
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
MISSING = 77
CLASSIFIER = Classifier(Preprocess(size_hw=(32, 32)), ("red", "green", "blue"), "logits")
# How long one read may take, and an end, on a busy machine.
READ_TIMEOUT_S, SLACK_S = 5.0, 3.0


class _Server:
    def __init__(self) -> None:
        if not SYSTEM_PYTHON.exists():
            pytest.skip(f"no {SYSTEM_PYTHON}: apt-get install python3 {PACKAGES}")
        script = Path(__file__).with_name("rtsp_server.py")
        self.process = subprocess.Popen([str(SYSTEM_PYTHON), str(script)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.isdigit() and self.process.wait(10) == MISSING:
            pytest.skip(f"no RTSP server ({line}): apt-get install {PACKAGES}")
        self.address = f"rtsp://127.0.0.1:{int(line)}"


@pytest.fixture
def server() -> Iterator[_Server]:
    started = _Server()
    yield started
    started.process.kill()
    started.process.wait()
    assert started.process.stdout is not None
    started.process.stdout.close()


def run(source: FrameSource, *sinks: object, duration_s: float | None = None) -> RunResult:
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 32, 32), (1, 3), seconds=0.005)
    return run_pipeline(source, session, CLASSIFIER, sinks, threading.Event(), duration_s=duration_s)  # type: ignore[arg-type]


class _ClockReader:
    """Tells how old each picture is by the time that is drawn in it."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []

    def write(self, frame: Frame, result: Classification, age_ns: int) -> None:
        bars = frame.image[frame.image.shape[0] // 2, 10::20, 0] > 128
        made_ms = int(np.sum(bars.astype(np.int64) << np.arange(32)))
        self.delays_ms.append(frame.captured_ns / 1e6 - made_ms)

    def close(self) -> None:
        pass


def test_frames_arrive_and_stay_fresh(server: _Server) -> None:
    with open_source(f"{server.address}/test") as source:
        assert source.live
        assert source.fps == 30.0
        result = run(source, duration_s=3.0)
    assert result.failure is None
    report = result.report
    # 90 in 3 s; a third of them is enough on a busy machine.
    assert report.processed > 30
    assert report.frame_age.p99_ms < 100
    assert report.frames_in - report.processed - report.dropped in (0, 1)


def test_no_frames_wait_in_the_decoder(server: _Server) -> None:
    # What a frame's age does not show: FFmpeg's decoder threads each hold a frame of 33 ms back.
    reader = _ClockReader()
    with open_source(f"{server.address}/clock") as source:
        run(source, reader, duration_s=3.0)
    # Opening takes a second, for which frames queue up; then it has caught up.
    steady = reader.delays_ms[len(reader.delays_ms) // 2 :]
    assert len(steady) > 20
    assert 0 < statistics.median(steady) < 100


def test_a_server_that_dies_ends_the_run(server: _Server) -> None:
    with open_source(f"{server.address}/test") as source:
        threading.Timer(0.5, server.process.kill).start()
        begin = time.monotonic()
        result = run(source)
    assert time.monotonic() - begin < 0.5 + READ_TIMEOUT_S + SLACK_S
    assert isinstance(result.failure, InputError)
    assert f"source {server.address}/test: the stream ended after " in result.failure.message
    assert result.report.processed > 0


@pytest.mark.slow
def test_a_server_that_falls_silent_ends_the_run_after_one_timeout(server: _Server) -> None:
    reader = _ClockReader()
    with open_source(f"{server.address}/clock") as source:
        threading.Timer(0.5, server.process.send_signal, [signal.SIGSTOP]).start()
        begin = time.monotonic()
        result = run(source, reader)
    assert time.monotonic() - begin < 0.5 + READ_TIMEOUT_S + SLACK_S
    assert result.failure is not None
    assert "the stream ended" in result.failure.message
    # Nothing that lay in the decoder until the timeout is passed off as new.
    assert max(reader.delays_ms) < 1000 * READ_TIMEOUT_S - 500


@pytest.mark.slow
def test_leaving_a_silent_stream_waits_for_the_read_to_end(server: _Server) -> None:
    before = set(threading.enumerate())
    with open_source(f"{server.address}/test") as source:
        run(source, duration_s=0.5)
        server.process.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        assert run(source, duration_s=0.5).failure is None
    assert time.monotonic() - begin < 0.5 + READ_TIMEOUT_S + SLACK_S
    for thread in set(threading.enumerate()) - before:
        thread.join(SLACK_S)
        assert not thread.is_alive()


def test_nothing_at_the_port() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://127.0.0.1:{free.getsockname()[1]}/test"
    begin = time.monotonic()
    with pytest.raises(InputError, match=f"source {address}: cannot be opened as video") as caught:
        open_source(address)
    assert time.monotonic() - begin < 10.0 + SLACK_S
    assert "ffprobe" in caught.value.hint


def test_nothing_at_the_path(server: _Server) -> None:
    with pytest.raises(InputError, match="cannot be opened as video"):
        open_source(f"{server.address}/other")
