"""From a signal's file to windows at the network's rate, and to the network's input."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.errors import InputError, missing_extra
from edgecnn.signals.files import Recording, Signal, read_recording

# Signals that stay in memory at the network's rate: 2 hours of mono at 16 kHz. Others are read again for each window.
KEPT_BYTES = 512 * 2**20
# Rates are ratios of whole numbers no larger than this: 44.1 kHz to 16 kHz is 160 to 441.
_LARGEST_RATIO = 10_000


@dataclass(frozen=True)
class Window:
    """A part of a signal's file, as long as the network's input.

    Attributes:
        path: The file.
        begin: The first sample, at the network's rate.
    """

    path: Path
    begin: int


def places_of(paths: Sequence[Path], begins: Sequence[int] | None) -> tuple[Path | Window, ...]:
    """Files, or the windows of them that begin at samples."""
    return tuple(paths) if begins is None else tuple(map(Window, paths, begins))


def read_signal(path: Path, spec: SignalPreprocess) -> Signal:
    """A whole signal at the network's rate and with its channels: float32 (channels, samples), not to be written into.

    Raises:
        InputError: It cannot be read, has another number of channels, or is shorter than a window.
        EnvironmentMissing: It has another rate, and scipy is not installed.
    """
    return _KEPT.read(path, spec)


def window_begins(samples: int, spec: SignalPreprocess) -> range:
    """The first samples of the windows of a signal of a length; what is left behind the last whole window is left out.

    >>> list(window_begins(11, SignalPreprocess(sample_rate=1, window=4, hop=3)))
    [0, 3, 6]
    """
    return range(0, samples - spec.window + 1, spec.step)


def read_window(window: Window, spec: SignalPreprocess, shift: int = 0) -> Signal:
    """A window: float32 (channels, window). What lies before the signal's begin or behind its end is 0.

    Args:
        window: Which.
        spec: Of the network.
        shift: Samples that it is read later, or below 0 earlier.

    Raises:
        InputError: See ``read_signal``.
    """
    signal = read_signal(window.path, spec)
    begin = window.begin + shift
    end = begin + spec.window
    before, behind = max(-begin, 0), max(end - signal.shape[1], 0)
    part = signal[:, max(begin, 0) : max(end, 0)]
    return np.pad(part, ((0, 0), (min(before, spec.window), min(behind, spec.window)))) if before or behind else part


def signal_input(window: Signal, spec: SignalPreprocess, out: npt.NDArray[Any] | None = None) -> Signal:
    """What a network takes of a window.

    Args:
        window: float32 (channels, window), at the network's rate.
        spec: What is done to it.
        out: An array for the result.

    Returns:
        float32 (1, channels, window): ``out``, or a new array.
    """
    result = np.empty((1, *spec.input_shape), dtype=np.float32) if out is None else out
    mean, std = (np.asarray(values, dtype=np.float32)[:, None] for values in (spec.mean, spec.std))
    np.subtract(window, mean, out=result[0])
    result /= std
    return result


def resampled(samples: Signal, rate: float, wanted: float) -> Signal:
    """A signal (channels, samples) at another rate, by scipy's polyphase filter (Kaiser window, beta 5).

    Raises:
        EnvironmentMissing: scipy is not installed.
    """
    ratio = (Fraction(wanted) / Fraction(rate)).limit_denominator(_LARGEST_RATIO)
    if ratio == 1:
        return samples
    try:
        from scipy.signal import resample_poly
    except ModuleNotFoundError:
        raise missing_extra("scipy", "signals") from None
    return np.ascontiguousarray(resample_poly(samples, ratio.numerator, ratio.denominator, axis=1), dtype=np.float32)


def _fitted(found: Recording, path: Path, spec: SignalPreprocess) -> Signal:
    samples = found.samples
    if spec.channels == 1 and found.rate is not None:
        samples = samples.mean(axis=0, keepdims=True, dtype=np.float32)
    if len(samples) != spec.channels:
        raise InputError(
            f"signal {path}: it has {len(samples)} channels, and the network takes {spec.channels}",
            "NPY files are (channels, samples); mend preprocess.channels, or name preprocess.columns of CSV files",
        )
    if found.rate is not None:
        samples = resampled(samples, found.rate, spec.sample_rate)
    if samples.shape[1] < spec.window:
        raise InputError(
            f"signal {path}: {samples.shape[1]} samples at {spec.sample_rate:g} a second, and a window has "
            f"{spec.window}",
            "leave it out, or mend preprocess.window",
        )
    return samples


class _Kept:
    """The signals that were read last, up to a number of bytes."""

    def __init__(self, room: int) -> None:
        self._left = room
        self._signals = OrderedDict[Any, Signal]()
        self._lock = threading.Lock()

    def read(self, path: Path, spec: SignalPreprocess) -> Signal:
        try:
            about = path.stat()
            key = (path, about.st_mtime_ns, about.st_size, spec.sample_rate, spec.channels, spec.columns, spec.window)
        except OSError as error:
            raise InputError(f"signal {path}: cannot be read: {error.strerror}", "check the path") from None
        with self._lock:
            if key in self._signals:
                self._signals.move_to_end(key)
                return self._signals[key]
        signal = _fitted(read_recording(path, spec.columns), path, spec)
        signal.setflags(write=False)
        with self._lock:
            if key not in self._signals:  # another thread may have been quicker
                self._left -= signal.nbytes
            self._signals[key] = signal
            while len(self._signals) > 1 and self._left < 0:
                self._left += self._signals.popitem(last=False)[1].nbytes
        return signal


_KEPT = _Kept(KEPT_BYTES)
