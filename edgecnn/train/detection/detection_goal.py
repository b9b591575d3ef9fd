"""Boxes as an objective: their loss, and mAP as the figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import nn

from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections
from edgecnn.core.head_part import HeadPart
from edgecnn.train.detection.box_loss import box_loss, grid_of
from edgecnn.train.detection.boxed_pictures import BoxedBatches
from edgecnn.train.detection.torchvision_detector import TorchvisionDetector
from edgecnn.train.detection.torchvision_loss import torchvision_loss
from edgecnn.train.loader import Batches
from edgecnn.train.outputs import outputs_by_batch
from edgecnn.vision.average_precision import EVALUATION_THRESHOLD, average_precisions
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.detection_set import DetectionSet


@dataclass(frozen=True, eq=False)
class Detected:
    """What a detector finds in pictures as they are.

    Attributes:
        detections: Of each picture, in its pixels, doubtful ones too.
        truth: The pictures and their objects.
        loss: The goal's, the mean over pictures.
        figure: mAP50: mean average precision where a box is right that overlaps an object by half.
        mean_precision: COCO's mAP, over overlaps from 0.50 to 0.95.
    """

    detections: tuple[Detections, ...]
    truth: DetectionSet
    loss: float
    figure: float
    mean_precision: float

    def __len__(self) -> int:
        return len(self.detections)


class Detection(ABC):
    """The objective of a detector, by what it gives in training, its raw heads.

    Args:
        usage: How the detector will be used: what it is judged by is decoded as at run time.
    """

    figure_name = "mAP50"

    def __init__(self, usage: Detector) -> None:
        self._usage = replace(usage, score_threshold=EVALUATION_THRESHOLD)

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``; targets as in ``BoxedBatches``."""

    @abstractmethod
    def named(self, outputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """What the deployed network gives instead of these raw heads, by the names of its layout."""

    def raw(self, module: nn.Module) -> nn.Module:
        """What gives the raw heads in inference mode."""
        return module

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """Boxes as they are: a recipe cannot ask for them to be mixed."""
        return targets

    def judged(
        self, module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
    ) -> Detected:
        """See ``Goal.judged``."""
        assert isinstance(batches, BoxedBatches)
        truth = batches.boxes if count is None else batches.boxes.spread(count)
        found: list[Detections] = []
        loss = 0.0
        for outputs, targets in outputs_by_batch(self.raw(module), batches, fabric, count):
            loss += float(self.loss(outputs, targets)) * len(outputs)
            named = {name: tensor.numpy() for name, tensor in self.named(outputs).items()}
            for row in range(len(outputs)):
                one = {name: array[row : row + 1] for name, array in named.items()}
                found.append(decode_detections(one, self._usage, truth.sizes_hw[len(found)]))
        figures = average_precisions(found, truth)
        return Detected(tuple(found), truth, loss / len(found), figures["map50"] or 0.0, figures["map"] or 0.0)


class LightDetection(Detection):
    """The light detector's objective.

    Args:
        usage: See ``Detection``.
        head: Its sizes.
    """

    def __init__(self, usage: Detector, head: HeadPart) -> None:
        super().__init__(usage)
        self._bins = head.bins
        self._grid = grid_of(usage.preprocess.size_hw, head)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``box_loss``."""
        return box_loss(outputs, targets, self._grid, self._bins)

    def named(self, outputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See ``Detection.named``: they are decoded outside."""
        return {self._usage.layout.boxes: outputs}


class TorchvisionDetection(Detection):
    """The objective of one of torchvision's detectors.

    Args:
        usage: See ``Detection``.
        detector: Which one; its weights do not matter.
    """

    def __init__(self, usage: Detector, detector: TorchvisionDetector) -> None:
        super().__init__(usage)
        self._detector = detector
        self._anchors = detector.anchors(usage.preprocess.size_hw)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``torchvision_loss``."""
        return torchvision_loss(self._detector, outputs, targets, self._anchors)

    def named(self, outputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See ``TorchvisionDetector.decoded``."""
        return self._detector.decoded(outputs, self._usage.preprocess.size_hw)

    def raw(self, module: nn.Module) -> nn.Module:
        """See ``Detection.raw``."""
        assert isinstance(module, TorchvisionDetector)
        return _Raw(module)


class _Raw(nn.Module):
    def __init__(self, detector: TorchvisionDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """See ``TorchvisionDetector.raw``."""
        return self.detector.raw(pictures)
