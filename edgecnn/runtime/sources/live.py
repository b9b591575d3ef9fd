"""A camera or stream that is started again for as long as the run goes on."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from types import TracebackType

from edgecnn.core.frame import Frame
from edgecnn.errors import InputError
from edgecnn.runtime.metrics import SourceMetrics
from edgecnn.runtime.sources.gst_process import GstProcess, StreamLost
from edgecnn.runtime.sources.pipelines import CameraPipeline
from edgecnn.vision.images import bgr_from_picture

# Longer than any camera takes to start, and than the longest pause between pictures of one that works.
_FIRST_S, _SILENT_S = 15.0, 5.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# What will not be better in a minute, by GStreamer's domains: a pipeline that is not understood, what is not there,
# who may not.
_DEFINITE: dict[str, frozenset[int] | None] = {
    "gst_parse_error": None,
    "gst-parse-error-quark": None,
    "gst-core-error-quark": frozenset({5, 6, 8, 10, 12}),  # pad, thread, negotiation, caps, missing plugin
    "gst-resource-error-quark": frozenset({3, 13, 15}),  # not found, settings, not authorized
    "gst-stream-error-quark": frozenset({3, 4, 6}),  # type not found, wrong type, codec not found
}
_CONNECT_S = 3.0


class LiveSource:
    """Frames of a pipeline in a process of its own.

    A pipeline that fails, ends or falls silent is started again after a pause, which doubles up to 30 s while it does
    not help, for ever. Only one that never worked ends for good, where the reason will stay: a wrong password, an
    unknown host or path, a plugin that is missing.

    Args:
        pipeline: What to run.
        metrics: Are told of the state.
        wait: Whether every picture is wanted, however late.

    Raises:
        InputError: While iterating: it never worked, and why.
        EnvironmentMissing: While iterating: GStreamer is not installed.
    """

    live = True

    def __init__(self, pipeline: CameraPipeline, metrics: SourceMetrics | None = None, *, wait: bool = False) -> None:
        self.name, self.fps = pipeline.name, pipeline.fps
        self._pipeline, self._wait = pipeline, wait
        self._metrics = metrics or SourceMetrics()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._process: GstProcess | None = None
        self._index = 0

    def __iter__(self) -> Iterator[Frame]:
        pause_s = _PAUSE_S
        worked = False
        while (process := self._start()) is not None:
            self._metrics.enter("connecting")
            before = self._index
            reason = "the stream ended"
            try:
                with process:
                    yield from self._frames(process)
                if self._pipeline.ends:
                    return
            except StreamLost as lost:
                reason, definite = self._reason(lost, delivered=self._index > before)
                if definite and not worked and self._index == before and not self._closed.is_set():
                    raise InputError(f"source {self.name}: {reason}", self._pipeline.hint) from None
            if self._closed.is_set():
                return
            if self._index > before:
                worked, pause_s = True, _PAUSE_S
            self._metrics.enter("lost", reason)
            # Cameras behind one switch do not all come back at the same moment.
            self._closed.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _reason(self, lost: StreamLost, *, delivered: bool) -> tuple[str, bool]:
        """What to say of a loss, and whether that will stay so."""
        if self._pipeline.host is not None and not delivered and lost.domain == "gst-resource-error-quark":
            # GStreamer says the same of an unknown host and of one that is not there.
            name, port = self._pipeline.host
            try:
                socket.create_connection((name, port), _CONNECT_S).close()
            except socket.gaierror as error:
                return f"the host {name} is not known ({error.strerror})", error.errno == socket.EAI_NONAME
            except OSError as error:
                return f"{name}, port {port}: {error.strerror or 'no answer'}", False
        codes = _DEFINITE.get(lost.domain, frozenset())
        return lost.reason, codes is None or lost.code in codes

    def _start(self) -> GstProcess | None:
        with self._lock:
            if self._closed.is_set():
                return None
            self._process = GstProcess(self._pipeline, wait=self._wait)
            return self._process

    def _frames(self, process: GstProcess) -> Iterator[Frame]:
        for capture in process.captures(_FIRST_S, _SILENT_S):
            self._metrics.enter("running")
            self.fps = capture.fps or self.fps
            for place, count in capture.lost.items():
                self._index += count
                for _ in range(count):
                    self._metrics.receive()
                self._metrics.drop(place, count)
            yield Frame(self._index, capture.captured_ns, bgr_from_picture(capture.image))
            self._index += 1

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed.set()
            process = self._process
        if process is not None:
            process.close()
