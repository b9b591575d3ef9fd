"""From a network's raw output to what a person wants to know."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification
from edgecnn.errors import GateMissed


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Probabilities over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponents = np.exp(shifted)
    return exponents / exponents.sum(axis=-1, keepdims=True)


def decode_classification(output: npt.NDArray[Any], classifier: Classifier, top: int = 5) -> Classification:
    """The ``top`` most probable classes of one picture.

    Args:
        output: The network's, (1, classes) or (classes,).
        classifier: What it means.
        top: How many.

    Raises:
        GateMissed: The output holds NaN or plus infinity.
    """
    scores = output.reshape(-1)
    if not np.isfinite(scores.max()):  # minus infinity is how some networks rule a class out
        raise GateMissed("the network's output is not a number", "its values overflow: convert with --precision fp32")
    probabilities = softmax(scores) if classifier.scores == "logits" else scores
    order = np.argsort(-probabilities, kind="stable")[: min(top, probabilities.size)]
    return Classification(
        classes=tuple(int(index) for index in order),
        probabilities=tuple(float(probabilities[index]) for index in order),
        labels=tuple(classifier.labels[index] for index in order),
    )
