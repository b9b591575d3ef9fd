"""A run of a network in which labels of channels go along with its values, operation by operation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from edgecnn.train.slimming.label_sets import FIXED, LabelSets, alike, short

# A parameter's or buffer's name, and one of its axes.
Axis = tuple[str, int]

_ORDERED = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias"})
_COPIES = frozenset({"clone", "_to_copy", "contiguous", "detach", "alias", "lift_fresh"})
_MOVES = frozenset({"cat", "stack", "index_select", "constant_pad_nd"})
_REDUCES = frozenset({"mean", "amax", "amin", "sum"})
# What computes along the last axes, channel by channel.
_SPATIAL = ("pool", "upsample", "reflection_pad", "replication_pad")
# Computed element by element, which torch has not tagged them with.
_POINTWISE = frozenset({"hardtanh", "hardswish", "hardsigmoid", "_prelu_kernel", "dropout", "native_dropout"})


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer, once for each time it was run.

    Attributes:
        makes: The axis of its weights that is its outputs.
        reads: That of its inputs; None where it is grouped: there each group has its own.
        factor: Multiply-accumulates for one output and, where ``reads`` is given, one input channel; 0 in training.
    """

    makes: Axis
    reads: Axis | None
    factor: int


class ChannelTrace(TorchDispatchMode):
    """Looks at every operation of a network that runs within it.

    Convolutions and fully connected layers make labels; what a grouped convolution reads and makes in one group has one
    label. What computes element by element joins the labels that meet; what moves values moves labels; whatever mixes
    channels in another way fixes them.

    Attributes:
        sets: What has turned out to mean the same.
        axes: Labels of the places of each axis that was seen.
        layers: In the order in which they ran.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.sets = LabelSets()
        self.axes: dict[Axis, torch.Tensor] = {}
        self.layers: list[Layer] = []
        self._names = {id(tensor): name for name, tensor in (*module.named_parameters(), *module.named_buffers())}
        # With each tensor, so that no other gets its identity.
        self._labels: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._turned: dict[int, tuple[torch.Tensor, str]] = {}
        self._counted = True

    def run(self, module: nn.Module, inputs: torch.Tensor, *, counted: bool) -> None:
        """Run a network; its inputs and outputs stay whole. Layers that only run uncounted have no factor."""
        self._counted = counted
        known = {layer.makes for layer in self.layers}
        before = len(self.layers)
        self._mark(inputs, torch.full((1,), FIXED).expand(inputs.shape))
        with torch.no_grad(), self:
            outputs = module(inputs)
        self._mix(pytree.tree_leaves(outputs))
        self.layers[before:] = [layer for layer in self.layers[before:] if layer.makes not in known]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what is to be done, and follow it."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2].removesuffix("_")
        if name == "convolution":
            self._convolution(result, *args)
        elif name in ("addmm", "mm"):
            self._product(result, *args[-2:], bias=args[0] if name == "addmm" else None)
        elif name == "t" and id(args[0]) in self._names:
            self._turned[id(result)] = (result, self._names[id(args[0])])
        elif "batch_norm" in name:
            self._normalization(result, *args)
        elif name in _COPIES:
            self._mark(result, self._of(args[0]))
        elif name in _ORDERED:
            self._mark(result, self._of(args[0]).reshape(result.shape))
        elif name in _MOVES or (func.is_view and name != "as_strided"):
            self._move(func, result, args)
        elif name in _REDUCES:
            self._reduce(result, *args)
        elif any(word in name for word in _SPATIAL):
            self._spatial(result, args[0], int((re.findall(r"(\d)d", name) or [2])[0]))
        elif name in _POINTWISE or torch.Tag.pointwise in func.tags:
            self._meet(result, args)
        else:
            self._mix((*args, *(kwargs or {}).values()))
        return result

    def _convolution(
        self,
        result: torch.Tensor,
        given: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *options: Any,
    ) -> None:
        transposed, groups = bool(options[3]), int(options[5])
        name = self._names.get(id(weight))
        if name is None or (transposed and groups > 1):
            self._mix((given, weight, bias))
            return
        places = (given if transposed else result)[:, 0].numel()
        factor = places * math.prod(weight.shape[2:])
        channels = self._channels(given)
        if groups == 1:
            makes, reads = ((name, 1), (name, 0)) if transposed else ((name, 0), (name, 1))
            self._tie(reads, channels)
            made = self._axis(makes, weight.shape[makes[1]])
        else:
            makes, reads, factor = (name, 0), None, factor * weight.shape[1]
            grouped = channels.reshape(groups, -1)
            self.sets.join(grouped, grouped[:, :1].expand_as(grouped))
            made = self._tie(makes, grouped[:, 0].repeat_interleave(weight.shape[0] // groups))
        self._add(Layer(makes, reads, factor), result, made, bias)

    def _product(
        self, result: torch.Tensor, given: torch.Tensor, turned: torch.Tensor, *, bias: torch.Tensor | None
    ) -> None:
        _, name = self._turned.get(id(turned), (None, None))
        if name is None:
            self._mix((given, turned, bias))
            return
        self._tie((name, 1), self._channels(given))
        made = self._axis((name, 0), result.shape[1])
        self._add(Layer((name, 0), (name, 1), given.shape[0]), result, made, bias)

    def _add(self, layer: Layer, result: torch.Tensor, made: torch.Tensor, bias: torch.Tensor | None) -> None:
        if bias is not None:
            self._tie_tensor(bias, made)
        self.layers.append(layer if self._counted else Layer(layer.makes, layer.reads, 0))
        self._mark(result, made.reshape(1, -1, *[1] * (result.ndim - 2)).expand(result.shape))

    def _normalization(self, result: Any, given: torch.Tensor, *parts: Any) -> None:
        channels = self._channels(given)
        for part in parts:
            if isinstance(part, torch.Tensor):
                self._tie_tensor(part, channels)
        self._mark(_first(result), self._of(given))

    def _move(self, func: Any, result: Any, args: Any) -> None:
        """Let the operation itself move the labels; what it puts in between is 0, which is FIXED."""
        arguments = args[:2] if func._schema.name == "aten::constant_pad_nd" else args
        moved = func(*pytree.tree_map(lambda one: self._of(one) if _is_value(one) else one, tuple(arguments)))
        for tensor, labels in zip(pytree.tree_leaves(result), pytree.tree_leaves(moved), strict=True):
            self._mark(tensor, labels)

    def _reduce(self, result: torch.Tensor, given: torch.Tensor, axes: Any = None, *_options: Any) -> None:
        over = range(given.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
        labels = alike(self._of(given), over)
        if labels is None:
            self._mix((given,))
        else:
            self._mark(result, labels.reshape(result.shape))

    def _spatial(self, result: Any, given: torch.Tensor, axes: int) -> None:
        labels = alike(self._of(given), range(-axes, 0))
        if labels is None:
            self._mix((given,))
        else:
            self._mark(_first(result), labels.expand(_first(result).shape))

    def _meet(self, result: Any, args: Any) -> None:
        first, *others = [self._of(one) for one in pytree.tree_leaves(args) if _is_value(one)] or [torch.tensor(FIXED)]
        for labels in others:
            first = self.sets.meet(first, labels)
        self._mark(_first(result), first.expand(_first(result).shape))

    def _mix(self, args: Iterable[Any]) -> None:
        for one in pytree.tree_leaves(tuple(args)):
            if _is_value(one):
                self.sets.fix(short(self._of(one)))

    def _of(self, tensor: torch.Tensor) -> torch.Tensor:
        """A value's labels, of its shape; FIXED for what is none of the network's."""
        if id(tensor) in self._labels:
            return self._labels[id(tensor)][1]
        name = self._names.get(id(tensor))
        wide = [axis for axis, size in enumerate(tensor.shape) if size > 1]
        if name is None or not wide:
            return (
                torch.full((1,) * max(tensor.ndim, 1), FIXED).expand(tensor.shape) if tensor.ndim else torch.tensor(0)
            )
        labels = [self._axis((name, axis), tensor.shape[axis]) for axis in wide]
        if len(wide) > 1:  # weights that something else than a layer computes with
            for found in labels:
                self.sets.fix(found)
            return torch.full((1,) * tensor.ndim, FIXED).expand(tensor.shape)
        return labels[0].reshape(tensor.shape)

    def _mark(self, tensor: torch.Tensor, labels: torch.Tensor) -> None:
        self._labels[id(tensor)] = (tensor, short(labels).expand(labels.shape))

    def _channels(self, given: torch.Tensor) -> torch.Tensor:
        """Labels along the second axis; FIXED where they are not the same along the others."""
        labels = alike(self._of(given), [axis for axis in range(given.ndim) if axis != 1])
        if labels is None:
            self._mix((given,))
            return torch.full((given.shape[1],), FIXED)
        return labels.reshape(-1)

    def _axis(self, axis: Axis, size: int) -> torch.Tensor:
        return self.axes[axis] if axis in self.axes else self._tie(axis, self.sets.new(size))

    def _tie(self, axis: Axis, labels: torch.Tensor) -> torch.Tensor:
        known = self.axes.setdefault(axis, labels)
        self.sets.join(known, labels)
        return labels

    def _tie_tensor(self, tensor: torch.Tensor, labels: torch.Tensor) -> None:
        """Let the places of a vector have these labels; one that is computed has places that stay."""
        name = self._names.get(id(tensor))
        if name is None:
            self.sets.join(labels, self._of(tensor).expand(labels.shape))
        else:
            self._tie((name, 0), labels)


def _is_value(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.is_floating_point()


def _first(result: Any) -> torch.Tensor:
    return result[0] if isinstance(result, (tuple, list)) else result
