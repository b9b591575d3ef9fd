"""Frames with their results in a window, which a program of its own shows.

Where there is no display, OpenCV's window library ends the whole program it is in; and it wants the main thread.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.errors import EnvironmentMissing
from edgecnn.vision.results import draw_result

# Length of the title's bytes, height, width.
_HEAD = struct.Struct("<III")
_CLOSED_BY_USER = 10
_KEYS = (ord("q"), 27)
_POLL_MS = 15
_END_S = 1.0


class WindowSink:
    """A window for each source; q, Escape or closing one ends the run.

    Args:
        title: Of the window, where the source has no name.
        stop: Ends the run.

    Raises:
        EnvironmentMissing: There is no display. While writing: the window could not be opened.
    """

    def __init__(self, title: str, stop: Callable[[], None]) -> None:
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise EnvironmentMissing(
                "--show: there is no display, neither DISPLAY nor WAYLAND_DISPLAY is set",
                "run on the machine's own screen, over ssh -X, or look with a browser: --page 8080",
            )
        self._title, self._stop = title, stop
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        # In a session of its own it does not get the terminal's Ctrl-C.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgecnn.runtime.sinks.window"],
            stdin=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._closing = False
        threading.Thread(target=self._watch, name="window", daemon=True).start()

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        canvas = draw_result(frame.image, result, f"frame {frame.index}  age {age_ns / 1e6:.1f} ms")
        title = (frame.source or self._title).encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_HEAD.pack(len(title), *canvas.shape[:2]) + title)
            self._process.stdin.write(np.ascontiguousarray(canvas).reshape(-1).data)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            if self._process.wait() != _CLOSED_BY_USER:
                raise EnvironmentMissing(f"--show: {self._reason()}", "look with a browser: --page 8080") from None

    def close(self) -> None:
        """See ``Sink.close``."""
        self._closing = True
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _watch(self) -> None:
        """The user's wish is heard even while no frames come."""
        if self._process.wait() == _CLOSED_BY_USER and not self._closing:
            self._stop()

    def _reason(self) -> str:
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        if "not implemented" in text:
            return "this build of OpenCV shows no windows (opencv-python-headless)"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"the window could not be opened: {lines[0] if lines else f'code {self._process.returncode}'}"


def show(stream: BinaryIO) -> int:
    """The program of the window: shows what comes, until nothing more does or the user has seen enough.

    Returns:
        Its exit code.
    """
    import cv2

    newest: dict[str, np.ndarray] = {}
    changed = threading.Event()
    ended = threading.Event()

    def read() -> None:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            length, height, width = _HEAD.unpack(head)
            title = stream.read(length).decode()
            pixels = stream.read(3 * height * width)
            if len(pixels) != 3 * height * width:
                break
            newest[title] = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
            changed.set()
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    opened: set[str] = set()
    while not ended.is_set():
        if changed.is_set():
            changed.clear()
            for title in list(newest):
                if title not in opened:
                    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                    cv2.resizeWindow(title, newest[title].shape[1], newest[title].shape[0])
                    opened.add(title)
                cv2.imshow(title, newest[title])
        if not opened:
            changed.wait(_POLL_MS / 1000)
            continue
        key = cv2.waitKey(_POLL_MS) & 0xFF
        if key in _KEYS or any(cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1 for title in opened):
            return _CLOSED_BY_USER
    return 0


if __name__ == "__main__":
    code = show(sys.stdin.buffer)
    # Python would wait for its input, which a thread still reads.
    os._exit(code)
