"""ONNX's operators that change shapes, places and sizes, as Torch functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch.nn import functional

from edgecnn.errors import InputError
from edgecnn.graph.layer_weights import attribute, attribute_ints
from edgecnn.train.qat.layer_operators import Function, padding

_Tensor = torch.Tensor


def _reshaped(data: _Tensor, shape: _Tensor) -> _Tensor:
    sizes = [data.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())]
    return data.reshape([len(data), *sizes[1:]] if sizes[0] == 1 else sizes)


def _expanded(data: _Tensor, shape: _Tensor) -> _Tensor:
    return data.expand(torch.broadcast_shapes(data.shape, tuple(shape.tolist())))


def _flatten(node: ir.Node) -> Function:
    axis = attribute(node, "axis", 1)
    return lambda data: data.reshape(-1, data.shape[axis:].numel())


def _transpose(node: ir.Node) -> Function:
    order = attribute_ints(node, "perm", 0)
    return lambda data: data.permute(order if "perm" in node.attributes else tuple(reversed(range(data.ndim))))


def _axes_changed(change: Function) -> Callable[[ir.Node], Function]:
    def build(node: ir.Node) -> Function:
        stated = node.attributes.get("axes")

        def compute(data: _Tensor, axes: _Tensor | None = None) -> _Tensor:
            chosen: Any = stated.as_ints() if stated is not None else axes.tolist() if axes is not None else None
            return change(data, chosen)

        return compute

    return build


def _squeezed(data: _Tensor, axes: Sequence[int] | None) -> _Tensor:
    return data.squeeze() if axes is None else data.squeeze(tuple(axes))


def _unsqueezed(data: _Tensor, axes: Sequence[int]) -> _Tensor:
    rank = data.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _concat(node: ir.Node) -> Function:
    axis = attribute(node, "axis", 0)
    return lambda *parts: torch.cat(parts, dim=axis)


def _split(node: ir.Node) -> Function:
    axis = attribute(node, "axis", 0)

    def split(data: _Tensor, sizes: _Tensor | None = None) -> tuple[_Tensor, ...]:
        if sizes is not None:
            return data.split(sizes.tolist(), dim=axis)
        return data.split(-(-data.shape[axis] // len(node.outputs)), dim=axis)

    return split


def _sliced(
    data: _Tensor, starts: _Tensor, ends: _Tensor, axes: _Tensor | None = None, steps: _Tensor | None = None
) -> _Tensor:
    places = axes.tolist() if axes is not None else range(len(starts))
    strides = steps.tolist() if steps is not None else [1] * len(starts)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), places, strides, strict=True):
        chosen = torch.arange(data.shape[axis])[slice(start, end, step)] if step > 0 else None
        if chosen is None:
            raise InputError("training with quantization: a Slice backwards has no gradient here", "leave qat out")
        data = data.index_select(axis, chosen.to(data.device))
    return data


def _gather(node: ir.Node) -> Function:
    axis = attribute(node, "axis", 0)

    def gather(data: _Tensor, indices: _Tensor) -> _Tensor:
        found = data.index_select(axis, indices.reshape(-1) % data.shape[axis])
        place = axis % data.ndim
        return found.reshape(*data.shape[:place], *indices.shape, *data.shape[place + 1 :])

    return gather


def _pad(node: ir.Node) -> Function:
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[attribute(node, "mode", "constant")]

    def pad(data: _Tensor, pads: _Tensor, fill: _Tensor | None = None, axes: _Tensor | None = None) -> _Tensor:
        amounts = pads.tolist()
        if axes is not None:
            half, chosen = len(amounts) // 2, [axis % data.ndim for axis in axes.tolist()]
            whole = [0] * (2 * data.ndim)
            for place, axis in enumerate(chosen):
                whole[axis], whole[axis + data.ndim] = amounts[place], amounts[place + half]
            amounts = whole
        pairs = padding(amounts)
        if mode != "constant":
            return functional.pad(data, pairs[: 2 * (data.ndim - 2)], mode=mode)
        return functional.pad(data, pairs, value=float(fill) if fill is not None else 0.0)

    return pad


def _resize(node: ir.Node) -> Function:
    mode, places = attribute(node, "mode", "nearest"), attribute(node, "coordinate_transformation_mode", "half_pixel")
    whole = mode == "nearest" and places == "asymmetric" and attribute(node, "nearest_mode", "") == "floor"

    def resize(
        data: _Tensor, _region: _Tensor | None = None, scales: _Tensor | None = None, sizes: _Tensor | None = None
    ) -> _Tensor:
        if sizes is not None:
            size = sizes.tolist()[2:]
        else:
            assert scales is not None
            size = [int(side * scale) for side, scale in zip(data.shape[2:], scales.tolist()[2:], strict=True)]
        if mode == "nearest":  # the two agree on whole factors
            kind = "nearest" if whole else "nearest-exact"
            return functional.interpolate(data, size, mode=kind)
        kind = {"linear": "bilinear", "cubic": "bicubic"}[mode]
        return functional.interpolate(data, size, mode=kind, align_corners=places == "align_corners")

    return resize


def _depth_to_space(node: ir.Node) -> Function:
    side, mode = attribute(node, "blocksize", 1), attribute(node, "mode", "DCR")

    def move(data: _Tensor) -> _Tensor:
        if mode == "DCR":
            count, depth, height, width = data.shape
            parts = data.reshape(count, side * side, depth // side**2, height, width)
            data = parts.transpose(1, 2).reshape(count, depth, height, width)
        return functional.pixel_shuffle(data, side)

    return move


SHAPES: dict[str, Callable[[ir.Node], Function]] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": lambda _: _expanded,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": lambda _: _reshaped,
    "Resize": _resize,
    "Slice": lambda _: _sliced,
    "Split": _split,
    "Squeeze": _axes_changed(_squeezed),
    "Transpose": _transpose,
    "Unsqueeze": _axes_changed(_unsqueezed),
}
"""For each operator what makes a function of its node."""
