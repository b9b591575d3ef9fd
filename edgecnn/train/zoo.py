"""Networks by name, with their weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from edgecnn.core.head_part import HeadPart
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart, is_callable
from edgecnn.errors import EnvironmentMissing, InputError, missing_extra
from edgecnn.train.callables import build_from_callable, called
from edgecnn.train.headed import Headed, begin_headed
from edgecnn.train.layers import outer_layers, set_layers
from edgecnn.train.light_detector import LightDetector
from edgecnn.train.lraspp import Lraspp
from edgecnn.train.narrow import fit_to
from edgecnn.train.networks import NETWORKS
from edgecnn.train.weights import State, fill, read_state_dict, under_own_names

RANDOM = "random"
DEFAULT = "default"


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
    if kind == "torchvision":
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise _no_classifier(source, torchvision, "names are as in torchvision.models, such as mobilenet_v2")
        given = {"name": name, "weights": None, "num_classes": model.num_classes}
        return called(source, torchvision.models.get_model, given | arguments)
    if kind == "timm":
        timm = _timm_with(name)
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
        fit_to(module, state, model)
        fill(module, state, model.weights or DEFAULT, model.source)


def state_of(model: ModelPart) -> State | None:
    """The weights that a recipe names, None where the network stays as it was built; raises as ``load_weights``."""
    if model.weights == RANDOM or (model.weights == DEFAULT and is_callable(model.source)):
        return None
    default = model.weights in (None, DEFAULT)
    return _default_state(model) if default else read_state_dict(Path(str(model.weights)))


def begin_with(module: nn.Module, model: ModelPart, pretrained: str) -> None:
    """Fill a network with the weights of one that has learnt before.

    A last layer for another number of classes, and those of auxiliary classifiers, stay as they are. With a head, the
    trunk begins with those of a classifier, or the whole with those of a network with such a head.

    Args:
        module: The network, with its own classes.
        model: What the recipe says about it.
        pretrained: ``default`` or a file.

    Raises:
        InputError: The file is missing, unsafe, or holds weights of another network.
        EnvironmentMissing: Default weights must be downloaded and there is no network.
    """
    if pretrained == DEFAULT and is_callable(model.source):
        return  # it has them already
    state = _default_state(model) if pretrained == DEFAULT else read_state_dict(Path(pretrained))
    if isinstance(module, Headed):
        begin_headed(module, state, pretrained, model.source)
        return
    fit_to(module, state, model)
    own = module.state_dict()
    found = under_own_names(state, own)
    for layer in outer_layers(module, model.source):
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name in own and name in found and own[name].shape[1:] == found[name].shape[1:]:
                found[name] = found[name] if own[name].shape == found[name].shape else own[name]
    fill(module, found, pretrained, model.source)


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
