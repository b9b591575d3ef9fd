"""Networks by name, with their weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from edgecnn.core.head_part import HeadPart
from edgecnn.core.recipe import ModelPart, is_callable
from edgecnn.core.torchvision_detectors import TRUNK, is_torchvision_detector
from edgecnn.errors import InputError
from edgecnn.train.callables import build_from_callable, called
from edgecnn.train.detection.light_detector import LightDetector
from edgecnn.train.detection.torchvision_detector import TorchvisionDetector
from edgecnn.train.detection.torchvision_weights import as_named_now, begin_torchvision
from edgecnn.train.headed import Headed, begin_headed
from edgecnn.train.layers import outer_layers, set_layers
from edgecnn.train.masks.lraspp import Lraspp
from edgecnn.train.networks import NETWORKS
from edgecnn.train.published import DEFAULT, RANDOM, no_classifier, published_weights, timm_with
from edgecnn.train.slimming.narrow import fit_to
from edgecnn.train.weights import State, fill, read_state_dict, under_own_names, with_own_classes


def build_module(model: ModelPart) -> nn.Module:
    """The network of a recipe with fresh random weights, or with those that the recipe's own code gives it.

    With ``model.head`` it is that network with another head; its own last layers are gone.

    Raises:
        InputError: No network of that name, or it does not take the recipe's arguments.
        EnvironmentMissing: It is one of timm's, and timm is not installed.
    """
    if model.head is not None:
        network = build_module(model.model_copy(update={"head": None}))
        if isinstance(model.head, HeadPart):
            return LightDetector(network, model.source, model.num_classes, model.head)
        return Lraspp(network, model.source, model.num_classes, model.head)
    source, arguments = model.source, dict(model.arguments)
    kind, _, name = source.partition(":")
    if kind == "zoo":
        build, _ = _of_the_zoo(source)
        options = {name: getattr(model, name) for name in ("pooling", "global_pooling", "dropout")}
        stated = {name: value for name, value in options.items() if value is not None}
        given = {"num_classes": model.num_classes, "batch_norm": model.batch_norm, **stated}
        return called(source, build, given | arguments)
    module = _of_others(model, kind, name, arguments)
    set_layers(module, model)
    return module


def _of_others(model: ModelPart, kind: str, name: str, arguments: dict[str, Any]) -> nn.Module:
    source = model.source
    if is_torchvision_detector(source):
        # Torchvision counts the background as a class.
        given = {"name": name, "weights": None, "weights_backbone": None, "num_classes": model.num_classes + 1}
        return TorchvisionDetector(called(source, torchvision.models.get_model, given | arguments))
    if kind == "torchvision":
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise no_classifier(source, torchvision, "names are as in torchvision.models, such as mobilenet_v2")
        given = {"name": name, "weights": None, "num_classes": model.num_classes}
        return called(source, torchvision.models.get_model, given | arguments)
    if kind == "timm":
        timm = timm_with(name)
        return called(source, timm.create_model, {"model_name": name, "num_classes": model.num_classes} | arguments)
    return build_from_callable(source, arguments)


def plain_network(source: str) -> tuple[nn.Module, tuple[int, ...]]:
    """One of the zoo's networks as its paper has it, and the shape of the input that it is meant for.

    Raises:
        InputError: There is none of that name.
    """
    build, shape = _of_the_zoo(source)
    return build(), shape


def _of_the_zoo(source: str) -> tuple[Callable[..., nn.Module], tuple[int, ...]]:
    name = source.removeprefix("zoo:")
    if name not in NETWORKS:
        raise InputError(f"model {source}: not known", f"there are {', '.join(f'zoo:{known}' for known in NETWORKS)}")
    return NETWORKS[name]


def load_weights(module: nn.Module, model: ModelPart) -> None:
    """Fill a network with the weights its recipe names: a file, ``default`` or ``random``.

    Raises:
        InputError: The file is missing, unsafe, or holds weights of another network.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    if (state := state_of(model)) is not None:
        weights = model.weights or DEFAULT
        if isinstance(module, TorchvisionDetector):
            state = as_named_now(module, state, weights, model.source)
        fit_to(module, state, model)
        fill(module, state, weights, model.source)


def state_of(model: ModelPart) -> State | None:
    """The weights that a recipe names, None where the network stays as it was built; raises as ``load_weights``."""
    if model.weights == RANDOM or (model.weights == DEFAULT and is_callable(model.source)):
        return None
    return _state_of(model, model.weights or DEFAULT)


def begin_with(module: nn.Module, model: ModelPart, pretrained: str) -> None:
    """Fill a network with the weights of one that has learnt before.

    A last layer for another number of classes, and those of auxiliary classifiers, stay as they are. With a head, the
    trunk begins with those of a classifier, or the whole with those of a network with such a head.

    Args:
        module: The network, with its own classes.
        model: What the recipe says about it.
        pretrained: ``default``, a file, or for one of torchvision's detectors ``trunk``.

    Raises:
        InputError: The file is missing, unsafe, or holds weights of another network.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    if pretrained == DEFAULT and is_callable(model.source):
        return  # it has them already
    state = _state_of(model, pretrained)
    if isinstance(module, Headed):
        begin_headed(module, state, pretrained, model.source)
    elif isinstance(module, TorchvisionDetector):
        begin_torchvision(module, state, pretrained, model.source)
    else:
        fit_to(module, state, model)
        own = module.state_dict()
        names = [f"{layer}.{kind}" for layer in outer_layers(module, model.source) for kind in ("weight", "bias")]
        found = with_own_classes(under_own_names(state, own), own, names)
        fill(module, found, pretrained, model.source)


def _state_of(model: ModelPart, weights: str) -> State:
    return published_weights(model, weights) if weights in (DEFAULT, TRUNK) else read_state_dict(Path(weights))
