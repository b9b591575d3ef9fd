"""Video files, RTSP streams and USB cameras, through OpenCV (FFmpeg and V4L2)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError

_OPEN_TIMEOUT_MS = 10_000
_READ_TIMEOUT_MS = 5_000
# Containers state their length only nearly: FFmpeg reckons it from duration and rate in some. A cut file lacks more.
_COUNT_TOLERANCE = 0.02
_COUNT_SLACK = 3


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
        self.fps = max(float(self._capture.get(cv2.CAP_PROP_FPS)), 0.0)
        self._stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        while True:
            taken, image = self._capture.read()
            if not taken:
                break
            yield Frame(index, time.monotonic_ns(), image.astype(np.uint8, copy=False))
            index += 1
        if self.live:
            raise InputError(
                f"source {self.name}: the stream ended after {index} frames", "check the camera and start again"
            )
        if index < self._stated * (1 - _COUNT_TOLERANCE) - _COUNT_SLACK:
            raise InputError(
                f"source {self.name}: the video ends after {index} of {self._stated} frames",
                "the file is cut short or damaged: copy it again",
            )

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()
