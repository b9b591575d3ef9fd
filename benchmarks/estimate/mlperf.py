"""MLPerf's detectors without their last layer, non-maximum suppression: layers and sizes as its reference describes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import resnet34, resnext50_32x4d

_ANCHORS = (4, 6, 6, 6, 4, 4)


def _step(given: int, hidden: int, wanted: int, stride: int = 2, pad: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(given, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, wanted, 3, stride, pad), nn.ReLU())


class _Multibox(nn.Module):
    """Features of several sizes, and on each a convolution for boxes and one for classes."""

    def __init__(
        self,
        backbone: list[nn.Module],
        extras: list[nn.Module],
        outputs: list[tuple[nn.Module, nn.Module]],
        classes: int,
    ) -> None:
        super().__init__()
        self.backbone, self.extras = nn.ModuleList(backbone), nn.ModuleList(extras)
        self.boxes = nn.ModuleList(box for box, _ in outputs)
        self.kinds = nn.ModuleList(kind for _, kind in outputs)
        self.classes = classes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``torch.nn.Module``."""
        features: list[Tensor] = []
        for part in (*self.backbone, *self.extras):
            x = part(x)
            features.append(x)
        boxes = [box(x).flatten(2) for box, x in zip(self.boxes, features, strict=True)]
        kinds = [kind(x).flatten(2) for kind, x in zip(self.kinds, features, strict=True)]
        return torch.cat([x.view(1, 4, -1) for x in boxes], 2), torch.cat(
            [x.view(1, self.classes, -1) for x in kinds], 2
        )


def ssd_resnet34() -> nn.Module:
    """SSD on ResNet-34 at 1200 x 1200: the third stage keeps its size, the fourth is left out."""
    base = resnet34(weights=None)
    base.layer3[0].conv1.stride = (1, 1)
    base.layer3[0].downsample[0].stride = (1, 1)
    backbone = nn.Sequential(base.conv1, base.bn1, base.relu, base.maxpool, base.layer1, base.layer2, base.layer3)
    extras = [
        _step(256, 256, 512),
        _step(512, 256, 512),
        _step(512, 128, 256),
        _step(256, 128, 256),
        _step(256, 128, 256),
    ]
    widths, strides = (256, 512, 512, 256, 256, 256), (3, 3, 2, 2, 2, 2)
    outputs = [
        (nn.Conv2d(width, count * 4, 3, stride, 1), nn.Conv2d(width, count * 81, 3, stride, 1))
        for width, stride, count in zip(widths, strides, _ANCHORS, strict=True)
    ]
    return _Multibox([backbone], extras, outputs, 81)


def ssd_mobilenet_v1() -> nn.Module:
    """SSD on MobileNetV1 at 300 x 300."""

    def pair(given: int, wanted: int, stride: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(given, given, 3, stride, 1, groups=given), nn.ReLU6(), nn.Conv2d(given, wanted, 1), nn.ReLU6()
        )

    widths = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    widths += [(512, 512, 1)] * 5
    first = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6(), *(pair(*each) for each in widths))
    second = nn.Sequential(pair(512, 1024, 2), pair(1024, 1024, 1))
    extras = [_step(1024, 256, 512), _step(512, 128, 256), _step(256, 128, 256), _step(256, 64, 128)]
    outputs = [
        (nn.Conv2d(width, count * 4, 1), nn.Conv2d(width, count * 91, 1))
        for width, count in zip((512, 1024, 512, 256, 256, 128), (3, 6, 6, 6, 6, 6), strict=True)
    ]
    return _Multibox([first, second], extras, outputs, 91)


class _RetinaNet(nn.Module):
    def __init__(self, classes: int = 264, anchors: int = 9) -> None:
        super().__init__()
        self.base = resnext50_32x4d(weights=None)
        self.laterals = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in (512, 1024, 2048))
        self.smooth = nn.ModuleList(nn.Conv2d(256, 256, 3, 1, 1) for _ in range(3))
        self.sixth, self.seventh = nn.Conv2d(256, 256, 3, 2, 1), nn.Conv2d(256, 256, 3, 2, 1)
        self.larger = nn.Upsample(scale_factor=2, mode="nearest")
        self.kinds, self.boxes = self._branch(anchors * classes), self._branch(anchors * 4)
        self.classes = classes

    @staticmethod
    def _branch(wanted: int) -> nn.Module:
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.Conv2d(256, wanted, 3, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See ``torch.nn.Module``."""
        base = self.base
        x = base.layer1(base.maxpool(base.relu(base.bn1(base.conv1(x)))))
        third = base.layer2(x)
        fourth = base.layer3(third)
        fifth = base.layer4(fourth)
        top = self.laterals[2](fifth)
        middle = self.laterals[1](fourth) + self.larger(top)
        low = self.laterals[0](third) + self.larger(middle)
        levels = [smooth(x) for smooth, x in zip(self.smooth, (low, middle, top), strict=True)]
        levels += [self.sixth(levels[-1])]
        levels += [self.seventh(torch.relu(levels[-1]))]
        kinds = [self.kinds(x).flatten(2).view(1, self.classes, -1).sigmoid() for x in levels]
        boxes = [self.boxes(x).flatten(2).view(1, 4, -1) for x in levels]
        return torch.cat(kinds, 2), torch.cat(boxes, 2)


def retinanet() -> nn.Module:
    """RetinaNet on ResNeXt-50 (32x4d) at 800 x 800, 264 classes."""
    return _RetinaNet()
