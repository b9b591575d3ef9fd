"""Knowledge distillation: a network learns what one that has learnt before says, beside what is right."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edgecnn.core.recipe import ModelPart
from edgecnn.core.slim_part import TeacherPart
from edgecnn.errors import InputError
from edgecnn.train.layers import head_of
from edgecnn.train.objectives import Goal, Multilabel, Regression, main_output
from edgecnn.train.weights import fill, under_own_names
from edgecnn.train.zoo import build_module, state_of


class Teacher(nn.Module):
    """A network in inference mode, whose outputs have the form of those of the network that learns.

    Args:
        network: With its weights.
        part: How its answers count.
        goal: The objective; values are standardized as the goal's.
    """

    def __init__(self, network: nn.Module, part: TeacherPart, goal: Goal) -> None:
        super().__init__()
        self.network, self._part, self._goal = network.requires_grad_(False), part, goal
        self.eval()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, outputs): logits, or standardized values, of pictures (N, channels, height, width)."""
        if self._part.size_hw is not None and tuple(pictures.shape[2:]) != self._part.size_hw:
            size = list(self._part.size_hw)
            pictures = functional.interpolate(pictures, size, mode="bilinear", align_corners=False, antialias=True)
        found: torch.Tensor = self.network(pictures)
        return self._goal.standardized(found) if isinstance(self._goal, Regression) else found

    def blended(self, loss: torch.Tensor, result: Any, pictures: torch.Tensor) -> torch.Tensor:
        """The loss with the distance from the teacher in it.

        Args:
            loss: Of the labels.
            result: What the network that learns gave for the pictures, as in ``objectives.total_loss``.
            pictures: (N, channels, height, width).
        """
        with torch.no_grad():
            wanted = self(pictures).float()
        weight = self._part.weight
        return (1 - weight) * loss + weight * distance(
            main_output(result).float(), wanted, self._goal, self._part.temperature
        )


def distance(outputs: torch.Tensor, wanted: torch.Tensor, goal: Goal, temperature: float) -> torch.Tensor:
    """How far a network's outputs are from a teacher's; 0 where they are the same.

    Classes: the Kullback-Leibler divergence of the softened probabilities, times the squared temperature, so that its
    gradients stay as large as those of the labels (Hinton et al., "Distilling the Knowledge in a Neural Network",
    2015); of several labels that of each label's two probabilities, the mean over labels. Values: their Huber loss.

    Args:
        outputs: (N, outputs), logits or standardized values.
        wanted: The teacher's.
        goal: Says which of the three.
        temperature: What logits are divided by.
    """
    if isinstance(goal, Regression):
        return functional.huber_loss(outputs, wanted)
    soft, aim = outputs / temperature, wanted / temperature
    if isinstance(goal, Multilabel):
        chances = aim.sigmoid()
        cross = functional.binary_cross_entropy_with_logits(soft, chances)
        return temperature**2 * (cross - functional.binary_cross_entropy_with_logits(aim, chances))
    logs = (soft.log_softmax(dim=1), aim.log_softmax(dim=1))
    return temperature**2 * functional.kl_div(*logs, reduction="batchmean", log_target=True)


def teacher_of(part: TeacherPart, outputs: int, goal: Goal) -> Teacher:
    """The teacher that a recipe names.

    Args:
        part: Which, and how its answers count.
        outputs: Of the network that learns.
        goal: Its objective.

    Raises:
        InputError: There is no such network, its weights are not its own, or it knows other classes.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    model = ModelPart(source=part.source, weights=part.weights, arguments=part.arguments, num_classes=outputs)
    module = build_module(model)
    name, head = head_of(module, part.source)
    state = state_of(model)
    found = under_own_names(state, module.state_dict()) if state is not None else {}
    known = len(found.get(f"{name}.weight", head.weight))
    if known != outputs:
        raise InputError(
            f"train.teacher: {part.source} has {known} outputs, and the network that learns has {outputs}",
            "train the teacher on these pictures first: it must have the recipe's classes in the recipe's order",
        )
    if state is not None:
        fill(module, state, part.weights, part.source)
    return Teacher(module, part, goal)
