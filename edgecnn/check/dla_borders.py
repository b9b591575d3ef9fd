"""The connected parts of a network on NVIDIA's DLA, and the tensors that pass between them and the GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecnn.check.dla_layers import Layer, Operand, source_of

_INT8_VECTOR, _FP16_VECTOR = 32, 16  # channels side by side in CHW32 and CHW16
_LINE_BYTES = 64  # DLA_LINEAR pads every line of pixels to a multiple


@dataclass(frozen=True)
class Passing:
    """Tensors that change hands.

    Attributes:
        to_dla: From the GPU, one for each loadable that takes it.
        to_gpu: From DLA.
        ends: Between DLA and the network's inputs and outputs.
    """

    to_dla: tuple[Operand, ...]
    to_gpu: tuple[Operand, ...]
    ends: tuple[Operand, ...]


def find_loadables(layers: Sequence[Layer], on_dla: Sequence[bool]) -> list[int | None]:
    """The connected part on DLA that each layer belongs to, as the number of its first layer; None on the GPU.

    No part may wait for what the GPU makes of that part's own output. So layers are joined only where the longest way
    to each leaves DLA equally often.
    """
    makers = {value: number for number, layer in enumerate(layers) for value in layer.node.outputs}
    left: list[int] = []
    groups: list[int | None] = []
    for number, layer in enumerate(layers):
        before = [makers[operand.value] for operand in layer.inputs if operand.value in makers]
        left.append(max((left[other] + (on_dla[other] and not on_dla[number]) for other in before), default=0))
        if not on_dla[number]:
            groups.append(None)
            continue
        near = {groups[other] for other in before if on_dla[other] and left[other] == left[number]}
        first = min([number, *(group for group in near if group is not None)])
        groups = [first if group is not None and group in near else group for group in groups]
        groups.append(first)
    return groups


def find_passing(graph: ir.Graph, layers: Sequence[Layer], groups: Sequence[int | None]) -> Passing:
    """What changes hands in one run; from loadable to loadable nothing does, as both have the same format."""
    made = {operand.value: operand for layer in layers for operand in layer.outputs}
    makers = {value: group for layer, group in zip(layers, groups, strict=True) for value in layer.node.outputs}
    to_dla: dict[tuple[ir.Value, bool, int], Operand] = {}
    to_gpu: dict[tuple[ir.Value, bool], Operand] = {}
    ends: dict[ir.Value, Operand] = {}
    for layer, group in zip(layers, groups, strict=True):
        for operand in layer.inputs:
            is_int8 = operand.type == "int8"
            if group is None:
                if makers.get(operand.value) is not None:
                    to_gpu[operand.value, is_int8] = operand
            elif operand.value not in makers:
                ends[operand.value] = operand
            elif makers[operand.value] is None:
                to_dla[operand.value, is_int8, group] = operand
    passed = {value for value, _ in to_gpu}
    for value in graph.outputs:
        source = source_of(value)
        if makers.get(source) is not None and source not in passed:
            ends[source] = made[source]
    return Passing(tuple(to_dla.values()), tuple(to_gpu.values()), tuple(ends.values()))


def vector_bytes(operand: Operand) -> int:
    """What a tensor takes in CHW32 as INT8, in CHW16 as anything else."""
    batch, channels, height, width = operand.nchw
    vector, size = (_INT8_VECTOR, 1) if operand.type == "int8" else (_FP16_VECTOR, 2)
    return batch * math.ceil(channels / vector) * vector * height * width * size


def linear_bytes(operand: Operand) -> int:
    """What a tensor takes in DLA_LINEAR."""
    batch, channels, height, width = operand.nchw
    line = width * (1 if operand.type == "int8" else 2)
    return batch * channels * height * math.ceil(line / _LINE_BYTES) * _LINE_BYTES
