"""The parts of a network that training treats differently: its last layer, its blocks, its optional layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from edgecnn.core.recipe import ModelPart
from edgecnn.errors import InputError

Head = nn.Linear | nn.Conv2d
_GLOBAL_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm)


def set_layers(module: nn.Module, model: ModelPart) -> None:
    """Give a network of a library the dropout and the global pooling that a recipe states.

    Raises:
        InputError: The network has no such layer, or has pooling of its own code's.
    """
    if model.pooling is not None:
        raise InputError(
            f"model {model.source}: model.pooling is for networks of the zoo",
            "leave it out, or see whether model.arguments of this network can say it",
        )
    if model.dropout is not None:
        _set_dropout(module, model)
    if model.global_pooling is not None:
        pools = {name: part for name, part in module.named_modules() if isinstance(part, _GLOBAL_POOLS)}
        if not pools:
            raise InputError(
                f"model {model.source}: it has no layer of global pooling that could be exchanged",
                "leave model.global_pooling out, or for timm give model.arguments: {global_pool: max}",
            )
        for name, part in pools.items():
            size: Any = part.output_size
            made = nn.AdaptiveAvgPool2d(size) if model.global_pooling == "average" else nn.AdaptiveMaxPool2d(size)
            _exchange(module, name, made)


def _set_dropout(module: nn.Module, model: ModelPart) -> None:
    assert model.dropout is not None
    found = [part for part in module.modules() if isinstance(part, nn.Dropout)]
    for part in found:
        part.p = model.dropout
    if not found:
        name, head = head_of(module, model.source)
        _exchange(module, name, _Dropped(head, model.dropout))


class _Dropped(nn.Linear):
    """A last layer whose inputs are dropped in training; its parameters have the names of the layer's own."""

    def __init__(self, layer: Head, part: float) -> None:
        if not isinstance(layer, nn.Linear):
            raise InputError("model.dropout: the last layer is a convolution", "leave model.dropout out")
        super().__init__(layer.in_features, layer.out_features, bias="bias" in layer.state_dict())
        self.load_state_dict(layer.state_dict())
        self.part = part

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        return super().forward(nn.functional.dropout(input, self.part, self.training))


def _exchange(module: nn.Module, name: str, made: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, made)


def head_of(module: nn.Module, source: str) -> tuple[str, Head]:
    """The name and the layer that a classifier ends in: its last fully connected layer or convolution.

    Raises:
        InputError: It has neither.
    """
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))]
    if not found:
        raise InputError(f"model {source}: no fully connected layer or convolution to end in", "name another network")
    return found[-1]


def outer_layers(module: nn.Module, source: str) -> list[str]:
    """Names of the layers whose size is the number of classes: the last one, and those of auxiliary classifiers."""
    name, head = head_of(module, source)
    outputs = head.weight.shape[0]
    auxiliary = [
        other
        for other, part in module.named_modules()
        if _is_auxiliary(other) and isinstance(part, nn.Linear) and part.out_features == outputs
    ]
    return [*auxiliary, name]


def _is_auxiliary(name: str) -> bool:
    return name.lower().startswith("aux")


def blocks_of(module: nn.Module, source: str) -> list[list[str]]:
    """Names of parameters in blocks from the input to the output; the last block is the last layer.

    A block is what a network's code numbers (``features.3``, ``layer1.0``) or names at its top (``conv1``); a
    normalization on its own belongs to the block before it, auxiliary classifiers to the last.
    """
    outer = outer_layers(module, source)
    blocks: dict[str, list[str]] = {}
    last: list[str] = []
    for name, _ in module.named_parameters():
        owner = name.rpartition(".")[0]
        if owner in outer or _is_auxiliary(name):
            last.append(name)
            continue
        parts = owner.split(".")
        key = ".".join(parts[:2]) if len(parts) > 1 and parts[1].isdecimal() else parts[0]
        if key not in blocks and blocks and all(isinstance(p, _NORMS) for p in _leaves(module.get_submodule(key))):
            key = next(reversed(blocks))
        blocks.setdefault(key, []).append(name)
    return [*blocks.values(), last]


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if not list(part.children())]


def freeze(module: nn.Module, learning: Sequence[str]) -> None:
    """Let the named parameters learn and no others; parts that do not learn go into inference mode.

    BatchNorm in a frozen part must not go on averaging: it would take the part away from what its weights were learnt
    with. To be called after ``module.train()``, which puts everything into training mode.
    """
    chosen = set(learning)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)
    for part in module.modules():
        own = list(part.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()


def set_batch_norm_momentum(module: nn.Module, momentum: float) -> None:
    """Give every BatchNorm Torch's ``momentum``: what the newest batch weighs in the running averages."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.momentum = momentum


def unscale(head: Head, means: torch.Tensor, deviations: torch.Tensor) -> None:
    """Make a last layer that gives standardized values give the values themselves."""
    with torch.no_grad():
        weight, bias = head.get_parameter("weight"), head.get_parameter("bias")
        weight.mul_(deviations.reshape(-1, *[1] * (weight.ndim - 1)))
        bias.mul_(deviations).add_(means)
