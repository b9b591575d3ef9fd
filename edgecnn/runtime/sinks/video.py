"""Frames with their results drawn in, as a video file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edgecnn.core.files import left_overs, partial_name
from edgecnn.core.frame import Frame, Image
from edgecnn.core.usage import Result
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.runtime.sinks.encoders import EncoderProcess, VideoFormat, choose_encoder
from edgecnn.vision.results import draw_result

SUFFIXES = (".mp4", ".mkv")
_DEFAULT_FPS = 30.0


class _Writer(Protocol):
    def write(self, image: Image) -> bool: ...
    def finish(self) -> str: ...


class VideoSink:
    """Writes H.264, or where no encoder for it is installed, MPEG-4 Part 2; the file takes its name when it is closed.

    What is not closed whole (a full disk, an encoder that died, a run that was killed) keeps what can be played as
    ``NAME.partial.mp4``: at once, or for a killed run when the next one writes the same file.

    Args:
        path: The file, ending in ``.mp4`` or ``.mkv``.
        fps: Of the source; 0 for unknown.
        live: Whether frames may be dropped: then a frame is repeated until the next, so that the video keeps real time.
        say: Gets a sentence where something is not as asked for.

    Raises:
        InputError: The name does not end so.
    """

    def __init__(self, path: Path, fps: float, *, live: bool, say: Callable[[str], None] = lambda _: None) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"--save {path}: the name must end in {' or '.join(SUFFIXES)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._say = path, say
        self._part = partial_name(path).with_suffix(f".part{path.suffix.lower()}")
        self._fps = fps or _DEFAULT_FPS
        self._live = live
        self._writer: _Writer | None = None
        self._size = (0, 0)
        self._begin_ns = 0
        self._written = 0
        self._last: Image | None = None

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``; a frame of another size than the first is scaled to it."""
        canvas = draw_result(frame.image, result, f"frame {frame.index}  age {age_ns / 1e6:.1f} ms")
        if self._writer is None:
            self._size = (canvas.shape[1], canvas.shape[0])
            self._begin_ns = frame.captured_ns
            self._rescue()
            self._writer = self._open()
        elif (canvas.shape[1], canvas.shape[0]) != self._size:
            canvas = cv2.resize(canvas, self._size).astype(np.uint8, copy=False)
        if self._live:
            due = round((frame.captured_ns - self._begin_ns) / 1e9 * self._fps)
            while self._last is not None and self._written < due:
                self._append(self._last)
            if self._written > due:  # the source is faster than it states
                return
        self._append(canvas)
        self._last = canvas

    def _append(self, canvas: Image) -> None:
        assert self._writer is not None
        if not self._writer.write(canvas):
            self.close()
            raise self._unfinished("")
        self._written += 1

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            EnvironmentMissing: It could not be finished, as on a full disk; an older file stays as it was.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        why = writer.finish()
        if why or not _can_be_played(self._part):
            raise self._unfinished(why)
        self._part.replace(self._path)

    def _open(self) -> _Writer:
        video = VideoFormat(self._size, self._fps)
        encoder = choose_encoder(video)
        if encoder is not None:
            return EncoderProcess(encoder, video, self._part)
        self._say(
            f"--save {self._path}: no program that encodes H.264 works here, so it becomes MPEG-4 Part 2, "
            "which browsers do not play: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-ugly"
        )
        return _OpenCvWriter(self._part, video)

    def _unfinished(self, why: str) -> EnvironmentMissing:
        kept = self._keep(self._part)
        return EnvironmentMissing(
            f"--save {self._path}: {why or 'the video could not be finished'}",
            f"what was written before is in {kept}" if kept else "look at the room on the disk with: df -h",
        )

    def _rescue(self) -> None:
        """Give what a killed run left a name of its own."""
        for found in left_overs(self._path):
            if kept := self._keep(found):
                self._say(f"--save {self._path}: a run that was killed left a video, which is now {kept}")

    def _keep(self, part: Path) -> Path | None:
        """Name an unfinished video; one that cannot be played is removed."""
        if not _can_be_played(part):
            part.unlink(missing_ok=True)
            return None
        number = 1
        while True:
            counted = "" if number == 1 else f"-{number}"
            name = self._path.with_name(f"{self._path.stem}.partial{counted}{self._path.suffix}")
            try:
                os.link(part, name)  # unlike a rename it replaces nothing
            except FileExistsError:
                number += 1
            except OSError:  # a file system without links
                part.replace(name)
                return name
            else:
                part.unlink()
                return name


class _OpenCvWriter:
    """MPEG-4 Part 2, which every build of opencv-python encodes."""

    def __init__(self, path: Path, video: VideoFormat) -> None:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, video.fps, video.size_wh)
        self._opened = self._writer.isOpened()

    def write(self, image: Image) -> bool:
        if self._opened:
            self._writer.write(image)
        return self._opened

    def finish(self) -> str:
        self._writer.release()
        return "" if self._opened else "the video cannot be written: check the folder and the room on the disk"


def _can_be_played(path: Path) -> bool:
    if not path.exists():
        return False
    check = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    readable = check.isOpened() and check.read()[0]
    check.release()
    return readable
