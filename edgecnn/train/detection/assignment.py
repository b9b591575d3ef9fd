"""Which cells of a detector learn which object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.ops import box_iou

# The task-aligned metric weighs the class's probability by 1 and the overlap to the sixth; 13 cells learn an object
# (Feng et al., 2021, section 4.3: alpha, beta and m of its ablation).
_SCORE_POWER, _OVERLAP_POWER = 1.0, 6.0
CANDIDATES = 13
_TINY = 1e-9


@dataclass(frozen=True)
class Assignment:
    """What each cell is to say.

    Attributes:
        objects: int64 (N, A), the index of the cell's object in its picture; -1 for background.
        quality: float32 (N, A), the score that it should give its object's class; 0 for background.
    """

    objects: torch.Tensor
    quality: torch.Tensor


def assign(
    scores: torch.Tensor,
    boxes: torch.Tensor,
    points: torch.Tensor,
    strides: torch.Tensor,
    truth: torch.Tensor,
    classes: torch.Tensor,
    candidates: int = CANDIDATES,
) -> Assignment:
    """Task-aligned assignment (Feng et al., "TOOD: Task-aligned One-stage Object Detection", 2021).

    For each object those cells with their point in its box count whose score and overlap together are best. Of several
    objects that want one cell, it learns the one that its box overlaps most. The score it should give is its
    metric, scaled so that an object's best cell should give the object's best overlap.

    A box that is smaller than a cell of the finest grid counts as large as that, so that every object has a cell.

    Args:
        scores: (N, A, C), probabilities.
        boxes: (N, A, 4), corners in pixels.
        points: (A, 2), the cells' centres in pixels.
        strides: (A,), the cells' sides in pixels.
        truth: (N, M, 4), corners of the objects.
        classes: int64 (N, M); below 0 where a picture has fewer objects.
        candidates: Cells that may learn an object.
    """
    count, cells = boxes.shape[:2]
    nothing = torch.full((count, cells), -1, dtype=torch.int64, device=boxes.device)
    if truth.shape[1] == 0:
        return Assignment(nothing, boxes.new_zeros(count, cells))
    overlap = torch.stack([box_iou(one, found) for one, found in zip(truth, boxes, strict=True)])
    said = scores.gather(2, classes.clamp(min=0)[:, None].expand(-1, cells, -1)).transpose(1, 2)
    metric = said.pow(_SCORE_POWER) * overlap.pow(_OVERLAP_POWER)

    allowed = _inside(points, truth, float(strides.min()) / 2) & (classes >= 0)[:, :, None]
    # Where overlaps are 0, as before anything is learnt, nearness to the object's centre decides.
    ranked = torch.where(allowed, metric + _TINY * _nearness(points, truth), -1.0)
    best = ranked.topk(min(candidates, cells), dim=2).indices
    chosen = torch.zeros_like(allowed).scatter(2, best, True) & allowed

    owner = torch.where(chosen, overlap, -1.0).argmax(dim=1)
    objects = torch.where(chosen.any(dim=1), owner, nothing)
    mine = chosen & (objects[:, None] == torch.arange(truth.shape[1], device=boxes.device)[None, :, None])
    kept = torch.where(mine, metric, 0.0)
    best_overlap = torch.where(mine, overlap, 0.0).amax(dim=2, keepdim=True)
    quality = kept / kept.amax(dim=2, keepdim=True).clamp(min=_TINY) * best_overlap
    return Assignment(objects, quality.amax(dim=1))


def _inside(points: torch.Tensor, truth: torch.Tensor, smallest_half: float) -> torch.Tensor:
    """(N, M, A): whether a cell's point is in an object's box."""
    centre, half = (truth[..., :2] + truth[..., 2:]) / 2, (truth[..., 2:] - truth[..., :2]) / 2
    away = (points[None, None] - centre[:, :, None]).abs()
    return (away <= half.clamp(min=smallest_half)[:, :, None]).all(dim=3)


def _nearness(points: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(N, M, A), 1 at an object's centre and less further away."""
    centre = (truth[..., :2] + truth[..., 2:]) / 2
    return 1 / (1 + (points[None, None] - centre[:, :, None]).square().sum(dim=3))
