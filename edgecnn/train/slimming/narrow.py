"""Layers made narrower: channels are taken out of weights, and what a layer knows of its sizes follows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from edgecnn.core.recipe import ModelPart
from edgecnn.train.layers import head_of
from edgecnn.train.slimming.coupling import Coupling, Family
from edgecnn.train.weights import under_own_names

# Of the outputs, in float64: nothing but the order of sums may differ. Some networks compute parts in float32.
_SAME = 1e-4


def remove(module: nn.Module, coupling: Coupling, gone: torch.Tensor) -> None:
    """Take channels out of a network, in place.

    Args:
        module: The network.
        coupling: Its channels.
        gone: Which of their labels go; bool.
    """
    cut: dict[str, torch.Tensor] = {}
    state: dict[str, torch.Tensor] = module.state_dict()
    for (name, axis), labels in coupling.axes.items():
        if bool(gone[labels].any()):
            kept = (~gone[labels]).nonzero().reshape(-1)
            value = cut[name] if name in cut else state[name]
            cut[name] = value.index_select(axis, kept.to(value.device))
    _replace(module, cut)


def fit_to(module: nn.Module, state: Mapping[str, torch.Tensor], model: ModelPart) -> None:
    """Make layers as narrow as those of a state dict, in place, where the recipe says that these were pruned.

    Their values are 0 then. The outputs of the last layer, and all else that differs, stay for ``weights.fill`` to
    complain about.
    """
    if not model.pruned:
        return
    own = module.state_dict()
    last, _ = head_of(module, model.source)
    cut: dict[str, torch.Tensor] = {}
    for name, value in under_own_names(state, own).items():
        if name not in own or value.ndim != own[name].ndim or value.shape == own[name].shape:
            continue
        outputs = name.rpartition(".")[0] == last and value.shape[0] != own[name].shape[0]
        if not outputs and all(new <= old for new, old in zip(value.shape, own[name].shape, strict=True)):
            cut[name] = torch.zeros_like(value)
    _replace(module, cut)


def _replace(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    owners: dict[nn.Module, None] = {}
    for name, value in tensors.items():
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        old = getattr(owner, last)
        value = value.detach().clone()
        setattr(owner, last, nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value)
        owners[owner] = None
    for owner in owners:
        _state_sizes(owner)


def _state_sizes(layer: nn.Module) -> None:
    """Let a layer's attributes say what its weights are."""
    if isinstance(layer, _ConvNd):
        made, read = (1, 0) if isinstance(layer, _ConvTransposeNd) else (0, 1)
        outputs = layer.weight.shape[made]
        if layer.groups > 1:  # whole groups have gone
            layer.groups = outputs // (layer.out_channels // layer.groups)
        layer.out_channels, layer.in_channels = outputs, layer.weight.shape[read] * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _NormBase):
        found = next(value for value in (layer.weight, layer.running_mean) if value is not None)
        layer.num_features = len(found)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)


def prunable_families(module: nn.Module, coupling: Coupling, shape: Sequence[int], multiple: int) -> list[Family]:
    """Families of channels that can go: shown by taking some of each out of a copy with random weights.

    Code that states widths, or splits channels by them, runs no more or computes something else: those families stay.
    """
    trial = _random_copy(module)
    found = coupling.families(multiple)
    if _stays_right(trial, coupling, found, shape):
        return found
    found = [family for family in found if _stays_right(trial, coupling, [family], shape)]
    return found if _stays_right(trial, coupling, found, shape) else []


def _stays_right(module: nn.Module, coupling: Coupling, families: Sequence[Family], shape: Sequence[int]) -> bool:
    gone = coupling.nothing()
    for family in families:
        gone[family.labels[-family.multiple :]] = True
    try:
        return computes_the_same(module, coupling, gone, shape)
    except RuntimeError:  # what torch raises where shapes do not fit
        return False


def computes_the_same(module: nn.Module, coupling: Coupling, gone: torch.Tensor, shape: Sequence[int]) -> bool:
    """Whether a network without some channels gives what it gives with them, where nothing reads them."""
    masked, narrow = (copy.deepcopy(module).double().eval() for _ in range(2))
    state = masked.state_dict()
    for name, axis in coupling.read_axes():
        lost = gone[coupling.axes[name, axis]].nonzero().reshape(-1)
        state[name].index_fill_(axis, lost.to(state[name].device), 0)
    remove(narrow, coupling, gone)
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(*shape, dtype=torch.float64, generator=generator).to(next(module.parameters()).device)
    with torch.no_grad():
        expected, found = masked(picture), narrow(picture)
    scale = float((expected - expected.mean()).abs().max()) or 1.0
    return expected.shape == found.shape and float((expected - found).abs().max()) <= _SAME * scale


def _random_copy(module: nn.Module) -> nn.Module:
    """A copy in which no weight is 0: branches that do nothing before training would hide mistakes."""
    made = copy.deepcopy(module).cpu()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.ndim > 1:
                value.normal_(generator=generator).div_(value[0].numel() ** 0.5)
            elif value.is_floating_point():
                value.uniform_(0.5, 1.5, generator=generator)
    return made
