"""Predictions over a set of pictures, and accuracy from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from edgecnn.core.artifact import Accuracy
from edgecnn.core.progress import Progress
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.core.tensors import Arrays
from edgecnn.evaluate.parity import Array, Network, only_output
from edgecnn.signals.windows import Window
from edgecnn.vision.frame_sets import read_frame
from edgecnn.vision.preprocess import network_input

TOP = 5


class Predictions(BaseModel):
    """The classes that a network names for each picture, most probable first, five or as many as there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[tuple[int, ...], ...]


def frames_of(places: Iterable[Path | Window], spec: InputSpec) -> Iterable[Array]:
    """Pictures, or windows of signals, as network inputs, one by one: see ``network_input``."""
    return (network_input(read_frame(place, spec), spec) for place in places)


def predict(
    network: Network, places: Sequence[Path | Window], spec: InputSpec, progress: Progress, label: str
) -> Predictions:
    """Run a network over pictures, or windows of signals.

    Args:
        network: A classifier, with one output (1, classes).
        places: The pictures.
        spec: Their preprocessing.
        progress: Who is told.
        label: What is being done, for the progress bar.
    """
    classes: list[tuple[int, ...]] = []
    with progress.task(label, len(places)) as task:
        for frame in frames_of(places, spec):
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
