"""Which samples make which batch, and what is drawn for each: by seed, epoch and number alone."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgecnn.core.training_part import TrainPart

# An epoch, None for the picture as it is, and the sample's index.
Key = tuple[int | None, int]


def seed_of(*numbers: int) -> int:
    """A seed that differs for every sequence of numbers."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=7).digest(), "big")


@contextmanager
def drawing_from(*numbers: int) -> Generator[None]:
    """Let Torch draw what these numbers alone decide, and leave its generator as it was."""
    before = torch.get_rng_state()
    # The CPU's generator alone: torch.manual_seed asks every kind of device, which takes as long as a picture's change.
    torch.default_generator.manual_seed(seed_of(*numbers))
    try:
        yield
    finally:
        torch.set_rng_state(before)


def class_weights(targets: npt.NDArray[Any], classes: int) -> npt.NDArray[np.float64]:
    """For each class, what makes all of them weigh alike, 1 in the mean over samples; targets are class numbers."""
    return inverse_frequency(np.bincount(targets, minlength=classes))


def inverse_frequency(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Weights that make all classes with these counts weigh alike, 1 in the mean over what is counted.

    The weight of a class that is counted n times is N / (K n), with N the sum of all counts and K the classes that
    are counted at all; that of the others is 0.
    """
    there = counts > 0
    return there * counts.sum() / (max(int(there.sum()), 1) * np.maximum(counts, 1))


class Order:
    """Which samples make which batch.

    The last batch of an epoch is dropped where it is not full: it may be too small for BatchNorm's statistics.
    """

    def __init__(self, targets: npt.NDArray[Any], config: TrainPart) -> None:
        self._targets, self._config = targets, config
        self.steps = max(len(targets) // config.batch_size, 1)

    def of(self, epoch: int) -> list[list[int]]:
        """The samples' indices of each batch of an epoch."""
        random = np.random.default_rng(seed_of(self._config.seed, epoch))
        count = len(self._targets)
        if self._config.balance == "sampling":
            chances = _rarity(self._targets)
            order = random.choice(count, size=count, p=chances / chances.sum())
        else:
            order = random.permutation(count)
        size = self._config.batch_size
        return [order[step * size : (step + 1) * size].tolist() for step in range(self.steps)]

    def keys(self, epoch: int, begin: int, rank: int, ranks: int) -> list[list[Key]]:
        """One process's part of each batch of an epoch, from the batch ``begin`` on."""
        return [[(epoch, index) for index in batch[rank::ranks]] for batch in self.of(epoch)[begin:]]


def _rarity(targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if targets.ndim == 1:
        return class_weights(targets, int(targets.max()) + 1)[targets]
    # Several classes in a picture: the rarest of them says how often it is drawn.
    return (targets / np.maximum(targets.sum(axis=0), 1)).max(axis=1) + 1 / len(targets)


def in_order(total: int, count: int | None, size: int) -> list[list[Key]]:
    """Keys of all of ``total`` samples as they are, or of ``count`` evenly spread ones, in batches of a size."""
    count = total if count is None else min(count, total)
    keys: list[Key] = [(None, index * total // count) for index in range(count)]
    return [keys[start : start + size] for start in range(0, count, size)]
