"""Sets of what a network is for, pictures or windows of signals, and reading one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.signals.windows import Window, read_signal, read_window, window_begins
from edgecnn.vision.images import PICTURES, SIGNALS, FileKind, ImageSet, open_image_set, read_image
from edgecnn.vision.target_set import TargetKind, TargetSet, open_targets

_Set = TypeVar("_Set", bound=ImageSet | TargetSet)


def open_frame_set(source: str, spec: InputSpec | None) -> ImageSet:
    """Pictures, or windows of signals, as a network takes them; see ``open_image_set``.

    Raises:
        InputError: There are none, or a signal is unfit for the network.
    """
    return in_windows(open_image_set(source, files_of(spec)), spec)


def open_frame_targets(source: str, kind: TargetKind, spec: InputSpec) -> TargetSet | ImageSet:
    """The same with several labels or values each; see ``open_targets``.

    Raises:
        InputError: There are none, or a signal is unfit for the network.
    """
    return in_windows(open_targets(source, kind, files_of(spec)), spec)


def files_of(spec: InputSpec | None) -> FileKind:
    """Which files a network's inputs come from."""
    return SIGNALS if isinstance(spec, SignalPreprocess) else PICTURES


def in_windows(found: _Set, spec: InputSpec | None) -> _Set:
    """A set of signals with all their windows, each with the labels of its file; one of pictures as it is.

    Raises:
        InputError: A signal cannot be read, or is unfit for the network.
    """
    if not isinstance(spec, SignalPreprocess):
        return found
    begins = [window_begins(read_signal(path, spec).shape[1], spec) for path in found.paths]
    rows = [row for row, inner in enumerate(begins) for _ in inner]
    every = tuple(begin for inner in begins for begin in inner)
    paths = tuple(found.paths[row] for row in rows)
    if isinstance(found, TargetSet):
        return replace(found, paths=paths, targets=found.targets[rows], begins=every)
    labels = found.labels
    return replace(
        found, paths=paths, labels=None if labels is None else tuple(labels[row] for row in rows), begins=every
    )


def read_frame(place: Path | Window, spec: InputSpec) -> npt.NDArray[Any]:
    """A picture, uint8 BGR (height, width, 3), or a window of a signal, float32 (channels, window).

    Raises:
        InputError: It cannot be read.
    """
    if isinstance(place, Window):
        assert isinstance(spec, SignalPreprocess)  # only signals have windows
        return read_window(place, spec)
    return read_image(place)


def synthetic_signals(spec: SignalPreprocess, count: int = 8) -> list[npt.NDArray[np.float32]]:
    """Stand-ins where no signals were given, (channels, window) each: noise of which low frequencies have most.

    They have the mean and the deviation that the preprocessing takes away, so that the network's input has the range
    that it was made for.
    """
    generator = np.random.default_rng(0)
    shape = (count, spec.channels, spec.window)
    noise = generator.standard_normal(shape)
    noise = (noise + np.roll(noise, 1, axis=2) + np.roll(noise, 2, axis=2) + np.roll(noise, 3, axis=2)) / 2
    mean, std = (np.asarray(values)[:, None] for values in (spec.mean, spec.std))
    return list((mean + std * noise).astype(np.float32))
