"""Video files, RTSP streams and USB cameras, through OpenCV (FFmpeg and V4L2)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sources.container import missing_bytes

_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 5_000
# FFmpeg takes the time base of a stream that does not state its rate, such as 90000.
_MOST_FPS = 1000.0


class VideoSource:
    """One video.

    Args:
        address: A file, ``rtsp://...`` or ``/dev/videoN``.
        live: Whether it is a stream or a camera.

    Raises:
        InputError: It cannot be opened. While iterating: a file ended early, or a stream broke.
    """

    def __init__(self, address: str, *, live: bool) -> None:
        self.name = address
        self.live = live
        if address.startswith("/dev/video"):
            self._capture = cv2.VideoCapture(int(address.removeprefix("/dev/video")), cv2.CAP_V4L2)
            hint = "check the cable, and that no other program uses the camera: v4l2-ctl --list-devices"
        else:
            # TCP loses no packets to a busy network; the flag is read by FFmpeg when it opens a stream.
            os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
            limits = [
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                _OPEN_TIMEOUT_MS,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                _READ_TIMEOUT_MS,
            ]
            if live:
                # Each further thread of the decoder holds a frame back, which nobody would see in the frame's age.
                limits += [cv2.CAP_PROP_N_THREADS, 1]
            self._capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
            hint = (
                "check address, user and password with: ffprobe"
                if live
                else "the file is no video, or cut short: copy it again"
            )
        if not self._capture.isOpened():
            raise InputError(f"source {address}: cannot be opened as video", hint)
        if live:
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._reading = threading.Lock()
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= _MOST_FPS else 0.0
        self._stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            begin = time.monotonic()
            with self._reading:
                taken, image = self._capture.read()
            # After a timeout FFmpeg hands out what its decoder still held: a frame that is seconds old.
            silent = self.live and time.monotonic() - begin >= _READ_TIMEOUT_MS / 1000
            if not taken or silent:
                break
            yield Frame(index, time.monotonic_ns(), image.astype(np.uint8, copy=False))
            index += 1
        if self.live:
            raise InputError(
                f"source {self.name}: the stream ended after {index} frames", "check the camera and start again"
            )
        # A count alone proves nothing: a trimmed MP4 counts frames that it hides, and Matroska leaves FFmpeg to guess.
        if index < self._stated and (missing := missing_bytes(Path(self.name))):
            raise InputError(
                f"source {self.name}: the video ends after {index} of {self._stated} frames",
                f"the file is cut short, {missing} bytes are missing: copy it again",
            )

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # To release it while another thread reads would free what that thread uses. A read ends by its timeout.
        if self._reading.acquire(timeout=_READ_TIMEOUT_MS / 1000 + 1):
            self._capture.release()
            self._reading.release()
