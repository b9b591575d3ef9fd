"""What torchvision's detectors begin with: other detectors' weights, or those of the classifier in their trunk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.train.detection.torchvision_detector import TorchvisionDetector
from edgecnn.train.weights import State, fill, under_own_names, with_own_classes


@dataclass(frozen=True)
class _Published:
    """How torchvision begins a detector.

    Attributes:
        trunk: Its name for the weights of the classifier in the trunk.
        input: What the weights of the whole were learnt with.
        kept: Parts of the trunk that stay as they begin.
        keeps_norm: Whether all BatchNorm of the trunk stays as it begins.
    """

    trunk: str
    input: Preprocess
    kept: tuple[str, ...] = ()
    keeps_norm: bool = False


_RESNET, _STEM = "ResNet50_Weights.IMAGENET1K_V1", ("conv1.", "bn1.", "layer1.")
_HALVES, _ONES = (0.5,) * 3, (1 / 255,) * 3
# Of sides of 800 to 1333 that depend on the picture, the one that a fixed input can have.
_LARGE = Preprocess(size_hw=(800, 800), resize="letterbox", interpolation="linear")
_PUBLISHED = {
    "torchvision:ssdlite320_mobilenet_v3_large": _Published(
        "MobileNet_V3_Large_Weights.IMAGENET1K_V1",
        Preprocess(size_hw=(320, 320), interpolation="linear", mean=_HALVES, std=_HALVES),
    ),
    "torchvision:ssd300_vgg16": _Published(
        "VGG16_Weights.IMAGENET1K_FEATURES",
        Preprocess(size_hw=(300, 300), interpolation="linear", mean=(0.48235, 0.45882, 0.40784), std=_ONES),
        kept=("0.", "2."),
    ),
    "torchvision:retinanet_resnet50_fpn": _Published(_RESNET, _LARGE, _STEM, keeps_norm=True),
    "torchvision:retinanet_resnet50_fpn_v2": _Published(_RESNET, _LARGE, _STEM),
    "torchvision:fcos_resnet50_fpn": _Published(_RESNET, _LARGE, _STEM, keeps_norm=True),
}
# The block of MobileNetV3 that SSDLite cuts in two, and the layer of VGG16 behind which SSD takes its first map.
_CUT_BLOCK, _VGG_CUT = 13, 23
# From there on SSDLite has half the classifier's channels (Howard et al., "MobileNetV3", 2019, table 6).
_REDUCED = "backbone.features.1."
# Names of layers before torchvision 0.14, and what shows that they are new.
_OLD_NAMES = (
    ("layer_blocks.0.0.", r"(fpn\.(?:inner|layer)_blocks)\.(\d+)\.(weight|bias)", 1),
    ("_head.conv.0.0.", r"((?:classification|regression)_head\.conv)\.(\d+)\.(weight|bias)", 2),
)
# These weights, and no others, were learnt with a BatchNorm that adds nothing to the variance.
_WITHOUT_EPSILON = ("torchvision:retinanet_resnet50_fpn", "retinanet_resnet50_fpn_coco-eeacb38b")
_EPSILON = 1e-5


def trunk_weights(source: str) -> str:
    """Torchvision's name for the weights of the classifier that a detector's trunk is published with.

    Raises:
        InputError: It is none of torchvision's detectors.
    """
    if source not in _PUBLISHED:
        raise InputError(
            f"model {source}: train.pretrained: trunk is for torchvision's detectors", "give default, or a file"
        )
    return _PUBLISHED[source].trunk


def published_input(source: str) -> Preprocess:
    """What torchvision's own weights of a detector were learnt with, as nearly as an input of one size can be that."""
    return _PUBLISHED[source].input


def published_labels(source: str) -> tuple[str, ...]:
    """Names of the classes of torchvision's own weights: COCO's 90 numbers, of which 10 are not used."""
    known: Any = torchvision.models
    names = known.get_model_weights(source.partition(":")[2]).DEFAULT.meta["categories"][1:]
    return tuple(name if name != "N/A" else f"unused {number}" for number, name in enumerate(names, start=1))


