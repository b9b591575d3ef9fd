"""Signals as frames: the windows of files, or of what comes on standard input."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from edgecnn.core.frame import Frame, Span
from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import InputError
from edgecnn.signals.files import decode_pcm
from edgecnn.signals.windows import read_signal, window_begins
from edgecnn.vision.images import SIGNALS, open_image_set

# By FFmpeg's names: what decode_pcm wants to know.
_FORMATS = {"u8": ("u", 8), "s16le": ("i", 16), "s24le": ("i", 24), "s32le": ("i", 32), "f32le": ("f", 32)}
_STREAM = "pcm://"
_POLL_S = 0.1
_READ_BYTES = 65_536


def open_signal_source(address: str, spec: SignalPreprocess) -> SignalFiles | SignalStream:
    """A file, a folder of files, or ``pcm://FORMAT``.

    Raises:
        InputError: There is none, or it is of another kind.
    """
    if not address.startswith(_STREAM):
        return SignalFiles(Path(address), spec)
    kind = address.removeprefix(_STREAM)
    if kind not in _FORMATS:
        raise InputError(f"source {address}: no such format", f"formats are {', '.join(_FORMATS)}")
    return SignalStream(kind, spec, sys.stdin.fileno())


class SignalFiles:
    """The windows of a file, or of all files of a folder one after another, in the order of their names.

    Args:
        path: A file, or a folder, of classes or flat.
        spec: The network's preprocessing.

    Raises:
        InputError: There is no signal, or the first is unfit for the network. While iterating: another one is.
    """

    live = False

    def __init__(self, path: Path, spec: SignalPreprocess) -> None:
        self.name = str(path)
        self.fps = spec.sample_rate / spec.step
        self._spec = spec
        if not path.exists():
            raise InputError(f"source {path}: no such file or folder", "check the path")
        self._paths = (path,) if path.is_file() else open_image_set(str(path), SIGNALS).paths
        read_signal(self._paths[0], spec)  # which stays in memory: the first window is there when a run begins

    def __iter__(self) -> Iterator[Frame]:
        index = 0
        for path in self._paths:
            signal = read_signal(path, self._spec)
            for begin in window_begins(signal.shape[1], self._spec):
                part = signal[:, begin : begin + self._spec.window]
                yield Frame(index, time.monotonic_ns(), part, span=_span(path.name, begin, self._spec))
                index += 1

    def __enter__(self) -> SignalFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class SignalStream:
    """The windows of raw samples, channel by channel interleaved, at the network's rate and with its channels.

    Args:
        kind: The samples' format.
        spec: The network's preprocessing.
        file: The descriptor that they are read from; it is not closed.
    """

    live = True

    def __init__(self, kind: str, spec: SignalPreprocess, file: int) -> None:
        self.name = f"{_STREAM}{kind}"
        self.fps = spec.sample_rate / spec.step
        self._spec, self._file = spec, file
        self._code, self._bits = _FORMATS[kind]
        self._ended = False

    def __iter__(self) -> Iterator[Frame]:
        spec = self._spec
        frame_bytes = spec.channels * self._bits // 8
        # Samples from number ``at`` on, which are waited for to make the window that begins at ``begin``.
        samples, at, begin, index = np.empty((spec.channels, 0), dtype=np.float32), 0, 0, 0
        rest = b""
        for data in self._read():
            data = rest + data
            whole = len(data) // frame_bytes * frame_bytes
            new = decode_pcm(data[:whole], self._code, self._bits).reshape(-1, spec.channels).T
            rest = data[whole:]
            samples = np.concatenate([samples, new], axis=1)
            while at + samples.shape[1] >= begin + spec.window:
                part = samples[:, begin - at : begin - at + spec.window].copy()
                yield Frame(index, time.monotonic_ns(), part, span=_span("", begin, spec))
                index, begin = index + 1, begin + spec.step
            gone = min(begin - at, samples.shape[1])
            samples, at = samples[:, gone:], at + gone

    def __enter__(self) -> SignalStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True

    def _read(self) -> Iterator[bytes]:
        while not self._ended:
            ready, _, _ = select.select([self._file], [], [], _POLL_S)
            if not ready:
                continue
            data = os.read(self._file, _READ_BYTES)
            if not data:
                return
            yield data


def _span(file: str, begin: int, spec: SignalPreprocess) -> Span:
    return Span(file, begin / spec.sample_rate, (begin + spec.window) / spec.sample_rate)
