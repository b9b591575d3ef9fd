"""From a network's raw output to labels, numbers with units, a vector of length 1, or the class of each pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Embedding, Measurements, Segmentation, Tags
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.readings import NOT_SEEN, Regressor, Segmenter, Tagger
from edgecnn.core.tensors import Arrays
from edgecnn.errors import GateMissed

Array = npt.NDArray[Any]


def decode_tags(output: Array, tagger: Tagger) -> Tags:
    """The labels of an output (1, labels) that reach their thresholds.

    Raises:
        GateMissed: One of the scores is not a number.
    """
    scores = _finite(output.reshape(-1).astype(np.float64))
    # The sigmoid in a form that does not overflow.
    probabilities = scores if tagger.part.scores == "probabilities" else (1 + np.tanh(scores / 2)) / 2
    there = np.flatnonzero(probabilities >= tagger.thresholds)
    order = there[np.argsort(-probabilities[there], kind="stable")].tolist()
    return Tags(
        classes=tuple(order),
        probabilities=tuple(float(probabilities[number]) for number in order),
        labels=tuple(tagger.labels[number] for number in order),
        distribution=probabilities,
    )


def decode_measurements(output: Array, regressor: Regressor) -> Measurements:
    """The values of an output (1, values), scaled and shifted as the recipe says.

    Raises:
        GateMissed: One of them is not a number.
    """
    values = _finite(output.reshape(-1).astype(np.float64))
    part = regressor.part
    values = values * (part.scale or 1.0) + (part.offset or 0.0)
    return Measurements(tuple(values.tolist()), regressor.labels, part.units or ("",) * len(values))


def decode_embedding(output: Array) -> Embedding:
    """The output (1, D) or (1, D, 1, 1), divided by its length.

    Raises:
        GateMissed: It is not a number.
    """
    vector = _finite(output.reshape(-1).astype(np.float32))
    length = max(float(np.linalg.norm(vector)), float(np.finfo(np.float32).tiny))
    return Embedding((vector / length).astype(np.float32))


def decode_segmentation(outputs: Arrays, segmenter: Segmenter, frame_hw: tuple[int, int]) -> Segmentation:
    """The most probable class of each pixel of the frame.

    A pixel of the frame gets the class of that cell of the output in which its centre lies: classes are decided on the
    output's own grid, and no edge is moved.

    Args:
        outputs: By name; the mask's is (1, classes, h, w) before or after softmax, (1, 1, h, w) for two classes, or
            whole numbers (1, h, w) or (1, 1, h, w).
        segmenter: What they mean.
        frame_hw: Height and width of the frame, pixels.

    Raises:
        GateMissed: The output holds values that are no numbers.
    """
    classes = class_map(outputs, segmenter)
    (rows, columns), padded = _cells_in_frame(classes, segmenter.preprocess, frame_hw)
    height, width = padded.shape
    # How many pixels have a class is counted on the output's grid, which is smaller than the frame.
    pixels = np.outer(np.bincount(rows, minlength=height), np.bincount(columns, minlength=width))
    counts = np.bincount(padded.ravel(), pixels.ravel(), minlength=NOT_SEEN + 1)[:NOT_SEEN]
    shares = counts[: len(segmenter.labels)] / max(counts.sum(), 1)
    mask = padded.take(rows, axis=0).take(columns, axis=1)
    return Segmentation(mask, segmenter.labels, tuple(shares.tolist()))


def mask_in_frame(classes: Array, spec: Preprocess, frame_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The class of each pixel of a frame, as ``decode_segmentation`` has it, from the output's cells (h, w)."""
    (rows, columns), padded = _cells_in_frame(classes, spec, frame_hw)
    return padded.take(rows, axis=0).take(columns, axis=1)


def _cells_in_frame(
    classes: Array, spec: Preprocess, frame_hw: tuple[int, int]
) -> tuple[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]], npt.NDArray[np.uint8]]:
    """Of a frame's rows and columns the cells, and the cells with one more row and column for what lies outside."""
    height, width = classes.shape
    rows, columns = (
        _cells(seen, count) for seen, count in zip(input_positions(spec, frame_hw), (height, width), strict=True)
    )
    padded = np.full((height + 1, width + 1), NOT_SEEN, dtype=np.uint8)
    padded[:-1, :-1] = classes
    return (rows, columns), padded


def class_map(outputs: Arrays, segmenter: Segmenter) -> npt.NDArray[np.uint8]:
    """The class of each cell (h, w) of the output."""
    name = segmenter.part.output
    output = outputs[name] if name is not None else next(iter(outputs.values()))
    if output.dtype.kind in "iu":
        return output.reshape(output.shape[-2:]).astype(np.uint8)
    planes = _finite(output[0])
    if len(planes) == 1:
        return (planes[0] >= segmenter.part.threshold).astype(np.uint8)
    return planes.argmax(axis=0).astype(np.uint8)


def input_positions(spec: Preprocess, frame_hw: tuple[int, int]) -> tuple[Array, Array]:
    """Where the centres of a frame's rows and columns lie in the network's input, as parts of its sides."""
    rows, columns = (np.arange(size) + 0.5 for size in frame_hw)
    steps = [(spec, frame_hw)]
    if spec.embed is not None:
        steps = [(spec.to_frame, frame_hw), (spec.outside, spec.embed.frame_hw)]
    for step, size_hw in steps:
        place = step.placement(size_hw)
        rows = rows * place.resized_hw[0] / size_hw[0] + place.top
        columns = columns * place.resized_hw[1] / size_hw[1] + place.left
    return rows / spec.size_hw[0], columns / spec.size_hw[1]


def _cells(positions: Array, count: int) -> npt.NDArray[np.intp]:
    """Indices of the cells that parts of a side lie in; ``count`` for those outside."""
    cells = np.floor(positions * count).astype(np.intp)
    return np.where((positions >= 0) & (positions < 1), cells, count)


def _finite(values: Array) -> Array:
    if not np.isfinite(values).all():
        raise GateMissed("the network's output is not a number", "its values overflow: convert with --precision fp32")
    return values
