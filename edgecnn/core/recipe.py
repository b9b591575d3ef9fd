"""A recipe: one deployable model, from its source to its target, in one YAML file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from edgecnn.core.detector import Kind, Nms
from edgecnn.core.preprocess import Preprocess

Precision = Literal["fp32", "fp16", "int8", "auto"]
Task = Literal["classification", "detection"]
_NAMED_NETWORKS = ("zoo", "torchvision", "timm")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelPart(_Part):
    """Where the network comes from."""

    source: str = Field(
        description="zoo:lenet5, torchvision:NAME, timm:NAME, module.path:callable, or the path of an ONNX file"
    )
    weights: str | None = Field(
        default=None,
        description="a state dict's path, random, default (those that the network is published with, or that the "
        "callable returns), or none where the recipe trains",
    )
    arguments: dict[str, JsonValue] = Field(
        default={}, description="keyword arguments for the function that builds the network"
    )
    num_classes: int = Field(default=1000, gt=0, description="for networks by name; a callable gets arguments only")
    batch_norm: bool = Field(default=True, description="zoo models: BatchNorm after every convolution")


class DataPart(_Part):
    """Pictures: a folder (of classes, or flat), a CSV file with columns path and label, or sklearn:digits.

    For detectors labels are boxes: a COCO JSON file, a folder with images/ and labels/ (YOLO) or its data.yaml, or a
    folder with Annotations/ and JPEGImages/ (Pascal VOC) or one of its ImageSets/Main/*.txt.
    """

    train: str | None = None
    calibration: str | None = Field(
        default=None, description="pictures that set the INT8 ranges; never those of evaluation"
    )
    evaluation: str | None = Field(default=None, description="labelled pictures that accuracy is measured on")


class LayoutPart(_Part):
    """What a detector's outputs mean, where their shapes and values do not show it. What is left out is found out."""

    kind: Kind | None = None
    boxes: str | None = Field(default=None, description="name of the output with the boxes, or with all")
    scores: str | None = Field(default=None, description="name of the output with the scores, for kind: boxes_scores")
    classes: int | None = Field(default=None, gt=0)
    activation: Literal["none", "sigmoid", "softmax"] | None = Field(
        default=None, description="what must still be applied to objectness and classes"
    )
    strides: tuple[int, ...] | None = Field(default=None, description="of the grids, in their order, for kind: yolox")
    box_format: Literal["xyxy", "cxcywh"] | None = Field(default=None, description="for kind: boxes_scores")
    box_unit: Literal["pixels", "relative"] | None = Field(default=None, description="for kind: boxes_scores")
    background: Literal["first", "last"] | None = Field(
        default=None, description="which column of the scores is no class; null: none is"
    )

    def stated(self) -> dict[str, Any]:
        """What was written down."""
        return self.model_dump(exclude_unset=True)


class DetectionPart(_Part):
    """For task: detection: which boxes are shown, and what the outputs mean."""

    score_threshold: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="boxes with a lower score are not shown; stated for FP32, and fitted anew for other precisions so "
        "that as many of the boxes shown are right",
    )
    iou_threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="of two boxes that overlap by more, the lower score's is dropped; 1 keeps all",
    )
    max_detections: int = Field(default=100, gt=0, description="boxes kept of one frame, at most")
    class_agnostic: bool = Field(default=False, description="whether a box also drops those of other classes")
    nms: Nms = Field(
        default="none",
        description="where overlapping boxes are dropped: none: after the network; onnx: in it, by NonMaxSuppression "
        "(TensorRT 8.5 or later, ONNX Runtime); efficient_nms_trt: in it, by a plugin that only TensorRT runs",
    )
    layout: LayoutPart = LayoutPart()


class AugmentPart(_Part):
    """A random affine change of every training picture, drawn anew in every epoch."""

    degrees: float = Field(default=10.0, ge=0, description="rotation, at most, either way")
    translate: float = Field(default=0.1, ge=0, lt=1, description="shift, at most, as a part of the picture's side")
    scale: tuple[float, float] = Field(default=(0.9, 1.1), description="smallest and largest zoom")


class TrainPart(_Part):
    """Supervised training with AdamW, a linear warm-up and a cosine decay to zero."""

    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=64, gt=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    augment: AugmentPart = AugmentPart()


class QuantizePart(_Part):
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


class GatePart(_Part):
    """Bars that a conversion must meet."""

    max_drop: float = Field(
        default=1.0,
        ge=0,
        description="accuracy lost against FP32, at most, in percentage points: top-1, or a detector's mAP",
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
        "without labels, part of the boxes that both have (same class, IoU 0.9)",
    )
    check_preprocess: bool = Field(
        default=True, description="refuse a preprocessing that another does clearly better than, on labelled pictures"
    )


class TargetPart(_Part):
    """Where it will run."""

    device: str = Field(default="orin-nano-8gb", description="a name from: edgecnn devices")


class Recipe(_Part):
    """One deployable model."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    task: Task = "classification"
    model: ModelPart
    preprocess: Preprocess
    labels: str | tuple[str, ...] | None = Field(
        default=None,
        description="imagenet-1k, coco-80, a text file with a name a line, or the names; else the numbers from 0",
    )
    data: DataPart = DataPart()
    train: TrainPart | None = None
    quantize: QuantizePart = QuantizePart()
    gates: GatePart = GatePart()
    detection: DetectionPart = DetectionPart()
    target: TargetPart = TargetPart()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.train is not None and self.model.weights is not None:
            raise ValueError("train and model.weights exclude each other")
        if self.task == "detection" and self.train is not None:
            raise ValueError("detectors are converted, not trained: no train goes with task: detection")
        if self.task != "detection" and "detection" in self.model_fields_set:
            raise ValueError("detection goes with task: detection")
        if is_onnx(self.model.source) and (self.train or self.model.weights is not None or self.model.arguments):
            raise ValueError("an ONNX file has its weights: no train, model.weights or model.arguments goes with it")
        return self


def is_onnx(source: str) -> bool:
    """Whether a model's source is an ONNX file."""
    return source.lower().endswith(".onnx")


def is_callable(source: str) -> bool:
    """Whether a model's source is ``module.path:callable``, with a folder before it or not."""
    return source.find(":") > 0 and not is_onnx(source) and source.partition(":")[0] not in _NAMED_NETWORKS
