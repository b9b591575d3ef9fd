"""Frames from a GStreamer pipeline in a process of its own, read as raw BGR through a pipe.

opencv-python's wheel has no GStreamer, and a camera driver that hangs must not take this program along.
"""

from __future__ import annotations

import re
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from urllib.parse import parse_qs

import numpy as np

from edgecnn.core.frame import Frame
from edgecnn.errors import EnvironmentMissing, InputError

_END_S = 2.0
# Longer than any camera takes to start.
_SILENT_S = 10.0


def csi_source(address: str) -> GStreamerSource:
    """A camera on a Jetson's CSI connector: ``csi://N[?width=W&height=H&fps=F]``, 1280 x 720 at 30 where not said.

    Raises:
        InputError: The address has another form.
        EnvironmentMissing: GStreamer is not installed.
    """
    camera, _, query = address.removeprefix("csi://").partition("?")
    options = {"width": 1280, "height": 720, "fps": 30}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name not in options or not re.fullmatch(r"[1-9]\d*", values[-1]):
            raise InputError(
                f"source {address}: {name}={values[-1]} is not understood",
                "options are width, height and fps, whole numbers",
            )
        options[name] = int(values[-1])
    if not re.fullmatch(r"\d+", camera):
        raise InputError(f"source {address}: the camera's number is missing", "for example csi://0")
    width, height, fps = options.values()
    pipeline = (
        f"nvarguscamerasrc sensor-id={camera} ! "
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={fps}/1 ! "
        "nvvidconv ! video/x-raw,format=BGRx ! videoconvert"
    )
    return GStreamerSource(pipeline, width, height, float(fps), name=address)


class GStreamerSource:
    """A live source whose pipeline is run by gst-launch-1.0.

    Args:
        pipeline: Up to an element whose output can be had as raw BGR of the stated size.
        width: Pixels.
        height: Pixels.
        fps: Frames a second, as asked for.
        name: For messages.

    Raises:
        EnvironmentMissing: gst-launch-1.0 is not installed.
        InputError: While iterating: the pipeline failed or ended, and the message is GStreamer's; or it fell silent.
    """

    live = True

    def __init__(self, pipeline: str, width: int, height: int, fps: float, *, name: str) -> None:
        program = shutil.which("gst-launch-1.0")
        if program is None:
            raise EnvironmentMissing(
                f"source {name}: gst-launch-1.0 is not installed", "sudo apt install gstreamer1.0-tools"
            )
        self.name, self.fps = name, fps
        self._size = (height, width)
        sink = f"video/x-raw,format=BGR,width={width},height={height} ! fdsink fd=1 sync=false"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        # In a session of its own it does not get the terminal's Ctrl-C, which would look like the end of the camera.
        self._process = subprocess.Popen(
            [program, "-q", *f"{pipeline} ! {sink}".split()],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            start_new_session=True,
        )

    def __iter__(self) -> Iterator[Frame]:
        assert self._process.stdout is not None
        height, width = self._size
        row_bytes = -(-width * 3 // 4) * 4  # GStreamer fills rows up to a multiple of 4 bytes
        index = 0
        while True:
            rows = np.empty((height, row_bytes), dtype=np.uint8)
            view = rows.reshape(-1).data
            filled = 0
            while filled < len(view):
                if not select.select([self._process.stdout], [], [], _SILENT_S)[0]:
                    raise InputError(
                        f"source {self.name}: no picture for {_SILENT_S:g} s, after {index} frames",
                        "check the camera's cable; on a Jetson: sudo systemctl restart nvargus-daemon",
                    )
                count = self._process.stdout.readinto(view[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise InputError(
                        f"source {self.name}: the pipeline ended after {index} frames{self._first_error()}",
                        "try it with gst-launch-1.0",
                    )
                filled += count
            captured_ns = time.monotonic_ns()
            yield Frame(index, captured_ns, rows[:, : width * 3].reshape(height, width, 3))
            index += 1

    def _first_error(self) -> str:
        """GStreamer's first complaint after a colon; empty where it has none."""
        with suppress(subprocess.TimeoutExpired):  # some drivers hang when they are told to end
            self._process.wait(_END_S)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        return next((f": {line.strip()}" for line in lines if "ERROR" in line or "erroneous pipeline" in line), "")

    def __enter__(self) -> GStreamerSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()
