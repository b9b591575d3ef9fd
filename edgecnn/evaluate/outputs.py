"""How near a network's labels, numbers, vectors or masks are to the FP32 network's, over a set of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.artifact import OutputAccuracy
from edgecnn.core.progress import Progress
from edgecnn.core.readings import Embedder, Regressor, Segmenter, Tagger
from edgecnn.evaluate.accuracy import frames_of
from edgecnn.evaluate.parity import Network, only_output
from edgecnn.evaluate.target_figures import f1_score, mask_figures, tag_figures, value_figures
from edgecnn.signals.windows import Window
from edgecnn.vision.decode_readings import (
    class_map,
    decode_embedding,
    decode_measurements,
    decode_tags,
    mask_in_frame,
)
from edgecnn.vision.mask_figures import pixel_confusion
from edgecnn.vision.mask_png import read_mask
from edgecnn.vision.mask_set import MaskSet

Array = npt.NDArray[Any]
Reading = Tagger | Regressor | Embedder | Segmenter
# Values that are nearly the same in all pictures are compared as parts of themselves: their spread means nothing.
_LEAST_SPREAD = 0.01


def predict_outputs(
    network: Network, places: Sequence[Path | Window], usage: Reading, progress: Progress, label: str
) -> Array:
    """Run a network over pictures, or windows of signals.

    Args:
        network: To run.
        places: The pictures.
        usage: Their preprocessing, and what the output means.
        progress: Who is told.
        label: What is being done, for the progress bar.

    Returns:
        One row a picture: probabilities float64 (N, labels), values float64 (N, V), vectors float32 (N, D), or classes
        uint8 (N, h, w) on the output's grid.
    """
    rows: list[Array] = []
    with progress.task(label, len(places)) as task:
        for frame in frames_of(places, usage.preprocess):
            outputs = network(frame)
            match usage:
                case Tagger():
                    rows.append(decode_tags(only_output(outputs), usage).distribution)
                case Regressor():
                    rows.append(np.array(decode_measurements(only_output(outputs), usage).values))
                case Embedder():
                    rows.append(decode_embedding(only_output(outputs)).vector)
                case Segmenter():
                    rows.append(class_map(outputs, usage))
            task.advance()
    return np.stack(rows)


def output_accuracy_of(
    found: Array, reference: Array, usage: Reading, targets: Array | MaskSet | None = None
) -> OutputAccuracy:
    """How near the outputs of two networks are, of the same pictures and from ``predict_outputs``, and how good.

    Args:
        found: Of the network in question.
        reference: Of the FP32 network.
        usage: What they are.
        targets: What is right, where that is known: (N, labels or values), or the pictures' masks.
    """
    match usage:
        case Tagger():
            bars = usage.thresholds
            agreement = f1_score(found >= bars, reference >= bars)
            figures = tag_figures(found, targets, bars, usage.labels) if isinstance(targets, np.ndarray) else {}
            return OutputAccuracy(images=len(found), tag_agreement=agreement, **figures)
        case Regressor():
            figures = value_figures(found, targets, usage.labels) if isinstance(targets, np.ndarray) else {}
            return OutputAccuracy(images=len(found), relative_error=relative_error(found, reference), **figures)
        case Embedder():
            cosines = (found.astype(np.float64) * reference).sum(axis=1)
            return OutputAccuracy(images=len(found), cosine=float(cosines.mean()), lowest_cosine=float(cosines.min()))
        case Segmenter():
            return OutputAccuracy(
                images=len(found),
                mask_agreement=mask_agreement(found, reference, len(usage.labels)),
                pixel_agreement=float((found == reference).mean()),
                **(
                    mask_figures(_confusion(found, targets, usage), usage.labels)
                    if isinstance(targets, MaskSet)
                    else {}
                ),
            )


def relative_error(found: Array, reference: Array) -> float:
    """Root mean square of each value's difference, as a part of how far the reference's is spread; of the worst value.

    Args:
        found: (N, V).
        reference: (N, V).
    """
    size = np.sqrt((reference**2).mean(axis=0))
    spread = np.maximum(reference.std(axis=0), _LEAST_SPREAD * size)
    error = np.sqrt(((found - reference) ** 2).mean(axis=0))
    return float((error / np.maximum(spread, np.finfo(np.float64).tiny)).max())


def mask_agreement(found: Array, reference: Array, classes: int) -> float:
    """Intersection over union of each class over all pictures together, the mean of the classes that occur."""
    pairs = np.bincount(reference.ravel().astype(np.int64) * classes + found.ravel(), minlength=classes**2)
    table = pairs.reshape(classes, classes)
    union = table.sum(axis=0) + table.sum(axis=1) - table.diagonal()
    return float((table.diagonal()[union > 0] / union[union > 0]).mean())


def _confusion(found: Array, truth: MaskSet, usage: Segmenter) -> Array:
    """Pixels of the pictures by their true class, a row, and the one that the network's cells (N, h, w) give them."""
    table = np.zeros((len(usage.labels),) * 2, dtype=np.int64)
    for cells, path in zip(found, truth.masks, strict=True):
        right = read_mask(path)
        named = mask_in_frame(cells, usage.preprocess, (right.shape[0], right.shape[1]))
        table += pixel_confusion(named, right, len(usage.labels))
    return table
