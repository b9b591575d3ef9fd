"""A recipe: one deployable model, from its source to its target, in one YAML file."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, JsonValue, model_validator

from edgecnn.core.classifier import Shown
from edgecnn.core.detection_part import DetectionPart
from edgecnn.core.head_part import Head
from edgecnn.core.part import Part as _Part
from edgecnn.core.quantize_part import QuantizePart
from edgecnn.core.readings import EmbeddingPart, MultilabelPart, RegressionPart, SegmentationPart
from edgecnn.core.signal_preprocess import InputSpec, SignalPreprocess, of_pictures
from edgecnn.core.target_part import TargetPart
from edgecnn.core.torchvision_detectors import TORCHVISION_DETECTORS, is_torchvision_detector, require_fitting
from edgecnn.core.training_part import DataPart, Objective, TrainPart

Task = Literal["classification", "detection", "multilabel", "regression", "embedding", "segmentation"]
# What a network of each task is judged by; regression by 1 less the relative error.
ACCURACY_NAMES: dict[Task, str] = {
    "classification": "top-1",
    "detection": "mAP",
    "multilabel": "mAP",
    "regression": "kept of FP32",
    "embedding": "cosine with FP32",
    "segmentation": "mIoU",
}
# What a network that has been trained for an objective does.
_TRAINED_TASKS: dict[Objective, Task] = {
    "softmax": "classification",
    "multilabel": "multilabel",
    "regression": "regression",
    "detection": "detection",
    "segmentation": "segmentation",
}
_TASKS_OF_SIGNALS: tuple[Task, ...] = ("classification", "multilabel", "regression")
_NAMED_NETWORKS = ("zoo", "torchvision", "timm")


class ModelPart(_Part):
    """Where the network comes from."""

    source: str = Field(
        description="zoo:lenet5, zoo:alexnet, torchvision:NAME, timm:NAME, module.path:callable, or the path of an "
        "ONNX file"
    )
    weights: str | None = Field(
        default=None,
        description="a state dict's path, random, default (those that the network is published with, or that the "
        "callable returns), or none where the recipe trains",
    )
    arguments: dict[str, JsonValue] = Field(
        default={}, description="keyword arguments for the function that builds the network"
    )
    num_classes: int = Field(
        default=1000,
        gt=0,
        description="for networks by name; a callable gets arguments only. Left out where the recipe trains: as many "
        "as the pictures have",
    )
    batch_norm: bool = Field(default=True, description="zoo models: BatchNorm after every convolution")
    pooling: Literal["max", "average", "stride"] | None = Field(
        default=None, description="zoo models: how maps are halved; stride: by convolutions of stride 2 instead"
    )
    global_pooling: Literal["average", "max"] | None = Field(
        default=None,
        description="one number for each map before the last layers, its mean or its maximum; of zoo models, and of "
        "others that have such a layer",
    )
    dropout: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="part of the values before a fully connected layer that are zero in training, such as 0.2 to 0.5",
    )
    pruned: bool = Field(default=False, description="layers are made as narrow as its weights, which train.prune cut")
    head: Head | None = Field(
        default=None,
        description="make a detector of the network ({}: of the usual size), or one for masks ({kind: lraspp})",
    )


class GatePart(_Part):
    """Bars that a conversion must meet."""

    max_drop: float = Field(
        default=1.0,
        ge=0,
        description="accuracy lost against FP32, at most, in percentage points: top-1, the mAP of a detector "
        "or of several labels, the R2 of values, or the mIoU of masks",
    )
    min_map_kept: float | None = Field(
        default=0.99,
        ge=0,
        le=1,
        description="part of FP32's mAP (IoU 0.50 to 0.95) that a detector keeps, at least; null: only max_drop counts",
    )
    min_map_kept_by_size: float | None = Field(
        default=0.95,
        ge=0,
        le=1,
        description="the same for small, medium and large objects alone, where there are 30 or more: of fewer objects "
        "FP16 was seen to keep 98.6%; null: they are reported only",
    )
    min_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="part of the pictures on which FP32 and the result name the same class, at least; for a detector "
        "without labels, part of the boxes that both have (same class, IoU 0.9); for several labels, the F1 of the "
        "labels that it gives with FP32's as the truth",
    )
    max_relative_error: float = Field(
        default=0.05,
        ge=0,
        description="regression: root mean square of a value's difference from FP32, as a part of how far FP32's "
        "values are spread over the pictures, at most",
    )
    min_cosine: float = Field(default=0.98, ge=-1, le=1, description="embeddings: mean cosine with FP32's, at least")
    min_mean_iou: float = Field(
        default=0.95, ge=0, le=1, description="segmentation without known masks: mean IoU with FP32's masks, at least"
    )
    check_preprocess: bool = Field(
        default=True, description="refuse a preprocessing that another does clearly better than, on labelled pictures"
    )


class Recipe(_Part):
    """One deployable model."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    task: Task = "classification"
    model: ModelPart
    preprocess: InputSpec
    labels: str | tuple[str, ...] | None = Field(
        default=None,
        description="imagenet-1k, coco-80, a text file with a name a line, or the names; else the numbers from 0",
    )
    data: DataPart = DataPart()
    train: TrainPart | None = None
    quantize: QuantizePart = QuantizePart()
    gates: GatePart = GatePart()
    classification: Shown = Shown()
    detection: DetectionPart = DetectionPart()
    multilabel: MultilabelPart = MultilabelPart()
    regression: RegressionPart = RegressionPart()
    embedding: EmbeddingPart = EmbeddingPart()
    segmentation: SegmentationPart = SegmentationPart()
    target: TargetPart = TargetPart()

    @model_validator(mode="before")
    @classmethod
    def _task_of_the_objective(cls, document: Any) -> Any:
        """What is trained says what the task is, where nobody else does."""
        train: Any = document.get("train") if isinstance(document, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        objective = train.get("objective") if isinstance(train, dict) else getattr(train, "objective", None)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
        if objective in _TRAINED_TASKS and "task" not in document:
            return {**document, "task": _TRAINED_TASKS[objective]}
        return document  # pyright: ignore[reportUnknownVariableType]

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.train is not None and self.model.weights is not None:
            raise ValueError("train and model.weights exclude each other")
        if isinstance(self.preprocess, SignalPreprocess):
            self._require_fit_for_signals(self.preprocess)
        if self.train is not None:
            self._require_trainable(self.train)
        if self.model.head is not None:
            self._require_head_fits(self.model.head)
        if is_torchvision_detector(self.model.source):
            require_fitting(self.model.source, self.task, self.preprocess)
        for part in get_args(Task):
            if self.task != part and part in self.model_fields_set:
                raise ValueError(f"{part} goes with task: {part}")
        if is_onnx(self.model.source) and (self.train or self.model.weights is not None or self.model.arguments):
            raise ValueError("an ONNX file has its weights: no train, model.weights or model.arguments goes with it")
        return self

    def _require_fit_for_signals(self, spec: SignalPreprocess) -> None:
        if self.task not in _TASKS_OF_SIGNALS:
            raise ValueError(f"of signals, task is one of {', '.join(_TASKS_OF_SIGNALS)}, not {self.task}")
        taken = self.model.arguments.get("channels", 1)
        if self.model.source == "zoo:cnn1d" and taken != spec.channels:
            raise ValueError(f"model.arguments.channels is {taken}, and preprocess.channels {spec.channels}")

    def _require_trainable(self, train: TrainPart) -> None:
        if self.task != (trained := _TRAINED_TASKS[train.objective]):
            raise ValueError(
                f"no train goes with task: {self.task} that has objective: {train.objective}, which makes a "
                f"network for task: {trained}"
            )
        if self.regression.scale or self.regression.offset:
            raise ValueError("values are learnt in their own unit: no regression.scale or offset goes with train")
        if self.task == "segmentation" and self.model.head is None and not is_callable(self.model.source):
            raise ValueError("masks are trained with model.head: {kind: lraspp}, or with a network of your own")
        if self.task == "detection" and self.model.head is None and not is_torchvision_detector(self.model.source):
            raise ValueError(
                "a detector is trained with model.head, such as head: {}, or is one of torchvision's: "
                + ", ".join(TORCHVISION_DETECTORS)
            )
        train.augment.require_fit(signals=isinstance(self.preprocess, SignalPreprocess))

    def _require_head_fits(self, head: Head) -> None:
        if self.task != head.task or is_onnx(self.model.source) or is_torchvision_detector(self.model.source):
            raise ValueError(
                f"model.head goes with task: {head.task} if its kind is {head.kind}, and with a network that is no "
                "detector yet, nor an ONNX file"
            )
        head.require_fits(of_pictures(self.preprocess).size_hw)


def objective_of(task: Task) -> Objective | None:
    """What is minimized where a network for a task is trained; None for tasks that training has not."""
    return next((objective for objective, trained in _TRAINED_TASKS.items() if trained == task), None)


def is_onnx(source: str) -> bool:
    """Whether a model's source is an ONNX file."""
    return source.lower().endswith(".onnx")


def is_callable(source: str) -> bool:
    """Whether a model's source is ``module.path:callable``, with a folder before it or not."""
    return source.find(":") > 0 and not is_onnx(source) and source.partition(":")[0] not in _NAMED_NETWORKS
