"""OpenCV's ways of resizing a picture, as nodes of a graph that TensorRT has fast kernels for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecnn.core.preprocess import Preprocess
from edgecnn.graph.added import AddedNodes


@dataclass(frozen=True)
class _Axis:
    """How the rows, or the columns, are resampled.

    The axis is cut into pieces of ``piece`` pixels, each of which becomes ``made`` pixels by itself.

    Attributes:
        source: First and last (exclusive) pixel of the frame that is used: whole pieces.
        piece: Pixels of a piece; 1 where nothing is averaged.
        made: Pixels that become of a piece.
        resized: Pixels after everything, Resize included.
        visible: First and last (exclusive) of those that the crop leaves.
    """

    source: tuple[int, int]
    piece: int
    made: int
    resized: int
    visible: tuple[int, int]

    @property
    def averaged(self) -> int:
        """Pixels after averaging."""
        return (self.source[1] - self.source[0]) // self.piece * self.made


def resample(added: AddedNodes, picture: ir.Value, spec: Preprocess, frame_hw: tuple[int, int]) -> ir.Value:
    """Resize a picture, then crop or pad it, as ``spec`` says.

    Args:
        added: Where the nodes go.
        picture: (1, channels, height, width), grey levels.
        spec: What to do; ``edgecnn.graph.embed_preprocess`` says which nodes it becomes and what they cost.
        frame_hw: The picture's height and width.

    Returns:
        The picture at ``spec.size_hw``, in grey levels.
    """
    place = spec.placement(frame_hw)
    averages = spec.interpolation == "area"
    begins = (-min(place.top, 0), -min(place.left, 0))
    axes = [_axis(*sizes, averages) for sizes in zip(frame_hw, place.resized_hw, spec.size_hw, begins, strict=True)]

    sources = [axis.source for axis in axes]
    picture = _slice(added, "used", picture, sources, frame_hw)
    picture = _averaged(added, picture, axes, spec.channels)
    now, resized = [axis.averaged for axis in axes], [axis.resized for axis in axes]
    if now != resized:
        mode = "cubic" if spec.interpolation == "cubic" else "linear"
        sizes = added.integers("resized_sizes", [1, spec.channels, *resized])
        coordinates = {"coordinate_transformation_mode": "half_pixel"}
        picture = added.op("resized", "Resize", [picture, None, None, sizes], mode=mode, **coordinates)
        if mode == "cubic":
            picture = added.op("in_range", "Clip", [picture, added.floats("black", 0), added.floats("white", 255)])
    picture = _slice(added, "cropped", picture, [axis.visible for axis in axes], resized)
    if place.resized_hw != frame_hw:
        linear = now != resized and spec.interpolation != "cubic"
        picture = _rounded(added, picture, half_up=linear or all((axis.piece, axis.made) == (2, 1) for axis in axes))
    if spec.resize != "letterbox" or place.resized_hw == spec.size_hw:
        return picture
    ends = [
        size - begin - inner for size, begin, inner in zip(spec.size_hw, (place.top, place.left), resized, strict=True)
    ]
    border = added.integers("border", [0, 0, place.top, place.left, 0, 0, *ends])
    return added.op("padded", "Pad", [picture, border, added.floats("padding", spec.padding)])


def area_weights(piece: int, made: int) -> npt.NDArray[np.float64]:
    """The part that each of ``piece`` pixels has in each of the ``made`` pixels they shrink to: (piece, made).

    Pixel i of the result covers the pixels from ``i * piece / made`` to ``(i + 1) * piece / made``, the first and
    last in part, and is their mean.
    """
    edges = np.arange(made + 1) * (piece / made)
    pixel = np.arange(piece)[:, None]
    covered = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
    return np.clip(covered, 0, None) * (made / piece)


def _axis(frame: int, resized: int, visible: int, begin: int, averages: bool) -> _Axis:
    visible = min(visible, resized)
    if not averages or resized >= frame:
        return _Axis((0, frame), 1, 1, resized, (begin, begin + visible))
    pieces = math.gcd(frame, resized)
    piece, made = frame // pieces, resized // pieces
    first, last = begin // made, -(-(begin + visible) // made)
    begin -= first * made
    return _Axis((first * piece, last * piece), piece, made, (last - first) * made, (begin, begin + visible))


def _averaged(added: AddedNodes, picture: ir.Value, axes: Sequence[_Axis], channels: int) -> ir.Value:
    """The rows and columns that shrink, by area."""
    whole = [axis.piece if axis.made == 1 else 1 for axis in axes]
    if max(whole) > 1:
        picture = added.op("averaged", "AveragePool", [picture], kernel_shape=whole, strides=whole)
    size = [(axis.source[1] - axis.source[0]) // factor for axis, factor in zip(axes, whole, strict=True)]
    rest = [index for index, axis in enumerate(axes) if axis.made > 1]
    # Multiply-adds are a line's length for each value that a step makes: the order decides how many lines are left.
    if len(rest) == 2 and _cost(axes, (1, 0)) < _cost(axes, (0, 1)):
        rest = [1, 0]
    for index in rest:
        axis, name = axes[index], ("rows", "columns")[index]
        count = size[index] // axis.piece
        weights = area_weights(axis.piece, axis.made)
        in_pieces = [count, axis.piece, size[1]] if index == 0 else [size[0], count, axis.piece]
        size[index] = axis.averaged
        shape = added.integers(f"{name}_in_pieces_shape", [1, channels, *in_pieces])
        pieces = added.op(f"{name}_in_pieces", "Reshape", [picture, shape])
        matrix = added.floats(f"{name}_weights", weights.T if index == 0 else weights)
        product = added.op(f"{name}_product", "MatMul", [matrix, pieces] if index == 0 else [pieces, matrix])
        shape = added.integers(f"{name}_shape", [1, channels, *size])
        picture = added.op(name, "Reshape", [product, shape])
    return picture


def _rounded(added: AddedNodes, picture: ir.Value, half_up: bool) -> ir.Value:
    """Whole grey levels, by OpenCV's rule: halves go up where it computes with integers, and to the even level else."""
    if not half_up:
        return added.op("whole", "Round", [picture])
    return added.op("whole", "Floor", [added.op("more_by_half", "Add", [picture, added.floats("half", 0.5)])])


def _cost(axes: Sequence[_Axis], order: tuple[int, int]) -> int:
    """Multiply-adds a channel of averaging the axes in an order."""
    lengths = [axis.source[1] - axis.source[0] for axis in axes]
    total = 0
    for index in order:
        lengths[index] = axes[index].averaged
        total += lengths[0] * lengths[1] * axes[index].piece
    return total


def _slice(
    added: AddedNodes, name: str, picture: ir.Value, spans: Sequence[tuple[int, int]], size_hw: Sequence[int]
) -> ir.Value:
    """The rows and columns from the first to the last (exclusive) of ``spans``."""
    if all(span == (0, size) for span, size in zip(spans, size_hw, strict=True)):
        return picture
    starts, ends = (
        added.integers(f"{name}_{edge}", [span[i] for span in spans]) for i, edge in enumerate(("from", "to"))
    )
    return added.op(name, "Slice", [picture, starts, ends, added.integers(f"{name}_axes", [2, 3])])
