"""2:4 sparsity: of every four weights in a row along the input channels two are 0, as Ampere's tensor cores can use."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from edgecnn.errors import InputError
from edgecnn.train.layers import head_of

# What NVIDIA's own tool (ASP) asks of a layer: fewer channels fill no tile of sparse tensor cores.
_INPUTS, _OUTPUTS = 16, 8


def sparse_layers(module: nn.Module, source: str) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers that become sparse, by name: convolutions in one group and fully connected ones, but the last.

    Raises:
        InputError: There are none.
    """
    last, _ = head_of(module, source)
    found = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
        and name != last
        and getattr(layer, "groups", 1) == 1
        and not layer.weight.shape[1] % _INPUTS
        and not layer.weight.shape[0] % _OUTPUTS
    }
    if not found:
        raise InputError(
            f"train.sparsity: model {source} has no layer with inputs in multiples of {_INPUTS} and outputs in "
            f"multiples of {_OUTPUTS}",
            "leave train.sparsity out",
        )
    return found


def masks_of(layers: Mapping[str, nn.Conv2d | nn.Linear]) -> dict[str, torch.Tensor]:
    """Which weights stay, bool and of the weights' shape: of four the two of largest magnitude.

    The four lie along the input channels, at one place of the kernel and for one output channel (Mishra et al.,
    "Accelerating Sparse Deep Neural Networks", 2021).
    """
    masks: dict[str, torch.Tensor] = {}
    for name, layer in layers.items():
        rows = layer.weight.detach().movedim(1, -1)
        fours = rows.abs().reshape(-1, 4)
        # A stable order: where magnitudes are the same, the first stay.
        kept = fours.argsort(dim=1, descending=True, stable=True)[:, :2]
        mask = torch.zeros_like(fours, dtype=torch.bool).scatter_(1, kept, True)
        masks[name] = mask.reshape(rows.shape).movedim(-1, 1)
    return masks


@contextmanager
def held(layers: Mapping[str, nn.Conv2d | nn.Linear], masks: Mapping[str, torch.Tensor]) -> Generator[None]:
    """Make the other weights 0, and keep them so while a fresh optimizer learns.

    Without a gradient neither AdamW nor SGD moves a weight that is 0, and weight decay leaves it there.
    """
    handles = []
    for name, layer in layers.items():
        with torch.no_grad():
            layer.weight.mul_(masks[name])
        handles.append(
            layer.weight.register_hook(lambda gradient, kept=masks[name]: gradient * kept.to(gradient.device))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
