"""The maps that a network makes at several resolutions on its way to its classes, whatever network it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torchvision.models.feature_extraction import create_feature_extractor

from edgecnn.errors import InputError

# A picture to look at shapes with; a side of 1 or 7 after global pooling is none of its 32nd, 16th and 8th parts.
_LOOK_SIDE = 256


class Trunk(nn.Module):
    """A network up to its last map that is wanted, which gives its maps at some strides; the rest of it is gone.

    Parameters have the network's own names, below ``body.``.

    Args:
        network: Any network that torch.fx can follow.
        source: What the user calls it, for messages.
        strides: Of each map; of several, the first one at which the network has maps.

    Attributes:
        widths: Channels of each map.

    Raises:
        InputError: It has no maps at these strides, or its code cannot be followed.
    """

    def __init__(self, network: nn.Module, source: str, strides: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        places = map_places(network, source, strides)
        self.widths = tuple(width for _, width in places)
        try:
            self.body: nn.Module = create_feature_extractor(
                network,
                {name: str(number) for number, (name, _) in enumerate(places)},
                # timm's are classes of its own: followed into, they would forget to be frozen, and their momentum.
                tracer_kwargs={"leaf_modules": [_BatchNorm]},
            )
        except Exception as error:  # whatever a network's own code does that tracing cannot follow
            raise InputError(
                f"model {source}: torch.fx cannot follow its code, and so cannot take its maps: {_in_one_line(error)}",
                "take a network of torchvision or timm as the trunk",
            ) from error

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps (N, width, height / stride, width / stride) of pictures (N, channels, height, width), sides in 32s."""
        maps: dict[str, torch.Tensor] = self.body(pictures)
        return tuple(maps[str(number)] for number in range(len(self.widths)))


def map_places(network: nn.Module, source: str, strides: Sequence[tuple[int, ...]]) -> list[tuple[str, int]]:
    """For each stride the name of the part of a network that gives its map, and the map's channels.

    Found by a run on an empty picture. Of all parts whose result has a stride, the outermost count, and of those the
    last: the end of a stage, where the network has made the most of that resolution, and nothing within a block.

    Raises:
        InputError: There is none.
    """
    seen: list[tuple[str, torch.Size]] = []
    hooks = [
        part.register_forward_hook(lambda _part, _inputs, result, name=name: seen.extend(_map_of(name, result)))
        for name, part in network.named_modules()
        if name
    ]
    first = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    channels = first.in_channels if first is not None else 3
    mode = network.training
    network.eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, _LOOK_SIDE, _LOOK_SIDE))
    except Exception as error:  # whatever a network's own code may raise
        raise InputError(
            f"model {source}: it does not take a picture of {_LOOK_SIDE} x {_LOOK_SIDE}: {_in_one_line(error)}",
            "a trunk is a network that takes pictures of any size",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        network.train(mode)
    return [_place(seen, choice, source, strides) for choice in strides]


def _map_of(name: str, result: Any) -> list[tuple[str, torch.Size]]:
    return [(name, result.shape)] if isinstance(result, torch.Tensor) and result.ndim == 4 else []


def _place(
    seen: list[tuple[str, torch.Size]], choice: tuple[int, ...], source: str, strides: Sequence[tuple[int, ...]]
) -> tuple[str, int]:
    for stride in choice:
        side = _LOOK_SIDE // stride
        if found := [(name, int(shape[1])) for name, shape in seen if shape[2:] == (side, side)]:
            depth = min(name.count(".") for name, _ in found)
            return [place for place in found if place[0].count(".") == depth][-1]
    there = sorted({_LOOK_SIDE // int(shape[2]) for _, shape in seen if shape[2] and shape[2] == shape[3]})
    raise InputError(
        f"model {source}: no maps at stride {_either(choice)}; there are some at {', '.join(map(str, there))}",
        f"a trunk halves the picture step by step: strides {', '.join(map(_either, strides))} are wanted",
    )


def _either(choice: tuple[int, ...]) -> str:
    return " or ".join(map(str, choice))


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
