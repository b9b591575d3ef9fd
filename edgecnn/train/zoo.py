"""Networks by name, with their weights."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart
from edgecnn.errors import EnvironmentMissing, InputError

_COUNTER = ".num_batches_tracked"
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
    """The network of a recipe with fresh random weights.

    Raises:
        InputError: No network of that name.
    """
    kind, _, name = model.source.partition(":")
    if kind == "zoo" and name == "lenet5":
        return lenet5(model.num_classes, batch_norm=model.batch_norm)
    if kind == "torchvision":
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise InputError(
                f"model {model.source}: torchvision {torchvision.__version__} has no classifier of that name",
                "names are as in torchvision.models, such as mobilenet_v2 or resnet18",
            )
        return torchvision.models.get_model(name, weights=None, num_classes=model.num_classes)
    raise InputError(
        f"model {model.source}: not known", "give zoo:lenet5, torchvision:NAME or the path of an ONNX file"
    )


def load_weights(module: nn.Module, model: ModelPart) -> None:
    """Fill a network with the weights its recipe names: a file, ``default`` (torchvision's own) or ``random``.

    Files are read with ``weights_only=True``: a pickle that would run code is refused.

    Raises:
        InputError: The file is missing, unsafe, or holds weights of another network.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    if model.weights == RANDOM:
        return
    if model.weights in (None, DEFAULT):
        state = _default_state(model)
    else:
        assert model.weights is not None
        state = read_state_dict(Path(model.weights))
    own = module.state_dict()
    # A counter that inference does not read, and that older checkpoints do not have.
    state = {name: value for name, value in own.items() if name.endswith(_COUNTER)} | state
    wrong = [
        f"{name}: {tuple(state[name].shape)}, wanted {tuple(value.shape)}" if name in state else f"{name}: missing"
        for name, value in own.items()
        if name not in state or state[name].shape != value.shape
    ] + [f"{name}: not in the network" for name in state if name not in own]
    if wrong:
        raise InputError(
            f"weights {model.weights}: not those of {model.source}; {len(wrong)} tensors differ, first {wrong[0]}",
            "check the network's name, num_classes and batch_norm",
        )
    module.load_state_dict(state)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, out of the usual wrappers (``state_dict``, ``model``, the prefix ``module.``).

    Raises:
        InputError: The file is missing, damaged, or not safe to load.
    """
    if not path.is_file():
        raise InputError(f"weights {path}: no such file", "check the path")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the restricted unpickler stumbles over damaged bytes in a dozen ways
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise InputError(
                f"weights {path}: the file holds more than tensors, and loading it could run code",
                "save the state dict alone: torch.save(model.state_dict(), path)",
            ) from None
        raise InputError(
            f"weights {path}: not a Torch checkpoint, or damaged ({path.stat().st_size} bytes)", "copy it again"
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(value, torch.Tensor) for value in content.values())
    ):
        raise InputError(
            f"weights {path}: no state dict in it", "save the state dict alone: torch.save(model.state_dict(), path)"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _default_state(model: ModelPart) -> dict[str, torch.Tensor]:
    kind, _, name = model.source.partition(":")
    if kind != "torchvision":
        raise InputError(
            f"model {model.source}: there are no default weights", "give weights, or a train section in the recipe"
        )
    try:
        weights: Any = torchvision.models.get_model_weights(name).DEFAULT  # type: ignore[attr-defined]
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        raise EnvironmentMissing(
            f"model {model.source}: its pretrained weights could not be downloaded ({error})",
            f"fetch the file elsewhere and give torchvision:{name}@weights.pth, or @random for a trial without weights",
        ) from None


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
        raise InputError(
            f"model torchvision:{name}: torchvision {torchvision.__version__} has no classifier of that name",
            "names are as in torchvision.models, such as mobilenet_v2 or resnet18",
        ) from None
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
