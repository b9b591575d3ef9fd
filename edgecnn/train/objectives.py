"""What is minimized, and the figure by which a network is judged, for each kind of target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from edgecnn.core.training_part import TrainPart
from edgecnn.train.loader import class_weights

# What GoogLeNet's paper (Szegedy et al., 2014) weighs auxiliary classifiers by.
_AUXILIARY = 0.3
Array = npt.NDArray[Any]


class Goal(Protocol):
    """One objective."""

    figure_name: str

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of (N, outputs) and their targets; those of classes may be shares, (N, classes)."""
        ...

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """Targets in a form that can be mixed: (N, outputs)."""
        ...

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the outputs mean: probabilities, or values in the targets' own unit."""
        ...

    def figure(self, scores: Array, targets: Array) -> float:
        """How good; 1 is best."""
        ...


class Softmax:
    """One class of several, by cross entropy; judged by top-1."""

    figure_name = "top-1"

    def __init__(self, config: TrainPart, targets: Array, classes: int) -> None:
        self._smoothing = config.label_smoothing
        self._classes = classes
        balanced = config.balance == "loss"
        self._weights = torch.from_numpy(class_weights(targets, classes)).float() if balanced else None

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        weights = None if self._weights is None else self._weights.to(outputs.device)
        return functional.cross_entropy(outputs, targets, weight=weights, label_smoothing=self._smoothing)

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.shares``."""
        return functional.one_hot(targets, self._classes).float()

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``Goal.scores``."""
        return outputs.softmax(dim=1)

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``Goal.figure``."""
        return float((scores.argmax(axis=1) == targets).mean())


class Multilabel:
    """Any number of classes, by binary cross entropy; judged by average precision, the mean over classes."""

    figure_name = "mean average precision"

    def __init__(self, config: TrainPart, targets: Array) -> None:
        self._smoothing = config.label_smoothing
        positive = np.maximum(targets.sum(axis=0), 1)
        weights = torch.from_numpy((len(targets) - positive) / positive).float()
        self._weights = weights if config.balance == "loss" else None

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        weights = None if self._weights is None else self._weights.to(outputs.device)
        smooth = targets * (1 - self._smoothing) + self._smoothing / 2
        return functional.binary_cross_entropy_with_logits(outputs, smooth, pos_weight=weights)

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.shares``."""
        return targets

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``Goal.scores``."""
        return outputs.sigmoid()

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``Goal.figure``; classes that no picture has do not count."""
        from sklearn.metrics import average_precision_score

        there = targets.any(axis=0)
        return float(average_precision_score(targets[:, there], scores[:, there], average="macro"))


class Regression:
    """Numbers, by Huber loss of the standardized targets; judged by the part of their variance that is explained (R2).

    The network learns standardized values; ``edgecnn.train.layers.unscale`` gives its last layer their unit afterwards.
    """

    figure_name = "R2"

    def __init__(self, targets: Array) -> None:
        self.means = torch.from_numpy(targets.mean(axis=0)).float()
        self.deviations = torch.from_numpy(np.maximum(targets.std(axis=0), 1e-8)).float()

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        device = outputs.device
        return functional.huber_loss(outputs, (targets - self.means.to(device)) / self.deviations.to(device))

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.shares``."""
        return targets

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``Goal.scores``."""
        return outputs * self.deviations.to(outputs.device) + self.means.to(outputs.device)

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``Goal.figure``; the mean over outputs."""
        residual = ((scores - targets) ** 2).sum(axis=0)
        return float((1 - residual / np.maximum(((targets - targets.mean(axis=0)) ** 2).sum(axis=0), 1e-12)).mean())


def goal_of(config: TrainPart, targets: Array, outputs: int) -> Softmax | Multilabel | Regression:
    """The goal that a recipe states, for a network with this many outputs."""
    if config.objective == "softmax":
        return Softmax(config, targets, outputs)
    return Multilabel(config, targets) if config.objective == "multilabel" else Regression(targets)


def total_loss(goal: Goal, result: Any, targets: torch.Tensor) -> torch.Tensor:
    """The loss of what a network in training gives: a tensor, or one and those of auxiliary classifiers."""
    if isinstance(result, torch.Tensor):
        return goal.loss(result, targets)
    found: Sequence[Any] = list(result.values()) if isinstance(result, Mapping) else list(result)
    main, *others = [part for part in found if isinstance(part, torch.Tensor)]
    return goal.loss(main, targets) + _AUXILIARY * sum(
        (goal.loss(part, targets) for part in others), torch.zeros((), device=main.device)
    )


def mixed(inputs: torch.Tensor, shares: torch.Tensor, alpha: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixup: each sample with another of the batch, targets likewise (Zhang et al., 2018).

    Args:
        inputs: (N, ...).
        shares: (N, outputs), see ``Goal.shares``.
        alpha: The part of each is drawn from Beta(alpha, alpha), one for the batch.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    part = float(random.beta(alpha, alpha))
    other = torch.from_numpy(random.permutation(len(inputs)))
    return inputs * part + inputs[other] * (1 - part), shares * part + shares[other] * (1 - part)
