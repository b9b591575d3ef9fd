"""How a classifier is used: what its input is made from, and what its output means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.signal_preprocess import InputSpec

Scores = Literal["logits", "probabilities"]


class Shown(BaseModel):
    """Which of a classifier's classes are named."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    top: int = Field(default=5, gt=0, description="so many classes are named, the most probable ones")
    smoothing_s: float | None = Field(
        default=None,
        gt=0,
        description="probabilities are averaged over time, with weights that fall to 37% in so many seconds; after a "
        "gap of three times that they begin anew; null: each frame counts alone",
    )
    unknown_below: float | None = Field(
        default=None, gt=0, lt=1, description="below this probability of the best class, 'unknown' is named before it"
    )


@dataclass(frozen=True)
class Classifier:
    """Everything about a classifier but the network.

    Attributes:
        preprocess: From a frame or signal to the network's input.
        labels: A name for each class.
        scores: What the network's output (1, classes) is: before softmax, or after it.
        shown: Which of the classes are named.
    """

    preprocess: InputSpec
    labels: tuple[str, ...]
    scores: Scores
    shown: Shown = field(default_factory=Shown)
