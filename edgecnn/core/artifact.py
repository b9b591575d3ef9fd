"""Artifacts: immutable files, each with a manifest: what made it from what, and how near it is to its parent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.tensors import TensorSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parity(_Part):
    """How near a stage's output is to its parent's, over the same frames."""

    frames: int
    inputs: Literal["images", "synthetic"] = Field(
        description="synthetic: no pictures were given; smooth random frames"
    )
    max_abs: float = Field(description="largest difference of any output element")
    snr_db: float = Field(
        description="10 log10(power of the parent's output / power of the difference), 200 at most; of the worst output"
    )
    outputs_snr_db: dict[str, float] = Field(description="the same of each output, by name")
    top1_agreement: float | None = Field(
        description="part of the frames on which both name the same class; none for detectors"
    )


class Accuracy(_Part):
    """How a network does on the evaluation pictures.

    Attributes:
        images: How many.
        top1: Part on which the class named is the true one; none without labels.
        top5: Part on which the true class is among the five most probable; none without labels.
        agreement: Part on which the class named is the one that the FP32 network names.
    """

    images: int
    top1: float | None
    top5: float | None
    agreement: float


class DetectionAccuracy(_Part):
    """How a detector does on the evaluation pictures.

    Attributes:
        images: How many.
        map: COCO's mean average precision over IoU 0.50 to 0.95; none without labels.
        map50: The same at IoU 0.50.
        map_small: ``map`` of objects below 32 x 32 pixels; none where there are no such objects.
        map_medium: From there to 96 x 96 pixels.
        map_large: Above.
        box_agreement: Part of the FP32 network's boxes that this one has too: same class, IoU 0.9 or more.
        box_support: Part of this network's boxes that the FP32 one has too.
        score_threshold: From which score on this network's boxes are shown.
    """

    images: int
    map: float | None
    map50: float | None
    map_small: float | None
    map_medium: float | None
    map_large: float | None
    box_agreement: float
    box_support: float
    score_threshold: float


class OutputAccuracy(_Part):
    """How near the outputs of a network of another kind are to FP32's on the evaluation pictures, and how good.

    Attributes:
        images: How many.
        relative_error: For regression: root mean square of a value's difference, as a part of how far FP32's are spread
            over the pictures; of the worst value.
        mean_absolute_error: For regression with known values: of each value by name, in its unit.
        r2: For regression with known values: part of their variance that is explained, the mean of those that vary.
        tag_agreement: For several labels: F1 of the labels that it gives, with those that FP32 gives as the truth.
        map: For several labels with known truth: average precision of each label, the mean of those that occur.
        f1: F1 at the thresholds of each label, the mean of those that occur.
        average_precision: Of each label that occurs, by name.
        label_f1: F1 of each label that occurs, by name.
        cosine: For embeddings: of the two vectors, the mean.
        lowest_cosine: The lowest.
        mask_agreement: For segmentation: intersection over union of each class with FP32's masks, the mean of the
            classes that occur.
        pixel_agreement: Part of the pixels that both give the same class.
        mean_iou: For segmentation with known masks: intersection over union of each class with them, in the pictures'
            pixels, the mean of the classes that occur.
        pixel_accuracy: Part of the pixels whose class is right.
        class_iou: Intersection over union of each class that occurs, by name.
    """

    images: int
    relative_error: float | None = None
    mean_absolute_error: dict[str, float] | None = None
    r2: float | None = None
    tag_agreement: float | None = None
    map: float | None = None
    f1: float | None = None
    average_precision: dict[str, float] | None = None
    label_f1: dict[str, float] | None = None
    cosine: float | None = None
    lowest_cosine: float | None = None
    mask_agreement: float | None = None
    pixel_agreement: float | None = None
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    class_iou: dict[str, float] | None = None

    @property
    def kept(self) -> float:
        """How much of FP32 there still is, 1 for all of it, whatever the task."""
        found = (
            self.cosine,
            self.mask_agreement,
            self.tag_agreement,
            None if self.relative_error is None else 1 - self.relative_error,
        )
        return next(figure for figure in found if figure is not None)


class Manifest(_Part):
    """Identity and lineage of an artifact. Times are kept out, so equal inputs give equal manifests.

    Attributes:
        parents: SHA-256 of everything the stage read: files of earlier stages, weights, pictures.
        detail: What the stage has to say about its work, such as the count of folded BatchNorms.
    """

    schema_version: Literal[1] = 1
    kind: Literal["pictures", "checkpoint", "onnx", "record"]
    sha256: str
    size_bytes: int
    parents: tuple[str, ...]
    stage: str
    stage_version: int
    config: dict[str, Any]
    tools: dict[str, str]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    parity: Parity | None = None
    detail: dict[str, Any] = {}


@dataclass(frozen=True)
class Artifact:
    """A file or folder in the store, and its manifest."""

    path: Path
    manifest: Manifest

    @property
    def sha256(self) -> str:
        """The content's hash, which is the artifact's identity."""
        return self.manifest.sha256
