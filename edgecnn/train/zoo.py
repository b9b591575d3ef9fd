"""Networks by name, with their weights."""

from __future__ import annotations

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart, is_callable
from edgecnn.errors import EnvironmentMissing, InputError, missing_extra
from edgecnn.train.callables import build_from_callable, called
from edgecnn.train.weights import State, fill, read_state_dict

RANDOM = "random"
DEFAULT = "default"


def lenet5(num_classes: int = 10, *, batch_norm: bool = False) -> nn.Module:
    """LeNet-5 for grey pictures of 32 x 32: 61,706 parameters with 10 classes, 61,750 with BatchNorm.

    After LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, in its usual modern form: all
    maps of C3 see all of S2, ReLU for tanh, maximum for average pooling, a linear layer for the radial basis functions.

    Args:
        num_classes: Outputs.
        batch_norm: BatchNorm between each convolution and its ReLU.
    """

    def convolution(inputs: int, outputs: int, name: str) -> list[tuple[str, nn.Module]]:
        layers: list[tuple[str, nn.Module]] = [(f"conv{name}", nn.Conv2d(inputs, outputs, kernel_size=5))]
        if batch_norm:
            layers.append((f"bn{name}", nn.BatchNorm2d(outputs)))
        return [*layers, (f"relu{name}", nn.ReLU()), (f"pool{name}", nn.MaxPool2d(2))]

    return nn.Sequential(
        OrderedDict[str, nn.Module](
            [
                *convolution(1, 6, "1"),
                *convolution(6, 16, "2"),
                ("flatten", nn.Flatten()),
                ("fc1", nn.Linear(16 * 5 * 5, 120)),
                ("relu3", nn.ReLU()),
                ("fc2", nn.Linear(120, 84)),
                ("relu4", nn.ReLU()),
                ("fc3", nn.Linear(84, num_classes)),
            ]
        )
    )


def build_module(model: ModelPart) -> nn.Module:
    """The network of a recipe with fresh random weights, or with those that the recipe's own code gives it.

    Raises:
        InputError: No network of that name, or it does not take the recipe's arguments.
        EnvironmentMissing: It is one of timm's, and timm is not installed.
    """
    source, arguments = model.source, dict(model.arguments)
    kind, _, name = source.partition(":")
    if source == "zoo:lenet5":
        return called(source, lenet5, {"num_classes": model.num_classes, "batch_norm": model.batch_norm} | arguments)
    if kind == "zoo":
        raise InputError(f"model {source}: not known", "zoo:lenet5 is the only one")
    if kind == "torchvision":
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise _no_classifier(source, torchvision, "names are as in torchvision.models, such as mobilenet_v2")
        given = {"name": name, "weights": None, "num_classes": model.num_classes}
        return called(source, torchvision.models.get_model, given | arguments)
    if kind == "timm":
        timm = _timm_with(name)
        return called(source, timm.create_model, {"model_name": name, "num_classes": model.num_classes} | arguments)
    return build_from_callable(source, arguments)


