"""Steps of the weights: which optimizer, at which rate, and what their average is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from edgecnn.core.training_part import TrainPart


def optimizer_of(module: nn.Module, blocks: Sequence[Sequence[str]], config: TrainPart) -> torch.optim.Optimizer:
    """A group for each block and each kind of parameter; ``scale`` is the part of the learning rate that it gets."""
    parameters = dict(module.named_parameters())
    groups: list[dict[str, Any]] = []
    for depth, block in enumerate(reversed(blocks)):
        for decays in (False, True):
            # Gains and shifts, one number a channel, are not pulled towards 0.
            chosen = [parameters[name] for name in block if (parameters[name].ndim > 1) == decays]
            if chosen:
                decay = config.weight_decay if decays else 0.0
                groups.insert(0, {"params": chosen, "weight_decay": decay, "scale": config.layer_decay**depth})
    if config.optimizer == "sgd":
        momentum = config.momentum
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def rate_factor(config: TrainPart, steps: int) -> Callable[[int], float]:
    """The learning rate of each step as a part of the highest: a straight rise, then half a cosine, or level."""
    warm = max(int(steps * config.warm_up), 1)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        if config.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))

    return factor


def average_with(decay: float | None) -> Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]:
    """An exponential moving average that follows faster at first, when it has seen little."""

    def average(held: torch.Tensor, new: torch.Tensor, seen: Any) -> torch.Tensor:
        if not held.is_floating_point():
            return new
        part = min(decay or 0.0, (1 + float(seen)) / (10 + float(seen)))
        return held * part + new * (1 - part)

    return average
