"""Windows of signals to learn from, and their random changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from edgecnn.core.signal_preprocess import SignalPreprocess
from edgecnn.core.training_part import AugmentPart, TrainPart
from edgecnn.signals.files import Signal
from edgecnn.signals.windows import Window, read_window, signal_input
from edgecnn.train.order import Key, drawing_from
from edgecnn.train.samples import Samples


class SignalWindows(Dataset[Any]):
    """Samples by (epoch, index); an epoch of None is the window as it is.

    Args:
        samples: Of signals, whose boxes are the windows.
        spec: The preprocessing that the deployed network gets.
        config: Seed and augmentation.
    """

    def __init__(self, samples: Samples, spec: SignalPreprocess, config: TrainPart) -> None:
        self._spec, self._config = spec, config
        boxes = [box for box in samples.boxes if box is not None]
        self._windows = [Window(path, box[0]) for path, box in zip(samples.paths, boxes, strict=True)]

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
        epoch, index = key
        if epoch is None:
            window = read_window(self._windows[index], self._spec)
        else:
            with drawing_from(self._config.seed, epoch, index):
                window = augmented(self._windows[index], self._spec, self._config.augment)
        return torch.from_numpy(signal_input(window, self._spec)[0]), index


def augmented(window: Window, spec: SignalPreprocess, config: AugmentPart) -> Signal:
    """A window, float32 (channels, window), changed by what Torch's generator draws.

    Shift: it is read earlier or later in its file; what lies outside the file is 0. Noise: white and Gaussian, of a
    channel's variance in this window over the ratio. Gain: of both. The three are drawn uniformly, ratio and gain in
    dB, in an order that does not depend on which of them are wanted.
    """
    shift, gain, ratio = (float(value) for value in torch.rand(3, dtype=torch.float64))
    found = read_window(window, spec, round((2 * shift - 1) * config.time_shift * spec.window))
    if config.snr_db is not None:
        low, high = config.snr_db
        deviation = found.std(axis=1, keepdims=True) / np.float32(10 ** ((low + ratio * (high - low)) / 20))
        found = found + deviation * torch.randn(found.shape).numpy()
    return found * np.float32(10 ** ((2 * gain - 1) * config.gain_db / 20))
