"""The losses that torchvision's detectors are published with, for targets of one tensor with ignored objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torchvision.models.detection import FCOS
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from edgecnn.train.detection.box_loss import IGNORED
from edgecnn.train.detection.torchvision_detector import Anchors, TorchvisionDetector
from edgecnn.train.fabric import part_of_total

# Of an anchor whose answer does not count: no loss, and no gradient.
_NOT_THERE = -100.0
Targets = list[dict[str, torch.Tensor]]


def torchvision_loss(
    detector: TorchvisionDetector, outputs: torch.Tensor, targets: torch.Tensor, anchors: Anchors
) -> torch.Tensor:
    """The sum of the parts of torchvision's own loss.

    SSD: smooth L1 and cross entropy with the hardest negatives (Liu et al., 2016). RetinaNet: focal loss, and L1 or in
    its second version generalized IoU (Lin et al., 2017; Rezatofighi et al., 2019). FCOS: focal loss, generalized IoU
    and centre-ness (Tian et al., 2019). Matching is torchvision's as well. Anchors whose centre is in a box to ignore,
    and that match no object, count for nothing; several processes count their matches together.

    Args:
        detector: Whose loss.
        outputs: (N, A, 1 + classes + 4 or 5), its raw heads.
        targets: (N, M, 5), class and corners in pixels of the input; the class is ``FILLING`` or ``IGNORED`` for rows
            that are no object.
        anchors: Of the input's size.
    """
    network: Any = detector.network
    boxes = anchors.boxes.to(outputs.device)
    parts = detector.parts_of(outputs.float())
    wanted = [_wanted(rows) for rows in targets]
    matched = _matched(network, wanted, boxes, anchors.cells)
    unmatched = torch.stack(matched) < 0
    spared = unmatched & _in_any(boxes, targets)
    nothing = parts["cls_logits"].new_full((parts["cls_logits"].shape[2],), _NOT_THERE)
    if isinstance(network, SSD):
        nothing[0] = 0.0  # of a softmax the background
    parts["cls_logits"] = torch.where(spared[..., None], nothing, parts["cls_logits"])
    of = network if isinstance(network, SSD) else network.head
    losses: dict[str, torch.Tensor] = of.compute_loss(wanted, parts, [boxes] * len(wanted), matched)
    loss = torch.stack(list(losses.values())).sum()
    if not isinstance(network, (SSD, FCOS)):
        return loss  # RetinaNet divides by the matches of each picture
    matches = (~unmatched).sum().to(loss.dtype)
    return loss * matches.clamp(min=1) / part_of_total(matches, learning=outputs.requires_grad)


def _wanted(rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """The objects of one picture as torchvision has them, where class 0 is the background."""
    rows = rows[rows[:, 0] >= 0]
    return {"boxes": rows[:, 1:], "labels": rows[:, 0].long() + 1}


def _matched(network: Any, wanted: Targets, boxes: torch.Tensor, cells: tuple[int, ...]) -> list[torch.Tensor]:
    """For each anchor of each picture the index of its object; below 0 for the others."""
    if isinstance(network, FCOS):
        # FCOS matches within the computation of its loss, which it hands on to its head: this one gives them back.
        caught = SimpleNamespace(compute_loss=lambda _targets, _outputs, _anchors, matched: matched)
        asked: Any = SimpleNamespace(center_sampling_radius=network.center_sampling_radius, head=caught)
        found: Any = FCOS.compute_loss(asked, wanted, {}, [boxes] * len(wanted), list(cells))
        return found
    nothing = torch.full((len(boxes),), -1, dtype=torch.int64, device=boxes.device)
    return [network.proposal_matcher(box_iou(one["boxes"], boxes)) if len(one["boxes"]) else nothing for one in wanted]


def _in_any(boxes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N, A): whether an anchor's centre is in a box to ignore."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    low, high = targets[:, :, None, 1:3], targets[:, :, None, 3:]
    inside = ((centre >= low) & (centre <= high)).all(dim=3)
    return (inside & (targets[:, :, :1] == IGNORED)).any(dim=1)
