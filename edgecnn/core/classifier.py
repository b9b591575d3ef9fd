"""How a classifier is used: what its input is made from, and what its output means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.core.preprocess import Preprocess

Scores = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Classifier:
    """Everything about a classifier but the network.

    Attributes:
        preprocess: From a frame to the network's input.
        labels: A name for each class.
        scores: What the network's output (1, classes) is: before softmax, or after it.
    """

    preprocess: Preprocess
    labels: tuple[str, ...]
    scores: Scores
