"""RTSP cameras, for real: a GStreamer server on this machine, killed and restarted while it is read."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification, Frame
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.pipeline import RunResult, run_pipeline
from edgecnn.runtime.sources import live
from edgecnn.runtime.sources.base import open_source

SYSTEM_PYTHON = Path("/usr/bin/python3")
PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly"
)
MISSING = 77
CLASSIFIER = Classifier(Preprocess(size_hw=(32, 32)), ("red", "green", "blue"), "logits")
LATE_S = 30.0


class _Server:
    def __init__(self, port: int = 0, *login: str) -> None:
        if not SYSTEM_PYTHON.exists():
            pytest.skip(f"no {SYSTEM_PYTHON}: apt-get install python3 {PACKAGES}")
        self._script = Path(__file__).with_name("rtsp_server.py")
        self.port, self._login = port, login
        self.start()
        self.address = f"rtsp://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(SYSTEM_PYTHON), str(self._script), str(self.port), *self._login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.isdigit() and self.process.wait(10) == MISSING:
            pytest.skip(f"no RTSP server ({line}): apt-get install {PACKAGES}")
        self.port = int(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., _Server]]:
    """A maker of servers."""
    started: list[_Server] = []

    def make(*arguments: str) -> _Server:
        started.append(_Server(0, *arguments))
        return started[-1]

    yield make
    for server in started:
        server.kill()


@pytest.fixture
def server(serve: Callable[..., _Server]) -> _Server:
    return serve()


class _ClockReader:
    """Tells how old each picture is by the time that is drawn in it."""

    def __init__(self, then: Callable[[Frame], None] = lambda frame: None) -> None:
        self.frames = 0
        self.delays_ms: list[float] = []
        self._then = then

    def put(self, frame: Frame, result: Classification, age_ns: int) -> None:
        self.frames += 1
        bars = frame.image[frame.image.shape[0] // 2, 10::20, 0] > 128
        made_ms = int(np.sum(bars.astype(np.int64) << np.arange(32)))
        self.delays_ms.append(time.monotonic() * 1000 - made_ms)
        self._then(frame)

    def close(self, timeout_s: float) -> None:
        pass


def run(address: str, *sinks: object, metrics: Metrics | None = None, **limits: object) -> RunResult:
    metrics = metrics or Metrics()
    session = FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 32, 32), (1, 3), seconds=0.005)
    stop = limits.pop("stop", threading.Event())
    with open_source(address, name="camera", metrics=metrics.source("camera")) as source:
        return run_pipeline([source], session, CLASSIFIER, sinks, stop, metrics=metrics, **limits)  # type: ignore[arg-type]


def wait_for(done: Callable[[], object]) -> None:
    end = time.monotonic() + LATE_S
    while not done():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def test_frames_arrive_and_stay_fresh(server: _Server) -> None:
    result = run(f"{server.address}/test", duration_s=3.0)
    assert not result.failures
    report = result.report
    # 90 in 3 s; a third of them is enough on a busy machine.
    assert report.processed > 30
    assert report.frame_age.p50_ms < 100
    found = report.sources["camera"]
    assert found.received == found.processed + sum(found.dropped.values())


@pytest.mark.parametrize("path", ["h265", "mjpeg", "sound"])
def test_other_codecs_and_streams_with_sound(server: _Server, path: str) -> None:
    with open_source(f"{server.address}/{path}") as source:
        frame = next(frame for frame in source if frame.index == 10)
    assert frame.image.shape == (240, 320, 3)
    assert frame.image[10, 10].min() > 200  # the test picture's first bar is white


def test_no_frames_wait_in_the_decoder(server: _Server) -> None:
    # What a frame's age would not show: FFmpeg's decoder threads each hold a frame of 33 ms back.
    reader = _ClockReader()
    run(f"{server.address}/clock", reader, duration_s=3.0)
    steady = reader.delays_ms[len(reader.delays_ms) // 2 :]
    assert len(steady) > 20
    assert 0 < statistics.median(steady) < 100


def test_the_frames_age_is_the_pictures(server: _Server) -> None:
    ages_ms: list[float] = []
    reader = _ClockReader(lambda frame: ages_ms.append(time.monotonic() * 1000 - frame.captured_ns / 1e6))
    run(f"{server.address}/clock", reader, duration_s=3.0)
    half = len(ages_ms) // 2
    missed = [drawn - said for drawn, said in zip(reader.delays_ms[half:], ages_ms[half:], strict=True)]
    # What the stream cannot tell is the time of the encoder, and of the network before it.
    assert -5 < statistics.median(missed) < 60


def test_the_first_picture_is_whole(server: _Server) -> None:
    first = next(iter(open_source(f"{server.address}/rare")))  # whose next key frame is up to 3 s away
    with open_source(f"{server.address}/rare") as source:
        second = next(iter(source))
    for frame in (first, second):
        colours = frame.image[20, 22::45].astype(int)  # white, yellow, cyan, green, magenta, red, blue
        assert (colours[0] > 200).all()
        assert colours[6][0] > 200 > 60 > colours[6][2]


def test_a_stream_with_holes_shows_no_broken_pictures(server: _Server) -> None:
    with open_source(f"{server.address}/broken") as source:
        images = [frame.image for frame in islice(source, 60)]
    for image in images:
        colours = image[20, 22::45].astype(int)
        assert (colours[0] > 200).all()
        assert colours[6][0] > 200 > 60 > colours[6][2]


def test_a_server_that_is_killed_and_restarted(server: _Server) -> None:
    metrics, said, stop = Metrics(), [], threading.Event()  # type: ignore[var-annotated]
    camera = metrics.source("camera")
    results: list[RunResult] = []
    address = f"{server.address}/test"
    thread = threading.Thread(
        target=lambda: results.append(run(address, metrics=metrics, stop=stop, say=said.append)), daemon=True
    )
    thread.start()
    for reconnects in (1, 2):
        wait_for(lambda: camera.state[0] == "running")
        server.kill()
        wait_for(lambda: camera.state[0] != "running")
        server.start()
        wait_for(lambda reconnects=reconnects: len(said) >= 2 * reconnects and len(said) % 2 == 0)
    stop.set()
    thread.join(LATE_S)
    (result,) = results
    assert not result.failures
    assert all(line.endswith("; it is tried again") for line in said[::2])
    assert all(line.startswith("source camera: is back after ") for line in said[1::2])
    assert result.report.sources["camera"].reconnects >= 2
    found = result.report.sources["camera"]
    assert found.received == found.processed + sum(found.dropped.values())


def test_a_camera_that_boots_after_the_program(serve: Callable[..., _Server]) -> None:
    server = serve()
    server.kill()
    metrics, said = Metrics(), []  # type: ignore[var-annotated]
    camera = metrics.source("camera")
    results: list[RunResult] = []
    limits = {"metrics": metrics, "max_frames": 5, "say": said.append}
    thread = threading.Thread(target=lambda: results.append(run(f"{server.address}/test", **limits)), daemon=True)
    thread.start()
    wait_for(lambda: camera.state[0] == "lost")
    server.start()
    thread.join(LATE_S)
    assert results[0].report.processed == 5
    assert said[0] == f"source camera: 127.0.0.1, port {server.port}: Connection refused; it is tried again"


def test_a_server_that_falls_silent_is_connected_to_again(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SILENT_S", 1.0)
    metrics = Metrics()
    camera = metrics.source("camera")
    with open_source(f"{server.address}/clock", metrics=camera) as source:
        frames = iter(source)
        next(frames)
        server.process.send_signal(signal.SIGSTOP)
        threading.Timer(3.0, server.process.send_signal, [signal.SIGCONT]).start()
        for _ in frames:
            if metrics.snapshot().sources["camera"].reconnects:
                break
    assert metrics.snapshot().sources["camera"].reconnects == 1


@pytest.mark.parametrize(
    ("login", "path", "complaint"),
    [("me:wrong@", "test", "Unauthorized"), ("", "test", "Unauthorized"), ("me:right@", "other", "Not found")],
)
def test_what_will_not_get_better_ends_the_source(
    serve: Callable[..., _Server], login: str, path: str, complaint: str
) -> None:
    address = serve("me", "right").address.replace("//", f"//{login}")
    begin = time.monotonic()
    result = run(f"{address}/{path}")
    assert time.monotonic() - begin < LATE_S
    error = result.failures["camera"]
    assert isinstance(error, InputError)
    assert complaint in error.message
    assert "wrong" not in str(error)
    assert "\n" not in error.message
    assert "ffprobe" in error.hint


def test_the_right_password_is_nowhere_to_be_seen(serve: Callable[..., _Server]) -> None:
    server = serve("me", "ri@ght")
    with open_source(server.address.replace("//", "//me:ri%40ght@") + "/test") as source:
        frames = iter(source)
        assert next(frames).index == 0
        listed = subprocess.run(["ps", "axww", "-o", "ppid,args"], capture_output=True, text=True, check=True).stdout
        children = [line for line in listed.splitlines() if line.split()[0] == str(os.getpid())]
        assert any("gst_child" in line for line in children)
        assert not any("ri@ght" in line or "ri%40ght" in line for line in children if "rtsp_server" not in line)
        assert source.name == f"rtsp://me:***@127.0.0.1:{server.port}/test"


def test_an_unknown_host_ends_the_source() -> None:
    result = run("rtsp://no-such-host.invalid/1")
    assert "the host no-such-host.invalid is not known" in result.failures["camera"].message


def test_ctrl_c_while_a_camera_is_away(digits: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"rtsp://127.0.0.1:{free.getsockname()[1]}/test"
    command = [sys.executable, "-m", "edgecnn", "run", str(digits), "--source", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "it is tried again" in line:
                break
        begin = time.monotonic()
        running.send_signal(signal.SIGINT)
        assert running.wait(LATE_S) == 0
        assert time.monotonic() - begin < 10
