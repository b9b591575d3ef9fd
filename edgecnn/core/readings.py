"""How networks are used that give several labels, numbers, a vector or a mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.classifier import Scores
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.signal_preprocess import InputSpec

NOT_SEEN = 255
"""In a mask, what the network has not seen of a frame: preprocessing has cut it off."""
MOST_CLASSES = 255


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Threshold = Annotated[float, Field(gt=0, lt=1)]


class MultilabelPart(_Part):
    """For task: multilabel: when a picture has a label. ``labels`` names them."""

    scores: Scores | None = Field(
        default=None,
        description="what the output is: before the sigmoid (logits) or after it; null: probabilities where the "
        "network ends in one, else logits",
    )
    threshold: Threshold = Field(default=0.5, description="a label is there from this probability on")
    thresholds: dict[str, Threshold] = Field(default={}, description="the same of single labels, by name")


class RegressionPart(_Part):
    """For task: regression: what the output's numbers are. ``labels`` names them."""

    units: tuple[str, ...] = Field(default=(), description="one for each value, or none at all")
    scale: tuple[float, ...] = Field(default=(), description="what each value is multiplied by; none: 1")
    offset: tuple[float, ...] = Field(default=(), description="what is then added to each; none: 0")


class EmbeddingPart(_Part):
    """For task: embedding: when a vector is that of someone, or something, in a gallery."""

    match_above: float = Field(
        default=0.4,
        ge=-1,
        le=1,
        description="a vector whose cosine with the nearest one of the gallery is below this is unknown",
    )


class SegmentationPart(_Part):
    """For task: segmentation: what the output's planes are. ``labels`` names the classes."""

    output: str | None = Field(
        default=None, description="name of the output with the planes (1, classes, h, w); none: the first such output"
    )
    threshold: float = Field(
        default=0.0,
        description="of an output with one plane, the value from which on a pixel is of the second class: 0 for "
        "logits, 0.5 for probabilities",
    )


@dataclass(frozen=True)
class Tagger:
    """Everything about a network for several labels but the network.

    Attributes:
        preprocess: From a frame or signal to the network's input.
        labels: A name for each element of the output (1, labels).
        part: What the output is, and when a label is there.
    """

    preprocess: InputSpec
    labels: tuple[str, ...]
    part: MultilabelPart = field(default_factory=MultilabelPart)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which probability on each label is there."""
        return tuple(self.part.thresholds.get(label, self.part.threshold) for label in self.labels)


@dataclass(frozen=True)
class Regressor:
    """Everything about a regression network but the network.

    Attributes:
        preprocess: From a frame or signal to the network's input.
        labels: A name for each value of the output (1, values).
        part: Their units, and what is made of them.
    """

    preprocess: InputSpec
    labels: tuple[str, ...]
    part: RegressionPart = field(default_factory=RegressionPart)


@dataclass(frozen=True)
class Embedder:
    """Everything about an embedding network but the network.

    Attributes:
        preprocess: From a frame to the network's input.
        labels: None: a gallery names what is known.
        part: When a vector is known.
    """

    preprocess: Preprocess
    labels: tuple[str, ...] = ()
    part: EmbeddingPart = field(default_factory=EmbeddingPart)


@dataclass(frozen=True)
class Segmenter:
    """Everything about a segmentation network but the network.

    Attributes:
        preprocess: From a frame to the network's input.
        labels: A name for each class.
        part: What the output is.
    """

    preprocess: Preprocess
    labels: tuple[str, ...]
    part: SegmentationPart = field(default_factory=SegmentationPart)
