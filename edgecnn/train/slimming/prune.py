"""Structured pruning: channels that matter least for what they cost are removed, step by step with fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from edgecnn.core.slim_part import PrunePart
from edgecnn.errors import GateMissed, InputError
from edgecnn.train.slimming.coupling import Coupling, Family, couple
from edgecnn.train.slimming.narrow import computes_the_same, prunable_families, remove

# A layer loses no more than this part of its channels in one step: what is left is told apart by their scores, which
# were found with all of them there.
_MOST_OF_A_FAMILY = 0.5


@dataclass(frozen=True)
class Step:
    """A network on the way.

    Attributes:
        macs: Multiply-accumulates of its convolutions and fully connected layers for one picture.
        parameters: What it has learnt.
        figure: On the pictures kept back; 1 is best.
    """

    macs: int
    parameters: int
    figure: float


@dataclass(frozen=True)
class Pruned:
    """What pruning came to.

    Attributes:
        steps: The whole network, and what each step made of the one before.
        kept: Number of the one that is the result.
    """

    steps: tuple[Step, ...]
    kept: int


def prune(
    module: nn.Module,
    shape: Sequence[int],
    source: str,
    part: PrunePart,
    losses: Callable[[nn.Module], Iterable[torch.Tensor]],
    learn: Callable[[nn.Module, int], None],
    judge: Callable[[nn.Module], float],
) -> tuple[nn.Module, Pruned]:
    """Remove channels as long as the figure allows.

    Args:
        module: A network that has learnt; it stays.
        shape: (1, channels, height, width) of a picture.
        source: What the user calls the network.
        part: How.
        losses: Of a few batches, each to be differentiated before the next.
        learn: Fine-tunes a network in place; the second argument is the step's number, from 1.
        judge: A network's figure on the pictures kept back.

    Returns:
        The smallest network that keeps the figure, which may be the one given, and how it came about.

    Raises:
        GateMissed: The network is not the same any more without channels that nothing reads.
    """
    coupling = couple(module, shape)
    families = prunable_families(module, coupling, shape, part.multiple)
    steps = [_step(coupling, judge(module))]
    best, kept, candidate = module, 0, copy.deepcopy(module)
    while steps[-1].macs > part.least_macs * steps[0].macs:
        scores = importance(candidate, coupling, losses(candidate))
        target = max((1 - part.step) * steps[-1].macs, part.least_macs * steps[0].macs)
        gone = least_important(coupling, families, scores, target)
        if not gone.any():
            break
        if not computes_the_same(candidate, coupling, gone, shape):
            raise GateMissed(
                f"train.prune: without channels that nothing reads, {source} computes something else",
                "leave train.prune out: its code does not allow it",
            )
        remove(candidate, coupling, gone)
        learn(candidate, len(steps))
        coupling = couple(candidate, shape)
        families = prunable_families(candidate, coupling, shape, part.multiple)
        steps.append(_step(coupling, judge(candidate)))
        if 100 * (steps[0].figure - steps[-1].figure) > part.max_drop:
            break
        best, kept = copy.deepcopy(candidate), len(steps) - 1
    return best, Pruned(tuple(steps), kept)


def require_prunable(module: nn.Module, shape: Sequence[int], source: str, part: PrunePart) -> None:
    """See before a long training whether something can be removed.

    Raises:
        InputError: Nothing can.
    """
    if not prunable_families(module, couple(module, shape), shape, part.multiple):
        raise InputError(
            f"train.prune: model {source} has no layers that could be made narrower in multiples of {part.multiple}",
            "leave train.prune out, or choose another network",
        )


def _step(coupling: Coupling, figure: float) -> Step:
    whole = coupling.nothing()
    return Step(coupling.macs(whole), coupling.parameters(whole), figure)


def importance(module: nn.Module, coupling: Coupling, losses: Iterable[torch.Tensor]) -> torch.Tensor:
    """For each label, how much the loss would change without its channels, by its first derivative.

    Without them is where all weights that read them are 0. So the change is the sum of weight times gradient over
    these, to first order; it is squared, and the mean over batches taken: Molchanov et al., "Importance Estimation for
    Neural Network Pruning", 2019, with the whole group of coupled channels as one.

    Args:
        module: The network, in inference mode.
        coupling: Its channels.
        losses: Of some batches.

    Returns:
        float64, by label; such figures can be compared from layer to layer.
    """
    parameters = dict(module.named_parameters())
    total, count = torch.zeros(coupling.count, dtype=torch.float64), 0
    for loss in losses:
        module.zero_grad()
        loss.backward()
        change = torch.zeros_like(total)
        for name, axis in coupling.read_axes():
            weight = parameters[name]
            if weight.grad is not None:
                products = (weight.detach() * weight.grad).double().cpu()
                sums = products.sum(dim=[other for other in range(weight.ndim) if other != axis])
                change.index_add_(0, coupling.axes[name, axis], sums)
        total, count = total + change**2, count + 1
    module.zero_grad()
    return total / max(count, 1)


def least_important(
    coupling: Coupling, families: Sequence[Family], scores: torch.Tensor, target: float
) -> torch.Tensor:
    """Labels to be removed until no more multiply-accumulates than these are left, or nothing more can go.

    Over all layers, those go first whose score is least for what they cost. Layers keep round widths, and at least half
    of what they have.

    Args:
        coupling: The network's channels.
        families: What can go.
        scores: By label.
        target: Multiply-accumulates.

    Returns:
        bool, by label.
    """
    whole = coupling.macs(coupling.nothing())
    parts: list[tuple[float, torch.Tensor]] = []
    for family in families:
        order = family.labels[scores[family.labels].argsort(stable=True)]
        # The first ones to go make the width round.
        ends = range(len(order) % family.multiple or family.multiple, len(order), family.multiple)
        start = 0
        for end in ends:
            if start and end > _MOST_OF_A_FAMILY * len(order):
                break
            chosen = order[start:end]
            without = coupling.nothing()
            without[chosen] = True
            saved = whole - coupling.macs(without)
            if saved:
                parts.append((float(scores[chosen].sum()) / saved, chosen))
            start = end
    gone = coupling.nothing()
    for _, chosen in sorted(parts, key=lambda part: part[0]):
        if coupling.macs(gone) <= target:
            break
        gone[chosen] = True
    return gone
