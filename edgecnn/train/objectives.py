"""What is minimized, and the figure by which a network is judged, for each kind of target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional

from edgecnn.core.training_part import TrainPart
from edgecnn.train.loader import Batches
from edgecnn.train.order import class_weights
from edgecnn.train.outputs import Array, outputs_of, tensors_of

# What GoogLeNet's paper (Szegedy et al., 2014) weighs auxiliary classifiers by.
_AUXILIARY = 0.3


class Judged(Protocol):
    """What a network makes of samples, and how good that is."""

    @property
    def loss(self) -> float:
        """The goal's."""
        ...

    @property
    def figure(self) -> float:
        """How good; 1 is best."""
        ...

    def __len__(self) -> int:
        """Samples."""
        ...


class Goal(Protocol):
    """One objective: what is minimized, and what a network is judged by."""

    figure_name: str

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch's outputs, (N, ...), and their targets."""
        ...

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """Targets in a form that can be mixed: (N, outputs)."""
        ...

    def judged(
        self, module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
    ) -> Judged:
        """Judge a network, which is left in inference mode, on samples as they are, or on ``count`` of them."""
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of samples, in inference mode and without augmentation.

    Attributes:
        scores: float32 (N, outputs): probabilities, or values.
        targets: What is right.
        loss: The goal's.
        figure: How good, 1 is best.
    """

    scores: Array
    targets: Array
    loss: float
    figure: float

    def __len__(self) -> int:
        return len(self.targets)


class RowGoal(ABC):
    """An objective for networks that give one row for a sample: (N, outputs)."""

    figure_name: str

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``; targets that are classes may be shares, (N, classes)."""

    @abstractmethod
    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the outputs mean: probabilities, or values in the targets' own unit."""

    @abstractmethod
    def figure(self, scores: Array, targets: Array) -> float:
        """How good; 1 is best."""

    def judged(
        self, module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
    ) -> Answers:
        """See ``Goal.judged``."""
        found, targets = outputs_of(module, batches, fabric, count)
        outputs = torch.from_numpy(found)
        scores = self.scores(outputs).numpy().astype(np.float32)
        loss = float(self.loss(outputs, torch.from_numpy(targets)))
        return Answers(scores, targets, loss, self.figure(scores, targets))


class Softmax(RowGoal):
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
        """See ``RowGoal.scores``."""
        return outputs.softmax(dim=1)

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``RowGoal.figure``."""
        return float((scores.argmax(axis=1) == targets).mean())


class Multilabel(RowGoal):
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
        """See ``RowGoal.scores``."""
        return outputs.sigmoid()

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``RowGoal.figure``; classes that no picture has do not count."""
        from sklearn.metrics import average_precision_score

        there = targets.any(axis=0)
        return float(average_precision_score(targets[:, there], scores[:, there], average="macro"))


class Regression(RowGoal):
    """Numbers, by Huber loss of the standardized targets; judged by the part of their variance that is explained (R2).

    The network learns standardized values; ``edgecnn.train.layers.unscale`` gives its last layer their unit afterwards.
    """

    figure_name = "R2"

    def __init__(self, targets: Array) -> None:
        self.means = torch.from_numpy(targets.mean(axis=0)).float()
        self.deviations = torch.from_numpy(np.maximum(targets.std(axis=0), 1e-8)).float()

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        return functional.huber_loss(outputs, self.standardized(targets))

    def standardized(self, values: torch.Tensor) -> torch.Tensor:
        """Values in the targets' unit as the network learns them, (N, outputs)."""
        return (values - self.means.to(values.device)) / self.deviations.to(values.device)

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.shares``."""
        return targets

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``RowGoal.scores``."""
        return outputs * self.deviations.to(outputs.device) + self.means.to(outputs.device)

    def figure(self, scores: Array, targets: Array) -> float:
        """See ``RowGoal.figure``; the mean over outputs."""
        residual = ((scores - targets) ** 2).sum(axis=0)
        return float((1 - residual / np.maximum(((targets - targets.mean(axis=0)) ** 2).sum(axis=0), 1e-12)).mean())


def goal_of(config: TrainPart, targets: Array, outputs: int) -> Softmax | Multilabel | Regression:
    """The goal that a recipe states, for a network with this many outputs."""
    if config.objective == "softmax":
        return Softmax(config, targets, outputs)
    return Multilabel(config, targets) if config.objective == "multilabel" else Regression(targets)


def total_loss(goal: Goal, result: Any, targets: torch.Tensor) -> torch.Tensor:
    """The loss of what a network in training gives: a tensor, or one and those of auxiliary classifiers."""
    main, *others = tensors_of(result)
    if not others:
        return goal.loss(main, targets)
    return goal.loss(main, targets) + _AUXILIARY * sum(
        (goal.loss(part, targets) for part in others), torch.zeros((), device=main.device)
    )


def main_output(result: Any) -> torch.Tensor:
    """What a network in training gives, without what its auxiliary classifiers do."""
    return tensors_of(result)[0]


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
