"""A recipe: one deployable model, from its source to its target, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from edgecnn.core.documents import load_document
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.resources import shipped_folder, shipped_names
from edgecnn.errors import InputError

Precision = Literal["fp32", "fp16", "int8", "auto"]
_NAMED_WEIGHTS = ("default", "random")
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
    """Pictures: a folder (of classes, or flat), a CSV file with columns path and label, or sklearn:digits."""

    train: str | None = None
    calibration: str | None = Field(
        default=None, description="pictures that set the INT8 ranges; never those of evaluation"
    )
    evaluation: str | None = Field(default=None, description="labelled pictures that accuracy is measured on")


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
    observer: Literal["minmax", "percentile", "mse"] = Field(
        default="percentile", description="how a tensor's range is chosen from what calibration saw"
    )
    percentile: float = Field(default=99.99, gt=50, le=100, description="for observer: percentile")
    max_images: int = Field(default=500, gt=0, description="calibration pictures used at most, spread evenly")


class GatePart(_Part):
    """Bars that a conversion must meet."""

    max_drop: float = Field(default=1.0, ge=0, description="top-1 lost against FP32, at most, in percentage points")
    min_agreement: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="part of the pictures on which FP32 and the result name the same class, at least",
    )


class TargetPart(_Part):
    """Where it will run."""

    device: str = Field(default="orin-nano-8gb", description="a name from: edgecnn devices")


class Recipe(_Part):
    """One deployable model."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    description: str = ""
    task: Literal["classification"] = "classification"
    model: ModelPart
    preprocess: Preprocess
    labels: str | tuple[str, ...] | None = Field(
        default=None, description="imagenet-1k, a text file with a name a line, or the names; else the numbers from 0"
    )
    data: DataPart = DataPart()
    train: TrainPart | None = None
    quantize: QuantizePart = QuantizePart()
    gates: GatePart = GatePart()
    target: TargetPart = TargetPart()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.train is not None and self.model.weights is not None:
            raise ValueError("train and model.weights exclude each other")
        if is_onnx(self.model.source) and (self.train or self.model.weights is not None or self.model.arguments):
            raise ValueError("an ONNX file has its weights: no train, model.weights or model.arguments goes with it")
        return self


def is_onnx(source: str) -> bool:
    """Whether a model's source is an ONNX file."""
    return source.lower().endswith(".onnx")


def is_callable(source: str) -> bool:
    """Whether a model's source is ``module.path:callable``, with a folder before it or not."""
    return source.find(":") > 0 and not is_onnx(source) and source.partition(":")[0] not in _NAMED_NETWORKS


def load_recipe(source: str) -> Recipe:
    """Read a recipe by path or by the name of a shipped one; paths inside it become relative to its folder.

    Raises:
        InputError: No such recipe, or it is wrong; the message says where and what is known there.
    """
    path = Path(source)
    if not path.is_file():
        shipped = shipped_folder("recipes") / f"{source}.yaml"
        if not shipped.is_file():
            raise InputError(
                f"recipe {source}: no such file, and no recipe of that name comes with edgecnn",
                f"shipped recipes: {', '.join(shipped_names('recipes'))}",
            )
        path = shipped
    recipe = load_document(path, Recipe, "recipe")
    return _with_paths_from(recipe, path.parent)


def _with_paths_from(recipe: Recipe, folder: Path) -> Recipe:
    def anchored(value: str | None) -> str | None:
        # "sklearn:digits", "zoo:lenet5" and "default" name things; everything else is a path.
        if value is None or ":" in value or value in _NAMED_WEIGHTS or Path(value).is_absolute():
            return value
        return str(folder / value)

    source = recipe.model.source
    module = folder / source.rpartition(":")[0]
    top = module.parent / module.name.partition(".")[0]
    if is_callable(source) and (top.with_suffix(".py").is_file() or top.is_dir()):
        source = str(folder / source)
    model = recipe.model.model_copy(update={"source": anchored(source), "weights": anchored(recipe.model.weights)})
    data = recipe.data.model_copy(
        update={name: anchored(getattr(recipe.data, name)) for name in type(recipe.data).model_fields}
    )
    labels = recipe.labels
    if isinstance(labels, str) and labels != "imagenet-1k":
        labels = anchored(labels)
    return recipe.model_copy(update={"model": model, "data": data, "labels": labels})
