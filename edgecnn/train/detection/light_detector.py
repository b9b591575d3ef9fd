"""A light anchor-free detector on any network's maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from edgecnn.core.head_part import SIDES, STRIDES, HeadPart
from edgecnn.train.headed import Headed

# What a cell says of each class before it has learnt: most cells see nothing (Lin et al., "Focal Loss", 2017).
_FIRST_PROBABILITY = 0.01
_KERNEL = 5
_KINDS = ("weight", "bias")


class LightDetector(Headed):
    """A trunk, a neck that carries what is seen at each resolution to the others, and a head at each.

    The neck goes down and up once (path aggregation: Liu et al., "PANet", 2018) by sums, and everything in it and in
    the heads is a depthwise convolution of 5 x 5 and one of 1 x 1 with ReLU: what boards and INT8 do best. A head says
    of each cell the classes, and for each side of a box the distribution of its distance from the cell's centre (Li et
    al., "Generalized Focal Loss", 2020). That is NanoDet's layout, which ``convert`` decodes in the graph.

    Args:
        network: Whose maps are taken; its last layers are left out.
        source: What the user calls it.
        classes: How many.
        part: Sizes.
    """

    def __init__(self, network: nn.Module, source: str, classes: int, part: HeadPart) -> None:
        super().__init__(network, source, [(stride,) for stride in STRIDES])
        self.neck = _Neck(self.trunk.widths, part.width)
        self.heads = nn.ModuleList(_head(part, classes + SIDES * part.bins) for _ in STRIDES)
        for head in self.heads:
            last = head[-1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            nn.init.zeros_(last.bias)
            nn.init.constant_(last.bias[:classes], -math.log((1 - _FIRST_PROBABILITY) / _FIRST_PROBABILITY))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (N, cells, classes + 4 x bins) of pictures (N, channels, height, width), sides in 32s.

        Cells are those of strides 8, 16 and 32, each row by row.
        """
        maps = self.neck(self.trunk(pictures))
        rows = [head(found).flatten(2) for head, found in zip(self.heads, maps, strict=True)]
        return torch.cat(rows, dim=2).transpose(1, 2)

    def class_layers(self) -> list[str]:
        """See ``Headed.class_layers``."""
        return [f"heads.{index}.{len(head) - 1}.{kind}" for index, head in enumerate(self.heads) for kind in _KINDS]  # type: ignore[arg-type]


class _Neck(nn.Module):
    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_pointwise(found, width) for found in widths)
        self.down = nn.ModuleList(_separable(width, width) for _ in widths[1:])
        self.halve = nn.ModuleList(_separable(width, width, stride=2) for _ in widths[1:])
        self.up = nn.ModuleList(_separable(width, width) for _ in widths[1:])

    def forward(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Maps of one width at the strides of those given, finest first."""
        found = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        for index in range(len(found) - 2, -1, -1):
            coarse = functional.interpolate(found[index + 1], scale_factor=2.0, mode="nearest")
            found[index] = self.down[index](found[index] + coarse)
        for index in range(1, len(found)):
            found[index] = self.up[index - 1](found[index] + self.halve[index - 1](found[index - 1]))
        return found


def _head(part: HeadPart, outputs: int) -> nn.Sequential:
    towers = [_separable(part.width, part.width) for _ in range(part.depth)]
    return nn.Sequential(*towers, nn.Conv2d(part.width, outputs, 1))


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, _KERNEL, stride, _KERNEL // 2, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(inputs), nn.ReLU(), *_pointwise(inputs, outputs))


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
