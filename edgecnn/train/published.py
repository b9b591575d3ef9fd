"""What torchvision and timm publish with their networks: weights, and the preprocessing that these want."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torchvision

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import ModelPart
from edgecnn.core.torchvision_detectors import TRUNK
from edgecnn.errors import EnvironmentMissing, InputError, missing_extra
from edgecnn.train.detection.torchvision_weights import trunk_weights
from edgecnn.train.weights import State

RANDOM = "random"
DEFAULT = "default"


def published_weights(model: ModelPart, weights: str) -> State:
    """Weights of a network of torchvision or timm.

    Args:
        model: Which network.
        weights: ``default``, or of torchvision's detectors ``trunk``: those of their classifier.

    Raises:
        InputError: There are none.
        EnvironmentMissing: They must be downloaded and there is no network, or timm is not installed.
    """
    kind, _, name = model.source.partition(":")
    if kind not in ("torchvision", "timm"):
        raise InputError(
            f"model {model.source}: there are no default weights",
            "give weights (default: those that a callable returns its network with), or a train section in the recipe",
        )
    try:
        if kind == "timm":
            # With the classes of the weights: for another number timm would draw a new last layer at random.
            return timm_with(name).create_model(name, pretrained=True, **model.arguments).state_dict()
        known: Any = torchvision.models
        trunk = trunk_weights(model.source) if weights == TRUNK else None
        published = known.get_model_weights(name).DEFAULT if trunk is None else known.get_weight(trunk)
        return published.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        reason = " ".join(str(error).split())[:200]
        raise EnvironmentMissing(
            f"model {model.source}: its pretrained weights could not be downloaded ({reason})",
            f"fetch the file elsewhere and give {kind}:{name}@weights.pth, or @random for a trial without weights",
        ) from None
    except RuntimeError as error:  # timm has the network, and no weights for it
        raise InputError(f"model {model.source}: {error}", "give the weights as a file") from None


def no_classifier(source: str, library: Any, advice: str) -> InputError:
    """What to raise where a library has no network of a name."""
    return InputError(
        f"model {source}: {library.__name__} {library.__version__} has no classifier of that name", advice
    )


def timm_with(name: str) -> Any:
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
        raise no_classifier(f"timm:{name}", timm, f"known: {near}" if near else "names are those of timm.list_models()")
    return timm


def timm_preprocess(name: str) -> Preprocess:
    """The preprocessing that timm evaluates a network's weights with.

    timm resizes the shorter side to the crop's divided by ``crop_pct``. Where it squashes the whole picture into the
    input instead (``crop_mode: squash``, ``crop_pct: 1``), the picture is stretched.

    Raises:
        InputError: No network of that name.
        EnvironmentMissing: timm is not installed.
    """
    config: Any = timm_with(name).get_pretrained_cfg(name)
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
    config: Any = timm_with(name).get_pretrained_cfg(name)
    if config.num_classes == 0:
        raise no_classifier(f"timm:{name}", timm_with(name), "its weights end in features: train a classifier first")
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
        raise no_classifier(f"torchvision:{name}", torchvision, "names are as in torchvision.models") from None
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
