"""Lite R-ASPP: a small head for masks on any network's maps."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from edgecnn.core.head_part import LrasppPart
from edgecnn.train.headed import Headed
from edgecnn.train.masks.dilation import keep_at_stride

# The finer map keeps edges; the coarser one says what things are.
_STRIDES = ((8,), (16, 32))


class Lraspp(Headed):
    """Lite R-ASPP (Howard et al., "Searching for MobileNetV3", 2019), with torchvision's layers.

    The map at stride 16, or 32 where there is none, is brought to a width and multiplied channel by channel with gates
    from its mean over the picture; a convolution of 1 x 1 makes planes of it, which are enlarged and added to those of
    the map at stride 8. With ``dilate`` the network's last stage is at stride 16, too: see ``keep_at_stride``.

    torchvision, and the paper's figure, enlarge before that last convolution. It comes first here: the result is the
    same, as it adds up channels and enlarging adds up places, with weights that sum to 1; and it is computed on a
    quarter of the places, and what is enlarged is one plane a class.

    Args:
        network: Whose maps are taken; its last layers are left out.
        source: What the user calls it.
        classes: How many.
        part: Sizes.
    """

    def __init__(self, network: nn.Module, source: str, classes: int, part: LrasppPart) -> None:
        if part.dilate:
            keep_at_stride(network, _STRIDES[1][0])
        super().__init__(network, source, _STRIDES)
        low, high = self.trunk.widths
        self.cbr = nn.Sequential(
            nn.Conv2d(high, part.width, 1, bias=False), nn.BatchNorm2d(part.width), nn.ReLU(inplace=True)
        )
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, part.width, 1, bias=False), nn.Sigmoid())
        self.low_classifier = nn.Conv2d(low, classes, 1)
        self.high_classifier = nn.Conv2d(part.width, classes, 1)
        self._larger = _STRIDES[0][0] // part.stride

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes, height / stride, width / stride) of pictures (N, channels, height, width)."""
        low, high = self.trunk(pictures)
        coarse = self.high_classifier(self.cbr(high) * self.scale(high))
        planes = self.low_classifier(low) + _enlarged(coarse, low.shape[2] // coarse.shape[2])
        return _enlarged(planes, self._larger)

    def class_layers(self) -> list[str]:
        """See ``Headed.class_layers``."""
        return [f"{layer}.{kind}" for layer in ("low_classifier", "high_classifier") for kind in ("weight", "bias")]


def _enlarged(planes: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear, by a whole factor: in ONNX a Resize with constant scales."""
    if factor == 1:
        return planes
    return functional.interpolate(planes, scale_factor=float(factor), mode="bilinear", align_corners=False)
