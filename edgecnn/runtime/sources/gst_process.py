"""A camera's pipeline in a process of its own, and its pictures in shared memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.sources.pipelines import CameraPipeline
from edgecnn.runtime.sources.shared_frames import SharedFrames

_MESSAGE_BYTES = 1 << 16
# Longer than the process allows itself.
_END_S = 1.5


@dataclass(frozen=True)
class Capture:
    """One picture.

    Attributes:
        image: (height, width), or with 3 or 4 channels; uint8 or uint16.
        captured_ns: Monotonic time.
        fps: What the stream states; 0 where it does not.
        lost: How many pictures were given up since the last one, by the place.
    """

    image: npt.NDArray[Any]
    captured_ns: int
    fps: float
    lost: dict[str, int]


class StreamLost(Exception):
    """The pipeline does not deliver any more.

    Args:
        reason: Why, in words.
        domain: Of GStreamer's error; empty where it is not GStreamer that complains.
        code: Its number.
    """

    def __init__(self, reason: str, domain: str = "", code: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.domain, self.code = reason, domain, code


def existing_elements(names: tuple[str, ...]) -> frozenset[str]:
    """Which of these elements GStreamer has on this machine.

    Raises:
        EnvironmentMissing: There is no GStreamer.
    """
    with _Child() as child:
        child.say({"elements": names})
        message, _ = child.hear(60.0)
    return frozenset(message["elements"])


class GstProcess:
    """One start of a pipeline; a context manager that leaves no process behind.

    Args:
        pipeline: What to run.
        wait: Whether every picture is wanted; else those are given up that come while all memory is in use.
    """

    def __init__(self, pipeline: CameraPipeline, *, wait: bool) -> None:
        self._child = _Child()
        self._pipeline, self._wait = pipeline, wait

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.process.pid

    def captures(self, first_s: float, silent_s: float) -> Iterator[Capture]:
        """Pictures, until the pipeline says that its stream has ended.

        Args:
            first_s: How long the first one may take.
            silent_s: How long the others may.

        Raises:
            StreamLost: It failed, fell silent or crashed.
            EnvironmentMissing: There is no GStreamer.
        """
        pipeline = self._pipeline
        request = {
            "pipeline": pipeline.text,
            "properties": pipeline.secrets,
            "settings": pipeline.settings,
            "wait": self._wait,
        }
        self._child.say(request)
        ring: SharedFrames | None = None
        timeout_s = first_s
        while True:
            message, files = self._child.hear(timeout_s)
            if "ring" in message:
                ring = SharedFrames(message["ring"], files[0], self._child.give_back)
            elif "ended" in message:
                if (ended := message["ended"]) is None:
                    return
                raise StreamLost(pipeline.masked(ended["text"]), ended["domain"], ended["code"])
            else:
                assert ring is not None
                yield Capture(ring.image(message["slot"]), message["captured_ns"], ring.fps, message["lost"])
                timeout_s = silent_s

    def close(self) -> None:
        """End the process: it gives the camera back, or is killed."""
        self._child.close()

    def __enter__(self) -> GstProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Child:
    """The process and the socket to it."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # In a session of its own it does not get the terminal's Ctrl-C, which would look like the end of the camera.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgecnn.runtime.sources.gst_child", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._closing = threading.Lock()

    def say(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # what became of it is heard
            self._link.send(json.dumps(message).encode())

    def hear(self, timeout_s: float) -> tuple[dict[str, Any], list[int]]:
        self._link.settimeout(timeout_s)
        try:
            data, files, _, _ = socket.recv_fds(self._link, _MESSAGE_BYTES, 1)
        except TimeoutError:
            raise StreamLost(f"no picture for {timeout_s:g} s") from None
        except OSError:
            data, files = b"", []
        if not data:
            raise StreamLost(f"the pipeline's process ended{self._how()}")
        message: dict[str, Any] = json.loads(data)
        if "missing" in message:
            raise EnvironmentMissing(
                f"cameras and streams need GStreamer, which does not load: {message['missing']}",
                "sudo apt install gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
                "gstreamer1.0-libav",
            )
        return message, files

    def _how(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(_END_S)
            return f" with {signal.Signals(-code).name}" if code < 0 else f" with {code}" if code else ""
        return ""

    def give_back(self, generation: int, slot: int) -> None:
        """The other side may write there again; from any thread."""
        with suppress(OSError):
            self._link.send(bytes([generation, slot]), socket.MSG_DONTWAIT)

    def close(self) -> None:
        with self._closing:
            with suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)  # a read in another thread ends
            try:
                self.process.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self._link.close()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
