"""Masks as an objective: cross entropy of each pixel, and the mean intersection over union as the figure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional

from edgecnn.core.readings import Segmenter
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.train.loader import Batches
from edgecnn.train.masks.masked_pictures import MaskedBatches
from edgecnn.train.order import inverse_frequency
from edgecnn.train.outputs import outputs_by_batch
from edgecnn.vision.decode_readings import class_map, mask_in_frame
from edgecnn.vision.mask_figures import mean_iou, pixel_confusion
from edgecnn.vision.mask_png import IGNORED, read_mask
from edgecnn.vision.mask_set import MaskSet

_KEPT_WORST = 12


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a network makes of the pixels of pictures as they are.

    Attributes:
        confusion: int64 (classes, classes): pixels of each class, a row, that were taken for each, a column.
        worst: Of the pictures with the largest part of wrong pixels, the worst first: that part, the picture's index,
            and the classes of the output's cells, uint8 (h, w).
        truth: The pictures and their masks.
        loss: The goal's, the mean over pictures.
        figure: mIoU: intersection over union, in the pictures' pixels, the mean of the classes that occur.
    """

    confusion: npt.NDArray[np.int64]
    worst: tuple[tuple[float, int, npt.NDArray[np.uint8]], ...]
    truth: MaskSet
    loss: float
    figure: float

    def __len__(self) -> int:
        return len(self.truth)


class Masks:
    """The objective of networks whose output is a plane for each class.

    Args:
        usage: How the network will be used: what it is judged by is decoded as at run time.
        train: What it learns from: with ``balance: loss`` a pixel weighs the inverse of how often its class occurs.
        config: Balance and label smoothing.
    """

    figure_name = "mIoU"

    def __init__(self, usage: Segmenter, train: MaskSet, config: TrainPart) -> None:
        # A network of one's own may have an output by name; here it is the only one.
        part = usage.part.model_copy(update={"output": None})
        self._usage, self._smoothing = replace(usage, part=part), config.label_smoothing
        counts = train.counts.sum(axis=0)[: len(usage.labels)]
        weights = inverse_frequency(counts) if config.balance == "loss" else np.ones(len(usage.labels))
        self._weights = torch.from_numpy(weights).float()

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross entropy, the mean over the pixels that count, by their classes' weights.

        Args:
            outputs: (N, classes, h, w), enlarged to the targets' size where they are smaller.
            targets: int64 (N, height, width), ``IGNORED`` for what does not count.

        Raises:
            InputError: The outputs are not of this shape.
        """
        if outputs.ndim != 4 or outputs.shape[1] != len(self._weights):
            raise InputError(
                f"the network gives {tuple(outputs.shape)}, and (pictures, {len(self._weights)} classes, height, "
                "width) is wanted",
                "mend model.arguments or the code, or give a classifier the model.head {kind: lraspp}",
            )
        outputs, weights = outputs.float(), self._weights.to(outputs.device)
        if outputs.shape[2:] != targets.shape[1:]:
            outputs = functional.interpolate(outputs, size=targets.shape[1:], mode="bilinear", align_corners=False)
        total = functional.cross_entropy(
            outputs, targets, weights, ignore_index=IGNORED, label_smoothing=self._smoothing, reduction="sum"
        )
        # Torch's own mean is 0 / 0 where no pixel counts.
        return total / weights[targets[targets != IGNORED]].sum().clamp(min=1e-6)

    def shares(self, targets: torch.Tensor) -> torch.Tensor:
        """Masks as they are: a recipe cannot ask for them to be mixed."""
        return targets

    def judged(
        self, module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
    ) -> Segmented:
        """See ``Goal.judged``."""
        assert isinstance(batches, MaskedBatches)
        truth = batches.masks if count is None else batches.masks.spread(count)
        classes = len(self._weights)
        confusion = np.zeros((classes, classes), dtype=np.int64)
        worst: list[tuple[float, int, npt.NDArray[np.uint8]]] = []
        loss, index = 0.0, 0
        for outputs, targets in outputs_by_batch(module, batches, fabric, count):
            loss += float(self.loss(outputs, targets)) * len(outputs)
            for row in outputs.numpy():
                cells, right = class_map({"": row[None]}, self._usage), read_mask(truth.masks[index])
                height, width = right.shape
                found = mask_in_frame(cells, self._usage.preprocess, (height, width))
                table = pixel_confusion(found, right, classes)
                confusion += table
                wrong = 1 - float(table.trace()) / max(int(table.sum()), 1) if table.any() else 0.0
                worst = sorted([*worst, (wrong, index, cells)], key=lambda one: (-one[0], one[1]))[:_KEPT_WORST]
                index += 1
        return Segmented(confusion, tuple(worst), truth, loss / max(index, 1), mean_iou(confusion) or 0.0)
