"""Sources and sinks that do as they are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from edgecnn.backends.fake import FakeSession
from edgecnn.core.frame import Classification, Frame


class _ScriptedSource:
    """Delivers ``count`` small frames as fast as they are taken, each as bright as its index, then raises ``error``."""

    def __init__(self, count: int, *, live: bool = False, error: BaseException | None = None) -> None:
        self.name, self.live, self.fps = "scripted", live, 0.0
        self._count, self._error = count, error

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            yield Frame(index, time.monotonic_ns(), np.full((8, 8, 3), index % 256, np.uint8))
        if self._error is not None:
            raise self._error

    def __enter__(self) -> _ScriptedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class _RecordingSink:
    """Keeps what it gets and calls ``then`` after each frame."""

    def __init__(self, then: Callable[[Frame], None] = lambda frame: None) -> None:
        self.indices: list[int] = []
        self.results: list[Classification] = []
        self.ages_ns: list[int] = []
        self._then = then

    def put(self, frame: Frame, result: Classification, age_ns: int) -> None:
        self.indices.append(frame.index)
        self.results.append(result)
        self.ages_ns.append(age_ns)
        self._then(frame)


@pytest.fixture
def scripted() -> type[_ScriptedSource]:
    return _ScriptedSource


@pytest.fixture
def recording() -> type[_RecordingSink]:
    return _RecordingSink


@pytest.fixture
def session_taking() -> Callable[[float], FakeSession]:
    """A maker of sessions with 3 classes whose inference takes a time in seconds."""
    return lambda seconds: FakeSession(lambda frame: frame.mean(axis=(2, 3)), (1, 3, 8, 8), (1, 3), seconds)


@pytest.fixture
def frame_of() -> Callable[..., Frame]:
    """A maker of frames of one brightness."""

    def make(
        index: int,
        captured_s: float = 0.0,
        level: int = 0,
        size_hw: tuple[int, int] = (120, 320),
        source: str = "door",
    ) -> Frame:
        return Frame(index, int(captured_s * 1e9), np.full((*size_hw, 3), level, np.uint8), source)

    return make


@pytest.fixture
def result() -> Classification:
    return Classification(classes=(1, 0), probabilities=(0.75, 0.25), labels=("süß", "b"))


@pytest.fixture
def write_video() -> Callable[..., Any]:
    """Write a video whose frames carry their index as 8 bars, the lowest bit first: white for 1."""
    import cv2

    def write(path: Any, frames: int, code: str = "MJPG", fps: float = 25.0) -> Any:
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), fps, (160, 120))
        assert writer.isOpened()
        noise = np.random.default_rng(0).integers(0, 64, (120, 160, 3), dtype=np.uint8)
        for index in range(frames):
            bars = np.repeat([255 * (index >> bit & 1) for bit in range(8)], 20).astype(np.uint8)
            writer.write(np.maximum(noise, bars[None, :, None]))
        writer.release()
        return path

    return write


@pytest.fixture
def drawn_index() -> Callable[[Any], int]:
    """The index that ``write_video`` drew into a frame."""
    return lambda image: sum(int(image[:, 20 * bit + 5 : 20 * bit + 15].mean() > 128) << bit for bit in range(8))
