"""Frames with their results drawn in, as a video file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgecnn.core.files import partial_name
from edgecnn.core.frame import Frame, Image
from edgecnn.core.usage import Result
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.vision.results import draw_result

_DEFAULT_FPS = 30.0


class VideoSink:
    """Writes an MP4 (MPEG-4 Part 2, which every build of opencv-python encodes); it takes its name when it is closed.

    Args:
        path: The file, ending in ``.mp4``.
        fps: Of the source; 0 for unknown.
        live: Whether frames may be dropped: then a frame is repeated until the next, so that the video keeps real time.

    Raises:
        InputError: The name does not end in ``.mp4``.
    """

    def __init__(self, path: Path, fps: float, *, live: bool) -> None:
        if path.suffix.lower() != ".mp4":
            raise InputError(f"--save {path}: the name must end in .mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._part = partial_name(path).with_suffix(".mp4")
        self._fps = fps or _DEFAULT_FPS
        self._live = live
        self._writer: cv2.VideoWriter | None = None
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
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(self._part), cv2.CAP_FFMPEG, code, self._fps, self._size)
            if not writer.isOpened():
                raise EnvironmentMissing(
                    f"--save {self._path}: the video cannot be written", "check the folder and the room on the disk"
                )
            self._writer = writer
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
        self._writer.write(canvas)
        self._written += 1

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            EnvironmentMissing: What was written cannot be read back, as on a full disk; an older file stays as it was.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        check = cv2.VideoCapture(str(self._part), cv2.CAP_FFMPEG)
        readable = check.isOpened() and check.read()[0]
        check.release()
        if not readable:
            self._part.unlink(missing_ok=True)
            raise EnvironmentMissing(
                f"--save {self._path}: the video could not be finished", "is the disk full? look with: df -h"
            )
        self._part.replace(self._path)
