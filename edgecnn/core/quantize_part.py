"""The part of a recipe that says what the numbers in the network become."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgecnn.core.part import Part
from edgecnn.core.training_part import AugmentPart, Objective, TrainPart

Precision = Literal["fp32", "fp16", "int8", "auto"]
# Which changes leave a label right is for its recipe to know: not even a small rotation does where angles are learnt.
AS_THEY_ARE = AugmentPart(degrees=0, translate=0, scale=(1, 1))


class QatPart(Part):
    """Quantization-aware training: the FP32 network is trained on with what INT8 does to it.

    It learns from data.train, and begins where calibration ended: layers, ranges and corrected biases.
    """

    when: Literal["missed", "always"] = Field(
        default="missed", description="missed: where the calibrated network misses a gate"
    )
    epochs: int = Field(default=10, gt=0)
    batch_size: int = Field(default=32, gt=1)
    learning_rate: float = Field(
        default=5e-4,
        gt=0,
        description="how far a step moves a weight, at most, as a part of the largest of its channel; a cosine, to 0",
    )
    seed: int = 0
    augment: AugmentPart | None = Field(
        default=None, description="null: as in train; where the recipe has no train, pictures are learnt as they are"
    )
    workers: int = Field(default=0, ge=0, description="processes that read pictures; the result is the same")

    def train_part(self, objective: Objective, trained: TrainPart | None) -> TrainPart:
        """As a training of its own.

        Args:
            objective: Of the recipe's task.
            trained: How the FP32 network was trained, if the recipe does that.
        """
        augment = self.augment or (trained.augment if trained is not None else AS_THEY_ARE)
        return TrainPart(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            seed=self.seed,
            augment=augment,
            objective=objective,
            precision="fp32",
            workers=self.workers,
        )


class QuantizePart(Part):
    """What the numbers in the network become."""

    precision: Precision = "int8"
    observer: Literal["minmax", "percentile", "entropy", "mse", "auto"] = Field(
        default="auto",
        description="how a tensor's range is chosen from what calibration saw; auto: for each tensor, the one of the "
        "others, or a narrower one, with which the network's outputs stay nearest to FP32",
    )
    percentile: float = Field(
        default=99.99, gt=50, le=100, description="for observer: percentile, and as a candidate of auto"
    )
    equalize: bool = Field(
        default=True, description="give the channels of a tensor ranges of one size, and centre one-sided activations"
    )
    rounding: Literal["learned", "nearest"] = Field(
        default="learned", description="learned: weights are rounded so that each layer's output stays, not each weight"
    )
    max_fp16_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="for precision: auto: part of the multiply-accumulates that may be left out of INT8 for accuracy",
    )
    max_images: int = Field(default=500, gt=0, description="calibration pictures used at most, spread evenly")
    qat: QatPart | None = Field(
        default=None, description="train on with quantization, with labels of data.train; {} is the usual way"
    )
