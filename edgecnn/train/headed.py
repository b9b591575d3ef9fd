"""Networks whose last layers are exchanged for a head that reads maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from edgecnn.train.layers import blocks_of
from edgecnn.train.trunk import Trunk
from edgecnn.train.weights import fill, under_own_names, with_own_classes

_TRUNK = "trunk."
_BODY = "trunk.body."


class Headed(nn.Module, ABC):
    """A trunk, and a head on its maps.

    Args:
        network: Whose maps are taken; its last layers are left out.
        source: What the user calls it.
        strides: See ``Trunk``.
    """

    def __init__(self, network: nn.Module, source: str, strides: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.trunk = Trunk(network, source, strides)

    @abstractmethod
    def class_layers(self) -> list[str]:
        """Names of the parameters whose size depends on the number of classes."""


def begin_headed(module: Headed, state: Mapping[str, torch.Tensor], named: str, source: str) -> None:
    """Fill a network with the weights of another one with such a head, or its trunk with those of a classifier.

    Raises:
        InputError: They are neither.
    """
    own = module.state_dict()
    found = under_own_names(state, own)
    if any(name in own and not name.startswith(_TRUNK) for name in found):
        # The last convolutions say the classes: for others they begin anew.
        fill(module, with_own_classes(found, own, module.class_layers()), named, source)
        return
    body = module.trunk.body
    own = body.state_dict()
    found = {name: value for name, value in under_own_names(state, own).items() if name in own}
    fill(body, found, named, source)


def blocks_with_head(module: nn.Module, source: str) -> list[list[str]]:
    """Names of parameters in blocks; where there is a head, the trunk's, then the head as the last.

    See ``edgecnn.train.layers.blocks_of``.
    """
    if not isinstance(module, Headed):
        return blocks_of(module, source)
    trunk = [[_BODY + name for name in block] for block in blocks_of(module.trunk.body, source)]
    rest = [name for name, _ in module.named_parameters() if not name.startswith(_BODY)]
    return [*trunk, rest]
