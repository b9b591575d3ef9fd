"""Detectors of torchvision that are trained with the head and the loss that they are published with."""

from __future__ import annotations

from edgecnn.core.signal_preprocess import InputSpec, of_pictures

_LIBRARY = "torchvision:"
# Height and width of the input, where anchors are laid out for one size only.
_SIZES_HW: dict[str, tuple[int, int] | None] = {
    "ssdlite320_mobilenet_v3_large": None,
    "ssd300_vgg16": (300, 300),
    "retinanet_resnet50_fpn": None,
    "retinanet_resnet50_fpn_v2": None,
    "fcos_resnet50_fpn": None,
}
TORCHVISION_DETECTORS = tuple(_SIZES_HW)
# What train.pretrained calls the published weights of such a detector's trunk, the classifier that it was made from.
TRUNK = "trunk"


def is_torchvision_detector(source: str) -> bool:
    """Whether a model's source is one of ``TORCHVISION_DETECTORS``."""
    return source.startswith(_LIBRARY) and source.removeprefix(_LIBRARY) in _SIZES_HW


def require_fitting(source: str, task: str, spec: InputSpec) -> None:
    """Refuse a task and an input that such a detector is not for.

    Raises:
        ValueError: They are.
    """
    size_hw = _SIZES_HW[source.removeprefix(_LIBRARY)]
    if task != "detection":
        raise ValueError(f"{source} is a detector: it goes with task: detection")
    pictures = of_pictures(spec)
    if pictures.channels != 3:
        raise ValueError(f"{source} takes pictures in colour, and preprocess.color is {pictures.color}")
    if size_hw is not None and pictures.size_hw != size_hw:
        raise ValueError(f"{source} wants preprocess.size_hw: {list(size_hw)}: its anchors are laid out for that size")
