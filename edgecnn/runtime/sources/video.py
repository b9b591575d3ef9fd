"""Video files, through OpenCV and FFmpeg."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.sources.container import missing_bytes
from edgecnn.runtime.sources.reused_frames import ReusedFrames
from edgecnn.vision.images import bgr_from_picture

# FFmpeg takes the time base of a stream that does not state its rate, such as 90000.
_MOST_FPS = 1000.0
# For a read to end, on a disk or a network that hangs.
_READ_S = 1.0


class VideoSource:
    """Every frame of one video, in order.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be opened. While iterating: it ended early.
    """

    live = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        if not path.stat().st_size:
            raise InputError(f"source {path}: cannot be opened as video, the file is empty (0 bytes)", "copy it again")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise InputError(
                f"source {path}: cannot be opened as video", "the file is no video, or cut short: copy it again"
            )
        self._reading = threading.Lock()
        self._closed = False
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0 < fps <= _MOST_FPS else 0.0
        self._stated = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        memory = ReusedFrames()
        while True:
            with self._reading:
                if self._closed:
                    return
                taken, image = self._capture.read(memory.take())
            if not taken:
                break
            memory.fit(image)
            yield Frame(index, time.monotonic_ns(), bgr_from_picture(image))
            index += 1
        if not index:
            raise InputError(f"source {self.name}: no frame can be decoded", "copy the file again, or try: ffprobe")
        # A count alone proves nothing: a trimmed MP4 counts frames that it hides, and Matroska leaves FFmpeg to guess.
        if index < self._stated and (missing := missing_bytes(self._path)):
            raise InputError(
                f"source {self.name}: the video ends after {index} of {self._stated} frames",
                f"the file is cut short, {missing} bytes are missing: copy it again",
            )

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # To release it while another thread reads would free what that thread uses.
        if self._reading.acquire(timeout=_READ_S):
            self._closed = True
            self._capture.release()
            self._reading.release()
