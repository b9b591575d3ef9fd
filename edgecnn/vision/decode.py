"""From a network's raw output to what a person wants to know."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import UNKNOWN, Classification
from edgecnn.errors import GateMissed


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return exponents / exponents.sum(axis=-1, keepdims=True)


def decode_classification(output: npt.NDArray[Any], classifier: Classifier) -> Classification:
    """The most probable classes of one picture, as many as ``classifier.shown`` says.

    Args:
        output: The network's, (1, classes) or (classes,).
        classifier: What it means.

    Raises:
        GateMissed: The output holds NaN or plus infinity.
    """
    scores = output.reshape(-1)
    if not np.isfinite(scores.max()):  # minus infinity is how some networks rule a class out
        raise GateMissed("the network's output is not a number", "its values overflow: convert with --precision fp32")
    return named_classes(softmax(scores) if classifier.scores == "logits" else scores, classifier)


def named_classes(probabilities: npt.NDArray[Any], classifier: Classifier) -> Classification:
    """The most probable classes, before them ``UNKNOWN`` where the best is less probable than the user wants.

    Args:
        probabilities: (classes,).
        classifier: Whose they are.
    """
    shown = classifier.shown
    order = np.argsort(-probabilities, kind="stable")[: min(shown.top, probabilities.size)]
    classes = tuple(int(index) for index in order)
    best = float(probabilities[order[0]])
    unknown = shown.unknown_below is not None and best < shown.unknown_below
    return Classification(
        classes=(UNKNOWN, *classes) if unknown else classes,
        probabilities=(*((1 - best,) if unknown else ()), *(float(probabilities[index]) for index in order)),
        labels=(*(("unknown",) if unknown else ()), *(classifier.labels[index] for index in order)),
        distribution=probabilities,
    )
