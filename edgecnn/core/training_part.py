"""The parts of a recipe that say what a network learns from, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from edgecnn.core.part import Part
from edgecnn.core.slim_part import PrunePart, TeacherPart

_OF_SIGNALS = ("time_shift", "gain_db", "snr_db")
# What YAML 1.1 makes of 2:4 without quotes.
_TWO_OF_FOUR_IN_BASE_60 = 124
Objective = Literal["softmax", "multilabel", "regression", "detection", "segmentation"]


class DataPart(Part):
    """Pictures or signals: a folder (of classes, or flat), a CSV file with columns path and label, or sklearn:digits.

    For detectors labels are boxes: a COCO JSON file, a folder with images/ and labels/ (YOLO) or its data.yaml, or a
    folder with Annotations/ and JPEGImages/ (Pascal VOC) or one of its ImageSets/Main/*.txt. A classifier is trained on
    these too: on each box as a picture, or with train.objective: multilabel on which classes are in a picture.

    For masks: a folder with images/ and masks/, one with JPEGImages/ and SegmentationClass/ (Pascal VOC) or one of its
    ImageSets/Segmentation/*.txt, or a CSV file with columns path and mask. A mask is a PNG, grey or with a palette,
    whose pixels are class numbers; 255 counts for nothing.
    """

    train: str | None = None
    validation: str | None = Field(
        default=None, description="pictures that training is watched on; none: validation_share of data.train"
    )
    validation_share: float = Field(
        default=0.2,
        ge=0,
        lt=1,
        description="part of data.train that is kept out of training where no validation is named: of every class, "
        "with near-duplicates on one side",
    )
    calibration: str | None = Field(
        default=None, description="pictures that set the INT8 ranges; never those of evaluation"
    )
    evaluation: str | None = Field(default=None, description="labelled pictures that accuracy is measured on")


class AugmentPart(Part):
    """Random changes of every training picture, drawn anew in every epoch, by torchvision.transforms.v2.

    Those of signals are ``time_shift``, ``gain_db`` and ``snr_db``, and no others.
    """

    degrees: float = Field(default=10.0, ge=0, description="rotation, at most, either way")
    translate: float = Field(default=0.1, ge=0, lt=1, description="shift, at most, as a part of the picture's side")
    scale: tuple[float, float] = Field(default=(0.9, 1.1), description="smallest and largest zoom")
    crop: tuple[float, float] | None = Field(
        default=None, description="smallest and largest part of the picture's area that is cut out (RandomResizedCrop)"
    )
    horizontal_flip: float = Field(default=0.0, ge=0, le=1, description="how often left and right are exchanged")
    vertical_flip: float = Field(default=0.0, ge=0, le=1, description="how often top and bottom are exchanged")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="changed by this part at most, either way")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="likewise")
    saturation: float = Field(default=0.0, ge=0, lt=1, description="likewise; of colour pictures")
    hue: float = Field(default=0.0, ge=0, le=0.5, description="part of the colour circle, at most, either way")
    blur: float = Field(default=0.0, ge=0, description="largest sigma of a Gaussian blur, pixels of the input")
    erase: float = Field(default=0.0, ge=0, le=1, description="how often a rectangle is made grey (RandomErasing)")
    policy: Literal["none", "trivial", "rand"] = Field(
        default="none", description="TrivialAugmentWide or RandAugment beside these"
    )
    time_shift: float = Field(
        default=0.0, ge=0, lt=1, description="signals: a window is read earlier or later by this part of it, at most"
    )
    gain_db: float = Field(default=0.0, ge=0, description="signals: louder or softer by so much at most, dB")
    snr_db: tuple[float, float] | None = Field(
        default=None, description="signals: white noise with a signal-to-noise ratio between these, dB"
    )

    def require_fit(self, *, signals: bool) -> None:
        """Refuse what is stated of pictures in a recipe for signals, and the reverse.

        Raises:
            ValueError: There is such a key.
        """
        ours, others = ("signals", "pictures") if signals else ("pictures", "signals")
        for name in type(self).model_fields:
            if name in self.model_fields_set and (name in _OF_SIGNALS) != signals:
                raise ValueError(f"train.augment.{name} is for {others}, and this recipe is for {ours}")

    @model_validator(mode="after")
    def _ordered(self) -> AugmentPart:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale wants two numbers above 0, the smaller one first")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError("crop wants two numbers above 0 and at most 1, the smaller one first")
        if self.snr_db is not None and self.snr_db[0] > self.snr_db[1]:
            raise ValueError("snr_db wants two numbers, the smaller one first")
        return self


class TrainPart(Part):
    """Supervised training, from random weights or from those of a network that has learnt before."""

    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=64, gt=1, description="pictures of one step, of all processes together")
    learning_rate: float = Field(default=3e-3, gt=0, description="the highest, that of the last layer")
    weight_decay: float = Field(default=1e-2, ge=0, description="of weights; biases and BatchNorm have none")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    augment: AugmentPart = AugmentPart()
    objective: Objective = Field(
        default="softmax",
        description="softmax: one class of several; multilabel: any number of classes (binary cross entropy); "
        "regression: numbers (Huber loss of standardized targets); detection: boxes, for task: detection; "
        "segmentation: masks (cross entropy of each pixel), for task: segmentation",
    )
    pretrained: str | None = Field(
        default=None,
        description="weights to begin with: default (those that the network is published with) or a file; "
        "a last layer for other classes begins anew. Of torchvision's detectors default is the whole detector, and "
        "trunk its classifier. None: all begins at random",
    )
    layers: Literal["all", "head"] = Field(
        default="all",
        description="head: only the last layer learns. The rest is in inference mode, BatchNorm too, and what it makes "
        "of each picture is computed once and kept on the disk",
    )
    views: int = Field(
        default=1, gt=0, description="with layers: head, how often each picture is kept: as it is, then augmented"
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="discriminative rates: each block's learning rate is this part of that of the block behind it",
    )
    unfreeze_epochs: int = Field(
        default=0, ge=0, description="gradual unfreezing: blocks begin to learn from the last to the first, over these"
    )
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of sgd, in Nesterov's form")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="of the learning rate; cosine: to 0")
    warm_up: float = Field(
        default=0.1, ge=0, lt=1, description="part of all steps in which the rate rises to its highest"
    )
    batch_norm_momentum: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Torch's: running mean = (1 - momentum) x running mean + momentum x batch mean. Textbooks write "
        "alpha x running mean + (1 - alpha) x batch mean, so their alpha 0.9 is 0.1 here. None: as the network has it",
    )
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="decay of an average of the weights, which is what is kept then"
    )
    mixup: float = Field(
        default=0.0, ge=0, description="alpha: pictures are mixed in pairs by shares of Beta(alpha, alpha)"
    )
    clip_norm: float | None = Field(default=None, gt=0, description="largest norm of all gradients together")
    balance: Literal["none", "sampling", "loss"] = Field(
        default="none",
        description="for classes of unequal size. sampling: rare ones are drawn more often; loss: they weigh more, by "
        "the inverse of how many samples, or pixels, there are of each",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="of multiplications; auto: bf16 on a GPU that has it, fp16 on others, fp32 on CPUs"
    )
    patience: int | None = Field(
        default=None,
        gt=0,
        description="epochs without a better validation figure after which training ends; the best epoch's are kept",
    )
    workers: int = Field(default=0, ge=0, description="processes that read pictures; the result is the same")
    teacher: TeacherPart | None = Field(default=None, description="a network that has learnt the same before")
    prune: PrunePart | None = Field(
        default=None, description="remove channels after training, as many as the figure allows; {} is the usual way"
    )

    sparsity: Literal["none", "2:4"] = Field(
        default="none",
        description="'2:4': of every four weights along the input channels two become 0, and the training is repeated "
        "with the others. For Orin and Thor (edgecnn build --sparse)",
    )

    @field_validator("sparsity", mode="before")
    @classmethod
    def _without_quotes(cls, value: object) -> object:
        return "2:4" if value == _TWO_OF_FOUR_IN_BASE_60 else value

    @model_validator(mode="after")
    def _consistent(self) -> TrainPart:
        if self.objective == "regression" and (self.label_smoothing or self.balance != "none"):
            raise ValueError("label_smoothing and balance are about classes, and regression has none")
        if self.objective in ("detection", "segmentation"):
            self._require_for_places()
        if self.layers == "head" and (self.layer_decay < 1 or self.unfreeze_epochs):
            raise ValueError("layer_decay and unfreeze_epochs are about layers that do not learn with layers: head")
        if self.views > 1 and self.layers != "head":
            raise ValueError("views goes with layers: head; with all layers every epoch sees other views")
        if self.teacher is not None and self.objective not in ("softmax", "multilabel", "regression"):
            raise ValueError(f"teacher is for classes, labels and values, not for objective: {self.objective}")
        if self.teacher is not None and self.layers == "head":
            raise ValueError("teacher goes with layers: all; of what a frozen network makes it has seen nothing")
        for name in ("prune", "sparsity"):
            if getattr(self, name) in (None, "none"):
                continue
            if self.objective not in ("softmax", "multilabel", "regression"):
                raise ValueError(f"{name} is for classes, labels and values, not for objective: {self.objective}")
            if self.layers == "head":
                raise ValueError(
                    f"{name} goes with layers: all; layers that do not learn cannot make up for what is lost"
                )
        return self

    def _require_for_places(self) -> None:
        what = "boxes" if self.objective == "detection" else "masks"
        if self.layers == "head":
            raise ValueError("layers: head is for classifiers: unfreeze_epochs and layer_decay spare the trunk")
        if self.objective == "detection" and (self.label_smoothing or self.balance == "loss"):
            raise ValueError("label_smoothing and balance: loss are not for boxes, which have balance: sampling")
        if self.mixup:
            raise ValueError(f"mixup is for classifiers, and not for {what}")
        if self.augment.crop is not None or self.augment.policy != "none" or self.augment.erase:
            raise ValueError(f"augment: crop, policy and erase know no {what}; scale and translate crop and zoom")
