"""Networks whose last stages are kept at a finer stride by dilated convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_LOOK_SIDE = 256
_Layer = nn.Conv2d | nn.MaxPool2d
_CHANGED = ("stride", "padding", "dilation")


def keep_at_stride(network: nn.Module, stride: int) -> bool:
    """Let nothing in a network be coarser than a stride, with the weights that it has.

    What would halve the map further does not, and what comes behind it looks as far as before: the "algorithme à
    trous" (Chen et al., "DeepLab", 2018). Of a network without means over the whole picture, every second place of the
    new map is exactly the old one.

    Args:
        network: Changed in place, where it halves its maps by convolutions and overlapping maxima.
        stride: Pixels of the input.

    Returns:
        Whether that is so now. Of a network that halves them in another way nothing is changed.
    """
    side = _LOOK_SIDE // stride
    try:
        seen = _sides(network)
    except Exception:  # whatever a network's own code may raise: its trunk will say so
        return False
    before = [(layer, {name: getattr(layer, name) for name in _CHANGED}) for layer in seen]
    for layer, (read, made) in seen.items():
        if not 1 < read <= side:
            continue
        behind, finer = side // read, (1, 1) if made < read else layer.stride
        dilation, padding = _pair(layer.dilation), layer.padding
        layer.stride = finer
        layer.dilation = (dilation[0] * behind, dilation[1] * behind)
        if not isinstance(padding, str):
            layer.padding = (_pair(padding)[0] * behind, _pair(padding)[1] * behind)
    try:
        kept = all(read > side or {read, made} <= {1, side} for read, made in _sides(network).values())
    except Exception:  # such as a sum of maps of two sizes
        kept = False
    if not kept:
        for layer, values in before:
            for name, value in values.items():
                setattr(layer, name, value)
    return kept


def _sides(network: nn.Module) -> dict[Any, tuple[int, int]]:
    """Heights of what each layer reads and makes of an empty picture."""
    seen: dict[Any, tuple[int, int]] = {}

    def look(layer: nn.Module, inputs: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        seen[layer] = (int(inputs[0].shape[2]), int(result.shape[2]))

    hooks = [part.register_forward_hook(look) for part in network.modules() if isinstance(part, _Layer)]
    first = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    mode = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, first.in_channels if first is not None else 3, _LOOK_SIDE, _LOOK_SIDE))
    finally:
        for hook in hooks:
            hook.remove()
        network.train(mode)
    return seen


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