def kept_as_published(module: TorchvisionDetector, source: str) -> frozenset[str]:
    """Names of the parameters that torchvision leaves as they are where a detector does not begin at random."""
    published, prefix = _PUBLISHED[source], f"{module.trunk_name}."
    kept = {
        name
        for name, _ in module.named_parameters()
        if name.startswith(tuple(prefix + part for part in published.kept))
    }
    if published.keeps_norm:
        for name, part in module.get_submodule(module.trunk_name).named_modules(prefix=module.trunk_name):
            if isinstance(part, _BatchNorm):
                kept |= {f"{name}.{inner}" for inner, _ in part.named_parameters()}
    return frozenset(kept)


def begin_torchvision(module: TorchvisionDetector, state: Mapping[str, torch.Tensor], named: str, source: str) -> None:
    """Fill a detector with the weights of another one, or its trunk with those of a classifier.

    The layers that say the classes begin anew for another number of them, and SSDLite's last stage where it is narrower
    than the classifier's.

    Raises:
        InputError: They are neither.
    """
    own = module.state_dict()
    found = as_named_now(module, state, named, source)
    if not any(name in own and name.startswith("head.") for name in found):
        fill(module, _with_trunk(own, state), named, source)
        return
    fill(module, with_own_classes(found, own, module.class_layers()), named, source)


def as_named_now(module: TorchvisionDetector, state: Mapping[str, torch.Tensor], named: str, source: str) -> State:
    """A detector's weights as this torchvision has them, whichever wrote them.

    Args:
        module: The detector.
        state: Its weights, or others.
        named: What the user calls them: ``default``, or a file, whose name tells one of torchvision's.
        source: The detector's.
    """
    own, found = module.state_dict(), dict(state)
    for sign, pattern, step in _OLD_NAMES:
        if any(sign in name for name in own) and not any(sign in name for name in state):
            found = {
                re.sub(pattern, lambda old: f"{old[1]}.{int(old[2]) // step}.0.{old[3]}", name): value  # noqa: B023
                for name, value in found.items()
            }
    found = under_own_names(found, own)
    if source == _WITHOUT_EPSILON[0] and (named == "default" or Path(named).stem == _WITHOUT_EPSILON[1]):
        for name in found:
            if name.startswith("backbone.body.") and name.endswith(".running_var"):
                found[name] = found[name] - _EPSILON
    return found


def _with_trunk(own: Mapping[str, torch.Tensor], classifier: Mapping[str, torch.Tensor]) -> State:
    """A detector's own weights, with those of a classifier in its trunk; what the classifier lacks is missing."""
    names = {name: _classifier_name(name) for name in own}
    theirs = under_own_names(classifier, {name: own[mine] for mine, name in names.items() if name is not None})
    state: State = {}
    for name, other in names.items():
        if other is None:
            state[name] = own[name]
        elif other in theirs:
            anew = name.startswith(_REDUCED) and theirs[other].shape != own[name].shape
            state[name] = own[name] if anew else theirs[other]
    return state


def _classifier_name(name: str) -> str | None:
    """What a classifier calls a tensor of a detector's trunk; None for others."""
    if name.startswith("backbone.body."):
        return name.removeprefix("backbone.body.")
    if found := re.fullmatch(r"backbone\.features\.([01])\.(\d+)\.(.+\..+)", name):  # MobileNetV3, cut in two
        second, index, rest = found[1] == "1", int(found[2]), found[3]
        if second and index == 0:
            return f"features.{_CUT_BLOCK}.block.{rest}"
        if not second and index == _CUT_BLOCK:
            return f"features.{_CUT_BLOCK}.block.0.{rest}"
        return f"features.{index + _CUT_BLOCK * second}.{rest}"
    if found := re.fullmatch(r"backbone\.features\.(\d+)\.(\w+)", name):  # VGG
        return f"features.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"backbone\.extra\.0\.([135])\.(\w+)", name):
        return f"features.{_VGG_CUT + int(found[1])}.{found[2]}"
    return None
