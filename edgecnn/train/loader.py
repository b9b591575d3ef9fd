"""Batches of pictures, signals or kept features, the same for a seed whatever ran before and however many read.

What a batch holds is a function of the seed, the epoch and the batch's number alone: each picture's augmentation has
random numbers of its own. So training can go on at any batch, and nothing of the loader has to be saved for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess
from edgecnn.core.training_part import TrainPart
from edgecnn.train.augment import crop_of, transform_of
from edgecnn.train.order import Key, Order, drawing_from, in_order, seed_of
from edgecnn.train.samples import Samples
from edgecnn.train.signal_windows import SignalWindows
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


class DiskBatches:
    """Samples that are read from the disk while training goes on.

    Args:
        samples: By key: an epoch, or None for a sample as it is, and an index.
        targets: What their order in an epoch depends on: see ``Order``.
        collate: Makes a batch of a list of samples.
        config: Seed, batch size and workers.
    """

    def __init__(
        self, samples: Dataset[Any], targets: npt.NDArray[Any], collate: Callable[[Any], Any], config: TrainPart
    ) -> None:
        self._samples, self._collate, self._config = samples, collate, config
        self._count, self._order = len(targets), Order(targets, config)

    def steps(self) -> int:
        """See ``Batches.steps``."""
        return self._order.steps

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """See ``Batches.epoch``."""
        return self._loaded(self._order.keys(number, begin, rank, ranks))

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """See ``Batches.plain``."""
        return self._loaded(in_order(self._count, count, self._config.batch_size))

    def _loaded(self, keys: Sequence[Sequence[Key]]) -> Iterator[Batch]:
        loader: Any = DataLoader(
            self._samples,
            batch_sampler=keys,  # pyright: ignore[reportArgumentType]
            num_workers=self._config.workers,
            collate_fn=self._collate,
            # Drawing from the global generator for workers' seeds would disturb the network's dropout.
            generator=torch.Generator(),
        )
        return iter(loader)


class PictureBatches(DiskBatches):
    """Pictures, or windows of signals, from the disk.

    Args:
        samples: The pictures and their targets.
        spec: The preprocessing that the deployed network gets.
        config: Seed, batch size and augmentation.
    """

    def __init__(self, samples: Samples, spec: InputSpec, config: TrainPart) -> None:
        signals = isinstance(spec, SignalPreprocess)
        inputs = SignalWindows(samples, spec, config) if signals else _Pictures(samples, spec, config)
        super().__init__(inputs, samples.targets, _stacked, config)
        self._targets = torch.from_numpy(samples.targets)

    def views(self, number: int) -> Iterator[Batch]:
        """All samples in order, as they are for number 0, else augmented as in an epoch of that number."""
        size = self._config.batch_size
        keys: list[Key] = [(number or None, index) for index in range(self._count)]
        return self._loaded([keys[start : start + size] for start in range(0, len(keys), size)])

    def _loaded(self, keys: Sequence[Sequence[Key]]) -> Iterator[Batch]:
        for inputs, indices in super()._loaded(keys):
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

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int]:
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
