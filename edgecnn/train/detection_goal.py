"""Boxes as an objective: their loss, and mAP as the figure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import nn

from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections
from edgecnn.core.head_part import HeadPart
from edgecnn.train.box_loss import box_loss, grid_of
from edgecnn.train.boxed_pictures import BoxedBatches
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


class Detection:
    """The light detector's objective.

    Args:
        usage: How the detector will be used: what it is judged by is decoded as at run time.
        head: Its sizes.
    """

    figure_name = "mAP50"

    def __init__(self, usage: Detector, head: HeadPart) -> None:
        self._usage = replace(usage, score_threshold=EVALUATION_THRESHOLD)
        self._bins = head.bins
        self._grid = grid_of(usage.preprocess.size_hw, head)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``box_loss``."""
        return box_loss(outputs, targets, self._grid, self._bins)

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
        for outputs, targets in outputs_by_batch(module, batches, fabric, count):
            loss += float(self.loss(outputs, targets)) * len(outputs)
            for row in outputs.numpy():
                size_hw = truth.sizes_hw[len(found)]
                found.append(decode_detections({self._usage.layout.boxes: row[None]}, self._usage, size_hw))
        figures = average_precisions(found, truth)
        return Detected(tuple(found), truth, loss / len(found), figures["map50"] or 0.0, figures["map"] or 0.0)
