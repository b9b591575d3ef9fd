"""Predictions over a set of pictures, and accuracy from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from edgecnn.core.artifact import Accuracy
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Progress
from edgecnn.core.tensors import Arrays
from edgecnn.evaluate.parity import Array, Network, only_output
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import network_input

TOP = 5


class Predictions(BaseModel):
    """The classes that a network names for each picture, most probable first, five or as many as there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[tuple[int, ...], ...]


def frames_of(paths: Iterable[Path], spec: Preprocess) -> Iterable[Array]:
    """Pictures as network inputs, one by one: see ``edgecnn.vision.preprocess.network_input``."""
    return (network_input(read_image(path), spec) for path in paths)


def predict(network: Network, paths: Sequence[Path], spec: Preprocess, progress: Progress, label: str) -> Predictions:
    """Run a network over pictures.

    Args:
        network: A classifier, with one output (1, classes).
        paths: The pictures.
        spec: Their preprocessing.
        progress: Who is told.
        label: What is being done, for the progress bar.
    """
    classes: list[tuple[int, ...]] = []
    with progress.task(label, len(paths)) as task:
        for frame in frames_of(paths, spec):
            output = only_output(network(frame)).reshape(-1)
            classes.append(tuple(int(index) for index in np.argsort(-output, kind="stable")[:TOP]))
            task.advance()
    return Predictions(classes=tuple(classes))


def accuracy_of(predictions: Predictions, labels: Sequence[int] | None, reference: Predictions) -> Accuracy:
    """Accuracy from predictions.

    Args:
        predictions: Of the network in question.
        labels: The true classes, where known.
        reference: Of the FP32 network on the same pictures.
    """
    first = [row[0] for row in predictions.classes]
    count = len(first)
    same = sum(mine == theirs[0] for mine, theirs in zip(first, reference.classes, strict=True))
    top1 = top5 = None
    if labels is not None:
        top1 = sum(mine == label for mine, label in zip(first, labels, strict=True)) / count
        top5 = sum(label in row for row, label in zip(predictions.classes, labels, strict=True)) / count
    return Accuracy(images=count, top1=top1, top5=top5, agreement=same / count)


def network_of(run: Callable[[Arrays], Arrays], input_name: str) -> Network:
    """A session's ``run`` as a function of one array."""
    return lambda frame: run({input_name: frame})
