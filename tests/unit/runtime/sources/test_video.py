"""Video files, whole and not; and a capture that is watched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sources.base import open_source
from edgecnn.runtime.sources.video import VideoSource

FRAMES = 100
WriteVideo = Callable[..., Path]


def take_all(path: Path) -> tuple[list[Frame], InputError | None]:
    frames: list[Frame] = []
    with open_source(str(path)) as source:
        try:
            frames.extend(iter(source))  # extend keeps what came before an error
        except InputError as error:
            return frames, error
    return frames, None


@pytest.fixture
def faststart(tmp_path: Path, write_video: WriteVideo) -> Path:
    """An MP4 with its index in front, as from the web: it opens even where its end is missing."""
    data = write_video(tmp_path / "plain.mp4", FRAMES, "mp4v").read_bytes()
    boxes: dict[bytes, bytes] = {}
    while data:
        size = int.from_bytes(data[:4], "big")
        boxes[data[4:8]], data = data[:size], data[size:]
    # Every chunk offset grows by the size of the index, which moves in front of the pictures.
    table = boxes[b"moov"].index(b"stco") + 8
    moved = bytearray(boxes[b"moov"])
    for number in range(int.from_bytes(moved[table : table + 4], "big")):
        place = slice(table + 4 + 4 * number, table + 8 + 4 * number)
        moved[place] = (int.from_bytes(moved[place], "big") + len(moved)).to_bytes(4, "big")
    path = tmp_path / "faststart.mp4"
    path.write_bytes(boxes[b"ftyp"] + moved + boxes.get(b"free", b"") + boxes[b"mdat"])
    return path


@pytest.mark.parametrize(("name", "code"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_every_frame_comes_in_order(
    tmp_path: Path, write_video: WriteVideo, drawn_index: Any, name: str, code: str
) -> None:
    path = write_video(tmp_path / name, FRAMES, code)
    frames, error = take_all(path)
    assert error is None
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [drawn_index(frame.image) for frame in frames] == list(range(FRAMES))
    assert frames[0].image.shape == (120, 160, 3)
    with open_source(str(path)) as source:
        assert (source.live, source.fps, source.name) == (False, 25.0, str(path))


def test_a_cut_avi_ends_with_a_sentence(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "cut.avi", FRAMES)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size * 6 // 10])
    frames, error = take_all(path)
    assert error is not None
    assert error.message == f"source {path}: the video ends after {len(frames)} of {FRAMES} frames"
    assert f"{size - path.stat().st_size} bytes are missing" in error.hint
    assert 0.5 * FRAMES < len(frames) < 0.7 * FRAMES


def test_an_mp4_with_its_index_in_front_is_read_to_the_cut(faststart: Path) -> None:
    frames, error = take_all(faststart)
    assert error is None
    assert len(frames) == FRAMES
    faststart.write_bytes(faststart.read_bytes()[: faststart.stat().st_size * 6 // 10])
    frames, error = take_all(faststart)
    assert error is not None
    assert f"the video ends after {len(frames)} of {FRAMES} frames" in error.message
    assert len(frames) < 0.7 * FRAMES


def test_an_mp4_without_its_index_cannot_be_opened(tmp_path: Path, write_video: WriteVideo) -> None:
    path = write_video(tmp_path / "cut.mp4", FRAMES, "mp4v")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"cut\.mp4: cannot be opened as video\n.*cut short"):
        open_source(str(path))


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 50])
def test_what_is_no_video_cannot_be_opened(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"empty \(0 bytes\)" if not content else "the file is no video"):
        open_source(str(path))


class _FakeCapture:
    """Stands in for cv2.VideoCapture: a file that ends when it is told to."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.fps = 25.0
        self.released = threading.Event()
        self.reading = threading.Event()
        self.go_on = threading.Event()

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def get(self, name: int) -> float:
        return self.fps if name == cv2.CAP_PROP_FPS else 0.0

    def set(self, name: int, value: float) -> bool:
        return True

    def read(self, image: Any = None) -> tuple[bool, Any]:
        self.reading.set()
        self.go_on.wait(10)
        assert not self.released.is_set(), "released while it was read"
        return False, np.empty(0)

    def release(self) -> None:
        self.released.set()


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> list[_FakeCapture]:
    """The captures that sources open."""
    made: list[_FakeCapture] = []

    def make(*arguments: Any) -> _FakeCapture:
        made.append(_FakeCapture(*arguments))
        return made[-1]

    monkeypatch.setattr(cv2, "VideoCapture", make)
    return made


@pytest.mark.parametrize(("stated", "fps"), [(29.97, 29.97), (0.0, 0.0), (-1.0, 0.0), (90_000.0, 0.0)])
def test_a_time_base_is_no_rate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: float, fps: float) -> None:
    monkeypatch.setattr(_FakeCapture, "get", lambda self, name: stated)
    monkeypatch.setattr(cv2, "VideoCapture", _FakeCapture)
    assert VideoSource(some_file(tmp_path)).fps == fps


def some_file(folder: Path) -> Path:
    path = folder / "some.mp4"
    path.write_bytes(b"some")
    return path


def test_a_capture_is_not_released_while_it_is_read(capture: list[_FakeCapture], tmp_path: Path) -> None:
    source = VideoSource(some_file(tmp_path))
    failures: list[BaseException] = []

    def read() -> None:
        try:
            list(source)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert capture[0].reading.wait(10)
    leaver = threading.Thread(target=source.__exit__, args=(None, None, None), daemon=True)
    leaver.start()
    leaver.join(0.2)
    assert not capture[0].released.is_set()
    capture[0].go_on.set()
    leaver.join(10)
    reader.join(10)
    assert capture[0].released.is_set()
    (failure,) = failures
    assert isinstance(failure, InputError)
    assert failure.message.endswith("some.mp4: no frame can be decoded")
