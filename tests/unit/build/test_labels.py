"""Names of classes that are known by a name themselves."""

from __future__ import annotations

import pytest

from edgecnn.build.labels import known_labels

torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'")


def test_those_of_imagenet_are_torchvisions() -> None:
    assert known_labels("imagenet-1k") == tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


def test_those_of_coco_are_the_ones_of_torchvision_that_are_in_use() -> None:
    names = torchvision.models.detection.SSDLite320_MobileNet_V3_Large_Weights.DEFAULT.meta["categories"]

    assert known_labels("coco-80") == tuple(name for name in names if name not in ("__background__", "N/A"))