def load_weights(module: nn.Module, model: ModelPart) -> None:
    """Fill a network with the weights its recipe names: a file, ``default`` or ``random``.

    Raises:
        InputError: The file is missing, unsafe, or holds weights of another network.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    if model.weights == RANDOM or (model.weights == DEFAULT and is_callable(model.source)):
        return
    default = model.weights in (None, DEFAULT)
    state = _default_state(model) if default else read_state_dict(Path(str(model.weights)))
    fill(module, state, model.weights or DEFAULT, model.source)


def _default_state(model: ModelPart) -> State:
    kind, _, name = model.source.partition(":")
    if kind not in ("torchvision", "timm"):
        raise InputError(
            f"model {model.source}: there are no default weights",
            "give weights (default: those that a callable returns its network with), or a train section in the recipe",
        )
    try:
        if kind == "timm":
            # With the classes of the weights: for another number timm would draw a new last layer at random.
            return _timm_with(name).create_model(name, pretrained=True, **model.arguments).state_dict()
        weights: Any = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise EnvironmentMissing(
            f"model {model.source}: its pretrained weights could not be downloaded ({reason})",
            f"fetch the file elsewhere and give {kind}:{name}@weights.pth, or @random for a trial without weights",
        ) from None
    except RuntimeError as error:  # timm has the network, and no weights for it
        raise InputError(f"model {model.source}: {error}", "give the weights as a file") from None


def _no_classifier(source: str, library: Any, advice: str) -> InputError:
    return InputError(
        f"model {source}: {library.__name__} {library.__version__} has no classifier of that name", advice
    )


def _timm_with(name: str) -> Any:
    """The module timm, which has a network of that name.

    Raises:
        InputError: It has not.
        EnvironmentMissing: It is not installed.
    """
    try:
        import timm
    except ImportError:
        raise missing_extra("timm", "timm") from None
    architecture, _, tag = name.partition(".")
    known: Any = timm.list_pretrained(architecture) if tag else timm.list_models(architecture)
    if name not in known:
        near = ", ".join(timm.list_pretrained(f"{architecture}.*")[:4])
        raise _no_classifier(
            f"timm:{name}", timm, f"known: {near}" if near else "names are those of timm.list_models()"
        )
    return timm


def timm_preprocess(name: str) -> Preprocess:
    """The preprocessing that timm evaluates a network's weights with.

    timm resizes the shorter side to the crop's divided by ``crop_pct``. Where it squashes the whole picture into the
    input instead (``crop_mode: squash``, ``crop_pct: 1``), the picture is stretched.

    Raises:
        InputError: No network of that name.
        EnvironmentMissing: timm is not installed.
    """
    config: Any = _timm_with(name).get_pretrained_cfg(name)
    height, width = config.input_size[1:]
    whole = config.crop_mode == "squash" and config.crop_pct == 1
    return Preprocess(
        size_hw=(height, width),
        resize="stretch" if whole else "shorter_side",
        shorter_side=None if whole else math.floor(max(height, width) / config.crop_pct),
        mean=tuple(config.mean),
        std=tuple(config.std),
    )


def timm_classes(name: str) -> int:
    """The number of classes of a network's published weights; 1,000 where none are published.

    Raises:
        InputError: No network of that name, or its weights end in features, without classes.
        EnvironmentMissing: timm is not installed.
    """
    config: Any = _timm_with(name).get_pretrained_cfg(name)
    if config.num_classes == 0:
        raise _no_classifier(f"timm:{name}", _timm_with(name), "its weights end in features: train a classifier first")
    return int(config.num_classes)


def torchvision_preprocess(name: str, weights: str) -> Preprocess:
    """The preprocessing that a torchvision classifier's weights were measured with.

    Args:
        name: Of the classifier.
        weights: ``default``, ``random``, or a file. A file with the name that torchvision publishes a set of weights
            under gets that set's preprocessing; any other gets that of the classifier's first set.

    Raises:
        InputError: No classifier of that name.
    """
    try:
        published: Any = torchvision.models.get_model_weights(name)
    except ValueError:
        raise _no_classifier(f"torchvision:{name}", torchvision, "names are as in torchvision.models") from None
    if weights in (DEFAULT, RANDOM):
        chosen = published.DEFAULT
    else:
        stem = Path(weights).stem
        chosen = next((entry for entry in published if Path(entry.url).stem == stem), next(iter(published)))
    transform = chosen.transforms()
    crop, side = transform.crop_size[0], transform.resize_size[0]
    return Preprocess(
        size_hw=(crop, crop),
        resize="shorter_side",
        shorter_side=side,
        mean=tuple(transform.mean),
        std=tuple(transform.std),
    )


def imagenet_labels() -> tuple[str, ...]:
    """Names of the 1,000 classes of ImageNet, in torchvision's wording."""
    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def coco_labels() -> tuple[str, ...]:
    """Names of the 80 classes of COCO's detection task, in their usual order: torchvision's 91 without those unused."""
    names = torchvision.models.detection.SSDLite320_MobileNet_V3_Large_Weights.DEFAULT.meta["categories"]
    return tuple(name for name in names if name not in ("__background__", "N/A"))
