"""What a light detector's output should have been."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss

from edgecnn.core.head_part import SIDES, HeadPart
from edgecnn.core.priors import cells_of
from edgecnn.train.detection.assignment import assign
from edgecnn.train.fabric import part_of_total

# Class number of rows that are no object: filling, and what is neither object nor background.
FILLING, IGNORED = -1, -2
# Weights of the parts: boxes 2.5, distributions 0.5 (Xu et al., "PP-YOLOE", 2022).
_BOX_WEIGHT, _DISTRIBUTION_WEIGHT = 2.5, 0.5
# A distance at the very end of the distribution would have no bin beyond it.
_LAST_BIN_MARGIN = 0.01


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of a light detector.

    Attributes:
        points: (A, 2), centres in pixels of the input.
        strides: (A,), pixels.
    """

    points: torch.Tensor
    strides: torch.Tensor


def grid_of(input_hw: tuple[int, int], head: HeadPart) -> Grid:
    """The cells for an input of a size."""
    corners, strides = cells_of(input_hw, head.layout(1).strides, whole=False)
    sides = torch.from_numpy(strides)
    return Grid((torch.from_numpy(corners) + 0.5) * sides, sides[:, 0])


def box_loss(outputs: torch.Tensor, targets: torch.Tensor, grid: Grid, bins: int) -> torch.Tensor:
    """Binary cross entropy of the classes to the assigned quality, generalized IoU, and distribution focal loss.

    The latter two by the quality of each cell, all divided by the qualities' sum (Li et al., "Generalized Focal Loss",
    2020; Rezatofighi et al., "Generalized Intersection over Union", 2019), of all processes together while they learn.
    Cells whose centre is in a box to ignore, and that learn no object, count for nothing.

    Args:
        outputs: (N, A, C + 4 x bins), see ``LightDetector``.
        targets: (N, M, 5), class and corners in pixels of the input; the class is ``FILLING`` or ``IGNORED`` for
            rows that are no object.
        grid: The cells.
        bins: Of each side's distribution.
    """
    outputs = outputs.float()
    points, strides = grid.points.to(outputs.device), grid.strides.to(outputs.device)
    logits, sides = outputs.split([outputs.shape[2] - SIDES * bins, SIDES * bins], dim=2)
    boxes = boxes_of(sides, points, strides, bins)
    classes, truth = targets[..., 0].long(), targets[..., 1:]
    with torch.no_grad():
        assigned = assign(logits.sigmoid(), boxes, points, strides, truth, classes)
        own = assigned.objects.clamp(min=0)
        learns = assigned.objects >= 0
        named = classes.clamp(min=0).gather(1, own) if truth.shape[1] else own
        wanted = functional.one_hot(named, logits.shape[2]) * (assigned.quality * learns)[..., None]
        counts = learns | ~_in_any(points, truth, classes == IGNORED)
        total = part_of_total(assigned.quality.sum(), learning=outputs.requires_grad)
    of_class = functional.binary_cross_entropy_with_logits(logits, wanted.to(logits.dtype), reduction="none")
    loss = (of_class * counts[..., None]).sum()
    if truth.shape[1]:
        box = truth.gather(1, own[..., None].expand(-1, -1, SIDES))
        weight = assigned.quality * learns
        loss = loss + _BOX_WEIGHT * (generalized_box_iou_loss(boxes, box) * weight).sum()
        distances = torch.cat([points - box[..., :2], box[..., 2:] - points], dim=2) / strides[:, None]
        spread = _distribution_loss(sides.unflatten(2, (SIDES, bins)), distances)
        loss = loss + _DISTRIBUTION_WEIGHT * (spread * weight).sum()
    return loss / total


def boxes_of(sides: torch.Tensor, points: torch.Tensor, strides: torch.Tensor, bins: int) -> torch.Tensor:
    """Corners (N, A, 4) in pixels, from the distributions (N, A, 4 x bins) of the sides' distances before softmax."""
    likely = sides.unflatten(2, (SIDES, bins)).softmax(dim=3)
    distances = (likely * torch.arange(bins, device=sides.device)).sum(dim=3) * strides[:, None]
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=2)


def _distribution_loss(sides: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
    """(N, A): cross entropy to the two bins beside each distance, by nearness; the mean over the four sides."""
    bins = sides.shape[3]
    inside = distances.clamp(0, bins - 1 - _LAST_BIN_MARGIN)
    below = inside.floor()
    part = inside - below
    likely = sides.log_softmax(dim=3)
    low = likely.gather(3, below.long()[..., None])[..., 0]
    high = likely.gather(3, below.long()[..., None] + 1)[..., 0]
    return -(low * (1 - part) + high * part).mean(dim=2)


def _in_any(points: torch.Tensor, truth: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(N, A): whether a cell's point is in one of the chosen boxes."""
    low, high = truth[:, :, None, :2], truth[:, :, None, 2:]
    inside = ((points >= low) & (points <= high)).all(dim=3)
    return (inside & chosen[:, :, None]).any(dim=1)
