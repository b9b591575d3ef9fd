"""Which channels of a network stand and fall together, and what each costs.

Found by a run in which labels of channels go along with the values (``ChannelTrace``). So the code of a network is
never read: any that runs will do. The grouping is that of Fang et al., "DepGraph: Towards Any Structural Pruning",
2023, by single channels instead of by layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]

from edgecnn.train.slimming.channel_trace import Axis, ChannelTrace, Layer
from edgecnn.train.slimming.label_sets import FIXED, LabelSets


@dataclass(frozen=True)
class Family:
    """Channels that the same layers make, and that can only go in such numbers that these keep a round width.

    Attributes:
        labels: Of the channels.
        multiple: So many labels have to go or to stay together; the last ones always stay.
    """

    labels: torch.Tensor
    multiple: int


@dataclass(frozen=True)
class Coupling:
    """The channels of a network.

    Attributes:
        axes: For each axis that holds channels, the label of each of its places; ``FIXED`` where it has to stay.
        layers: In the order in which they ran.
        shapes: Of all parameters.
        count: Labels.
    """

    axes: Mapping[Axis, torch.Tensor]
    layers: tuple[Layer, ...]
    shapes: Mapping[str, tuple[int, ...]]
    count: int

    def nothing(self) -> torch.Tensor:
        """That all channels stay: bool, by label."""
        return torch.zeros(self.count, dtype=torch.bool)

    def read_axes(self) -> list[Axis]:
        """The axes on which layers read channels: one whose weights are 0 on all of them is as good as gone."""
        return list(dict.fromkeys(layer.reads for layer in self.layers if layer.reads is not None))

    def macs(self, gone: torch.Tensor) -> int:
        """Multiply-accumulates of convolutions and fully connected layers without some labels, for one picture."""
        kept = {axis: int((~gone[labels]).sum()) for axis, labels in self.axes.items()}
        return sum(
            layer.factor * kept[layer.makes] * (kept[layer.reads] if layer.reads is not None else 1)
            for layer in self.layers
        )

    def parameters(self, gone: torch.Tensor) -> int:
        """Parameters without some labels."""
        lost = {axis: int(gone[labels].sum()) for axis, labels in self.axes.items()}
        return sum(
            math.prod(size - lost.get((name, axis), 0) for axis, size in enumerate(shape))
            for name, shape in self.shapes.items()
        )

    def families(self, multiple: int) -> list[Family]:
        """What can go, so that every layer that becomes narrower makes channels in multiples of a number."""
        made = list(dict.fromkeys(layer.makes for layer in self.layers))
        joined, first = LabelSets(), {}
        numbers = joined.new(len(made))
        for number, axis in zip(numbers, made, strict=True):
            for label in self.axes[axis].unique().tolist():
                joined.join(number, first.setdefault(label, number))
        settled = joined.settled()[numbers].tolist()
        together: dict[int, list[torch.Tensor]] = {}
        for group, axis in zip(settled, made, strict=True):
            together.setdefault(group, []).append(self.axes[axis])
        return [family for axes in together.values() if (family := _family(axes, multiple)) is not None]


def _family(axes: Sequence[torch.Tensor], multiple: int) -> Family | None:
    """The family that axes make together; None where they have not all of its labels equally often."""
    labels = torch.cat(list(axes)).unique()
    rounded = 1
    for axis in axes:
        found, counts = axis.unique(return_counts=True)
        if len(found) != len(labels) or FIXED in found or len(counts.unique()) > 1:
            return None
        rounded = math.lcm(rounded, multiple // math.gcd(int(counts[0]), multiple))
    return Family(labels, rounded) if len(labels) > rounded else None


def couple(module: nn.Module, shape: Sequence[int]) -> Coupling:
    """Find the channels of a network, which stays as it is.

    Args:
        module: A network that takes a picture.
        shape: (1, channels, height, width) of the picture.
    """
    picture = torch.zeros(*shape, device=next(module.parameters()).device)
    modes = {part: part.training for part in module.modules()}
    trace = ChannelTrace(module)
    try:
        module.eval()
        trace.run(module, picture, counted=True)
        # Auxiliary classifiers run in training only; what averages or is random stays in inference mode.
        for part in module.modules():
            part.training = any(True for _ in part.children()) and not isinstance(part, _NormBase)
        trace.run(module, picture, counted=False)
    finally:
        for part, mode in modes.items():
            part.training = mode
    settled = trace.sets.settled()
    axes = {axis: settled[labels] for axis, labels in trace.axes.items()}
    shapes = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    return Coupling(axes, tuple(trace.layers), shapes, int(settled.max()) + 1)
