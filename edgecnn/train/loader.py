"""Batches of pictures or of kept features, the same for a seed whatever ran before and however many processes read.

What a batch holds is a function of the seed, the epoch and the batch's number alone: each picture's augmentation has
random numbers of its own. So training can go on at any batch, and nothing of the loader has to be saved for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import crop_of, transform_of
from edgecnn.train.samples import Samples
from edgecnn.vision.preprocess import preprocess, resize_and_crop

# Pictures at the input's size that stay in memory; what goes beyond is read from the disk in every epoch.
KEPT_BYTES = 512 * 2**20

Batch = tuple[torch.Tensor, torch.Tensor]


class Batches(Protocol):
    """What the loop learns from."""

    def steps(self) -> int:
        """Batches of an epoch."""
        ...

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """Inputs and targets of an epoch's batches from number ``begin`` on, this process's part of each."""
        ...

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """All samples as they are, or ``count`` evenly spread ones, in order and in batches."""
        ...


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
    counts = np.bincount(targets, minlength=classes)
    return len(targets) / (max(int((counts > 0).sum()), 1) * np.maximum(counts, 1))


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


def _rarity(targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if targets.ndim == 1:
        return class_weights(targets, int(targets.max()) + 1)[targets]
    # Several classes in a picture: the rarest of them says how often it is drawn.
    return (targets / np.maximum(targets.sum(axis=0), 1)).max(axis=1) + 1 / len(targets)


class PictureBatches:
    """Pictures from the disk.

    Args:
        samples: The pictures and their targets.
        spec: The preprocessing that the deployed network gets.
        config: Seed, batch size and augmentation.
    """

    def __init__(self, samples: Samples, spec: Preprocess, config: TrainPart) -> None:
        self._samples, self._config = samples, config
        self._order = Order(samples.targets, config)
        self._pictures = _Pictures(samples, spec, config)
        self._targets = torch.from_numpy(samples.targets)

    def steps(self) -> int:
        """See ``Batches.steps``."""
        return self._order.steps

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """See ``Batches.epoch``."""
        keys = [[(number, index) for index in batch[rank::ranks]] for batch in self._order.of(number)[begin:]]
        return self._loaded(keys)

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """See ``Batches.plain``."""
        return self._loaded(in_order(len(self._samples), count, self._config.batch_size))

    def views(self, number: int) -> Iterator[Batch]:
        """All samples in order, as they are for number 0, else augmented as in an epoch of that number."""
        size = self._config.batch_size
        keys = [(number or None, index) for index in range(len(self._samples))]
        return self._loaded([keys[start : start + size] for start in range(0, len(keys), size)])

    def _loaded(self, keys: Sequence[Sequence[tuple[int | None, int]]]) -> Iterator[Batch]:
        loader: Any = DataLoader(
            self._pictures,
            batch_sampler=keys,  # pyright: ignore[reportArgumentType]
            num_workers=self._config.workers,
            collate_fn=_stacked,
            # Drawing from the global generator for workers' seeds would disturb the network's dropout.
            generator=torch.Generator(),
        )
        for inputs, indices in loader:
            yield inputs, self._targets[indices]


class FeatureBatches:
    """Rows that a frozen trunk made of pictures, several views of each.

    Args:
        features: float32 (views, N, values); the first view is of the pictures as they are.
        targets: Of the N samples.
        config: Seed and batch size.
    """

    def __init__(self, features: npt.NDArray[np.float32], targets: npt.NDArray[Any], config: TrainPart) -> None:
        self._features, self._config = features, config
        self._order = Order(targets, config)
        self._targets = torch.from_numpy(targets)

    def steps(self) -> int:
        """See ``Batches.steps``."""
        return self._order.steps

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """See ``Batches.epoch``; each sample in one of its views."""
        random = np.random.default_rng(seed_of(self._config.seed, number, 1))
        views = random.integers(len(self._features), size=len(self._targets))
        for batch in self._order.of(number)[begin:]:
            chosen = np.asarray(batch[rank::ranks])
            yield torch.from_numpy(self._features[views[chosen], chosen]), self._targets[chosen]

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """See ``Batches.plain``."""
        for keys in in_order(len(self._targets), count, self._config.batch_size):
            chosen = [index for _, index in keys]
            yield torch.from_numpy(np.ascontiguousarray(self._features[0, chosen])), self._targets[chosen]


class _Pictures(Dataset[Any]):
    """Samples by (epoch, index); an epoch of None is the picture as it is."""

    def __init__(self, samples: Samples, spec: Preprocess, config: TrainPart) -> None:
        self._samples, self._spec, self._config = samples, spec, config
        self._transform = transform_of(config.augment, spec)
        # What is left to do for a picture that has the input's size already.
        self._rest = spec.model_copy(update={"resize": "stretch", "shorter_side": None})
        self._kept: dict[int, Image] = {}
        self._room = KEPT_BYTES // max(config.workers, 1)

    def __getitem__(self, key: tuple[int | None, int]) -> tuple[torch.Tensor, int]:
        epoch, index = key
        if epoch is None:
            return self._tensor(self._small(index)), index
        with drawing_from(self._config.seed, epoch, index):
            return self._tensor(self._changed(self._cut(index))), index

    def _small(self, index: int) -> Image:
        """The picture at the input's size, from memory where it is there."""
        kept = self._kept.get(index)
        if kept is None:
            kept = resize_and_crop(self._samples.picture(index), self._spec)
            if kept.nbytes <= self._room:
                self._room -= kept.nbytes
                self._kept[index] = kept.copy()
        return kept

    def _cut(self, index: int) -> Image:
        if self._config.augment.crop is None:
            return self._small(index)
        picture = self._samples.picture(index)
        part = crop_of(self._config.augment, (picture.shape[0], picture.shape[1]))
        assert part is not None
        top, left, height, width = part
        return resize_and_crop(picture[top : top + height, left : left + width], self._rest)

    def _changed(self, picture: Image) -> Image:
        if self._transform is None:
            return picture
        planes = picture[None] if picture.ndim == 2 else picture[:, :, ::-1].transpose(2, 0, 1)
        changed = self._transform(torch.from_numpy(np.ascontiguousarray(planes))).numpy()
        return changed[0] if picture.ndim == 2 else np.ascontiguousarray(changed[::-1].transpose(1, 2, 0))

    def _tensor(self, picture: Image) -> torch.Tensor:
        return torch.from_numpy(preprocess(picture, self._rest)[0])


def _stacked(items: Sequence[tuple[torch.Tensor, int]]) -> tuple[torch.Tensor, list[int]]:
    return torch.stack([picture for picture, _ in items]), [index for _, index in items]


def in_order(total: int, count: int | None, size: int) -> list[list[tuple[None, int]]]:
    """Keys of all of ``total`` samples as they are, or of ``count`` evenly spread ones, in batches of a size."""
    count = total if count is None else min(count, total)
    keys = [(None, index * total // count) for index in range(count)]
    return [keys[start : start + size] for start in range(0, count, size)]
