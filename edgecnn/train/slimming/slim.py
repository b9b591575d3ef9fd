"""What follows a training where the recipe asks for a cheaper network: pruning, then 2:4 sparsity, with fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.train.loader import Batch, Batches
from edgecnn.train.objectives import Goal, main_output
from edgecnn.train.order import seed_of
from edgecnn.train.slimming.prune import Pruned, prune, require_prunable
from edgecnn.train.slimming.sparsity import held, masks_of, sparse_layers

# Batches that show what a channel matters.
_BATCHES = 16

# Fine-tunes a network in place: how, on what, and the name of its state.
Learn = Callable[[nn.Module, TrainPart, Batches, str], Any]


@dataclass(frozen=True)
class Sparse:
    """What 2:4 sparsity came to.

    Attributes:
        layers: How many are sparse.
        before: The figure on the pictures kept back without it; None without such, as the next.
        after: The figure with it.
    """

    layers: int
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Slim:
    """What became of a network after its training.

    Attributes:
        pruned: Where channels were removed.
        sparse: Where weights became 2:4 sparse.
    """

    pruned: Pruned | None = None
    sparse: Sparse | None = None


def require_slimmable(
    module: nn.Module, source: str, shape: Sequence[int], config: TrainPart, validation: Batches | None
) -> None:
    """See before a long training whether what is to follow it can be done.

    Raises:
        InputError: It cannot.
    """
    if config.prune is not None:
        if validation is None:
            raise InputError(
                "train.prune: no pictures are kept back, and only they say when to end",
                "give data.validation or data.validation_share",
            )
        require_prunable(module, shape, source, config.prune)
    if config.sparsity != "none":
        sparse_layers(module, source)


def slimmed(
    module: nn.Module,
    source: str,
    shape: Sequence[int],
    goal: Goal,
    train: Batches,
    validation: Batches | None,
    config: TrainPart,
    learn: Learn,
) -> tuple[nn.Module, Slim]:
    """Make a network that has learnt cheaper to run, as far as the recipe asks for it.

    Each part begins with what the one before left, and draws other random numbers; run again after a kill, all go
    through what they did before, as far as their states reach.

    Args:
        module: The network.
        source: What the user calls it.
        shape: (1, channels, height, width) of a picture.
        goal: What it learns.
        train: What from.
        validation: What it is judged by.
        config: How it was trained.
        learn: Trains it.
    """
    pruned, sparse, after = None, None, config.epochs
    if config.prune is not None and validation is not None:
        part, held_back = config.prune, validation

        def judged(network: nn.Module) -> float:
            return goal.judged(network, held_back).figure

        def fine_tuned(network: nn.Module, number: int) -> None:
            rate = part.learning_rate or config.learning_rate
            how = _again(config, number, epochs=part.epochs, learning_rate=rate)
            learn(network, how, _Later(train, config.epochs + (number - 1) * part.epochs), f"pruned-{number}")

        def losses(network: nn.Module) -> Iterator[torch.Tensor]:
            return _losses(network, goal, train.epoch(config.epochs, 0, 0, 1))

        module, pruned = prune(module, shape, source, part, losses, fine_tuned, judged)
        after += len(pruned.steps) * part.epochs
    module.cpu()
    if config.sparsity != "none":
        before = goal.judged(module, validation).figure if validation is not None else None
        layers = sparse_layers(module, source)
        # Mishra et al., 2021: the whole training once more, by the same schedule, with the pattern kept.
        with held(layers, masks_of(layers)):
            learn(module, _again(config, 0), _Later(train, after), "sparse")
        figure = goal.judged(module, validation).figure if validation is not None else None
        sparse = Sparse(len(layers), before, figure)
    return module, Slim(pruned, sparse)


def _again(config: TrainPart, number: int, **changes: Any) -> TrainPart:
    """The training once more, with other random numbers, all layers from the beginning."""
    return config.model_copy(update={"seed": seed_of(config.seed, 3, number), "unfreeze_epochs": 0, **changes})


def _losses(module: nn.Module, goal: Goal, batches: Iterator[Batch]) -> Iterator[torch.Tensor]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device).eval()
    for inputs, targets in islice(batches, _BATCHES):
        yield goal.loss(main_output(module(inputs.to(device))), targets.to(device))


class _Later:
    """Batches as they will be in epochs to come: their pictures are augmented anew."""

    def __init__(self, batches: Batches, after: int) -> None:
        self._batches, self._after = batches, after

    def steps(self) -> int:
        """See ``Batches.steps``."""
        return self._batches.steps()

    def epoch(self, number: int, begin: int, rank: int, ranks: int) -> Iterator[Batch]:
        """See ``Batches.epoch``."""
        return self._batches.epoch(number + self._after, begin, rank, ranks)

    def plain(self, count: int | None = None) -> Iterator[Batch]:
        """See ``Batches.plain``."""
        return self._batches.plain(count)
