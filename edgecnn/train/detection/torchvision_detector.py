"""Torchvision's one-stage detectors with a fixed size of the input: no transform, no suppression, decoded in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from edgecnn.core.priors import LARGEST_ANCHOR_EXPONENT

_SIDES = 4
_CLASSES, _BOXES, _CENTRENESS = "cls_logits", "bbox_regression", "bbox_ctrness"
Parts = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Anchors:
    """What the boxes of a detector are measured from, at one size of its input.

    Attributes:
        boxes: float32 (A, 4), corners in pixels.
        centres: (A, 2), pixels.
        sizes: (A, 2), widths and heights in pixels.
        cells: Of the grid of each level.
    """

    boxes: torch.Tensor
    centres: torch.Tensor
    sizes: torch.Tensor
    cells: tuple[int, ...]


class TorchvisionDetector(nn.Module):
    """SSD, SSDLite, RetinaNet or FCOS as torchvision has them, for pictures that are preprocessed already.

    Parameters have torchvision's own names, so that its checkpoints and these are the same. As there, the first class
    is the background: RetinaNet and FCOS, which could do without, learn never to name it.

    In training it gives the raw heads as one tensor (N, A, 1 + classes + 4), for FCOS with the centre-ness as a last
    column. In inference it gives ``boxes`` (N, A, 4), corners in pixels within the input, and ``scores`` (N, A,
    classes), without the background: what torchvision's postprocess has before it drops overlapping boxes. Anchors are
    constants, so that no shape and no index depends on a picture.

    Args:
        network: Torchvision's ``SSD``, ``RetinaNet`` or ``FCOS``; its parts are taken, not copied.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone: nn.Module = network.backbone
        self.head: nn.Module = network.head
        # In a tuple it is no part of this network: every parameter would have a second name.
        self._network = (network,)
        self._anchors: dict[tuple[int, int], Anchors] = {}

    @property
    def network(self) -> Any:
        """Torchvision's, which has the same parameters and knows its loss."""
        return self._network[0]

    @property
    def trunk_name(self) -> str:
        """Name of the part that classifiers have, too."""
        return "backbone.body" if hasattr(self.backbone, "body") else "backbone.features"

    def class_layers(self) -> list[str]:
        """Names of the parameters whose size depends on the number of classes."""
        head: Any = self.head.get_submodule("classification_head")
        lists = getattr(head, "module_list", None)
        layers = [head.cls_logits] if lists is None else [list(one.modules())[-1] for one in lists]
        own = {id(parameter) for layer in layers for parameter in layer.parameters()}
        return [name for name, parameter in self.named_parameters() if id(parameter) in own]

    def forward(self, pictures: torch.Tensor) -> torch.Tensor | Parts:
        """See the class; pictures are float32 (N, 3, height, width)."""
        if self.training:
            return self.raw(pictures)
        return self._decoded(self._heads(pictures), _size_of(pictures))

    def raw(self, pictures: torch.Tensor) -> torch.Tensor:
        """The raw heads in one tensor, in training and in inference mode."""
        parts = self._heads(pictures)
        return torch.cat([parts[name] for name in (_CLASSES, _BOXES, _CENTRENESS) if name in parts], dim=2)

    def parts_of(self, raw: torch.Tensor) -> Parts:
        """The raw heads by torchvision's names."""
        centreness = int(isinstance(self.network, FCOS))
        sizes = [raw.shape[2] - _SIDES - centreness, _SIDES, centreness]
        names = (_CLASSES, _BOXES, _CENTRENESS)
        found = zip(names, raw.split(sizes, dim=2), strict=True)
        return {name: part for name, part in found if part.shape[2]}

    def decoded(self, raw: torch.Tensor, size_hw: tuple[int, int]) -> Parts:
        """``boxes`` and ``scores`` from the raw heads, for an input of a size."""
        return self._decoded(self.parts_of(raw), size_hw)

    def anchors(self, size_hw: tuple[int, int]) -> Anchors:
        """The anchors for an input of a size, on the CPU; found by a run on an empty picture, once."""
        if size_hw not in self._anchors:
            device, mode = next(self.parameters()).device, self.training
            with torch.inference_mode(False), torch.no_grad():
                maps = list(self.eval().backbone(torch.zeros(1, 3, *size_hw, device=device)).values())
                images = ImageList(torch.empty(1, 3, *size_hw), [size_hw])
                (boxes,) = self.network.anchor_generator(images, [found.cpu() for found in maps])
                low, high = boxes[:, :2], boxes[:, 2:]
                cells = tuple(found.shape[2] * found.shape[3] for found in maps)
                self._anchors[size_hw] = Anchors(boxes, (low + high) / 2, high - low, cells)
            self.train(mode)
        return self._anchors[size_hw]

    def _heads(self, pictures: torch.Tensor) -> Parts:
        return self.head(list(self.backbone(pictures).values()))

    def _decoded(self, parts: Parts, size_hw: tuple[int, int]) -> Parts:
        anchors, device = self.anchors(size_hw), parts[_BOXES].device
        centre, extent = anchors.centres.to(device), anchors.sizes.to(device)
        first, last = parts[_BOXES][:, :, :2], parts[_BOXES][:, :, 2:]
        if isinstance(self.network, FCOS):  # distances of the sides from the centre, in strides
            corners = torch.cat([centre - first * extent, centre + last * extent], dim=2)
        else:  # shift of the centre and log size
            across, _, wide, _ = self.network.box_coder.weights  # those of both axes are the same
            middle = centre + first / across * extent
            half = (last / wide).clamp(max=LARGEST_ANCHOR_EXPONENT).exp() * extent / 2
            corners = torch.cat([middle - half, middle + half], dim=2)
        largest = torch.tensor([size_hw[1], size_hw[0]] * 2, dtype=corners.dtype, device=device)
        return {"boxes": torch.minimum(corners.clamp(min=0), largest), "scores": self._scores(parts)}

    def _scores(self, parts: Parts) -> torch.Tensor:
        logits = parts[_CLASSES]
        if isinstance(self.network, SSD):
            return logits.softmax(dim=2)[:, :, 1:]
        scores = logits[:, :, 1:].sigmoid()
        return (scores * parts[_CENTRENESS].sigmoid()).sqrt() if _CENTRENESS in parts else scores


def _size_of(pictures: torch.Tensor) -> tuple[int, int]:
    return int(pictures.shape[2]), int(pictures.shape[3])
