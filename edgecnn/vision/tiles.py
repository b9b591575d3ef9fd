"""Small objects: a frame cut into tiles that overlap, each seen at the network's full size, and their boxes merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections, Image
from edgecnn.core.tensors import Arrays
from edgecnn.core.watch import Tiles
from edgecnn.vision.boxes import iou_matrix
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.preprocess import network_input

# A box ends at a tile's edge where it is this near to it, as a part of the tile's side: networks are not exact there.
_AT_EDGE = 0.01
# Boxes of two tiles are of one object where, in what both tiles see, they overlap by this much.
_SAME = 0.5

Boxes = npt.NDArray[np.float32]


def detect_tiled(
    network: Callable[[npt.NDArray[Any]], Arrays], image: Image, detector: Detector, tiles: Tiles
) -> Detections:
    """What a detector finds in the tiles of a frame, as one result.

    Args:
        network: One inference: from its input to its outputs by name.
        image: uint8 BGR (height, width, 3), or grey (height, width).
        detector: How the network is used.
        tiles: How the frame is cut.

    Raises:
        GateMissed: The outputs hold NaN or infinite scores.
    """
    places = tile_places((image.shape[0], image.shape[1]), tiles)
    found: list[Detections] = []
    for left, top, right, bottom in places.tolist():
        part = image[top:bottom, left:right]
        outputs = network(network_input(part, detector.preprocess))
        found.append(decode_detections(outputs, detector, (bottom - top, right - left)))
    return merge_tiles(found, places, class_agnostic=detector.class_agnostic, most=detector.max_detections)


def tile_places(frame_hw: tuple[int, int], tiles: Tiles) -> npt.NDArray[np.int64]:
    """Where the tiles are: (T, 4), left, top, right and bottom in pixels of the frame, row by row.

    They have the same size but for rounding and cover the frame, and neighbours share ``overlap`` of a tile. The whole
    frame comes last where ``tiles.whole`` says so.
    """
    (tops, bottoms), (lefts, rights) = (
        _spans(side, count, tiles.overlap) for side, count in zip(frame_hw, (tiles.rows, tiles.columns), strict=True)
    )
    places = [
        (left, top, right, bottom)
        for top, bottom in zip(tops, bottoms, strict=True)
        for left, right in zip(lefts, rights, strict=True)
    ]
    if tiles.whole and len(places) > 1:
        places.append((0, 0, frame_hw[1], frame_hw[0]))
    return np.asarray(places, dtype=np.int64)


def _spans(side: int, count: int, overlap: float) -> tuple[list[int], list[int]]:
    """Where ``count`` tiles begin and end along a side."""
    length = side / (count - (count - 1) * overlap)
    starts = [index * length * (1 - overlap) for index in range(count)]
    ends = [min(math.ceil(start + length), side) for start in starts]
    return [min(math.floor(start), side - 1) for start in starts], ends


def merge_tiles(
    found: Sequence[Detections], places: npt.NDArray[np.integer], *, class_agnostic: bool, most: int
) -> Detections:
    """One result of what was found in each tile.

    Two tiles that overlap both see what lies in their common part. So boxes of two tiles are of one object where their
    parts in there are nearly the same (IoU 0.5), of one class unless ``class_agnostic``; of boxes of one tile the
    network itself, or suppression, has said that they are not. Of an object's boxes the best that is not cut by an
    inner edge of its tile is kept; where all are cut, because the object is larger than a tile, the box around them.

    Args:
        found: Of each tile, pixels of the tile.
        places: (T, 4), where the tiles are, pixels of the frame.
        class_agnostic: Whether boxes of different classes are merged as well.
        most: How many are kept.
    """
    tile = np.repeat(np.arange(len(found)), [len(each) for each in found])
    corners = np.concatenate([each.boxes_xyxy for each in found]) + np.tile(places[tile, :2], 2)
    boxes = corners.astype(np.float32)
    everything = Detections(
        boxes,
        np.concatenate([each.scores for each in found]),
        np.concatenate([each.classes for each in found]),
        tuple(label for each in found for label in each.labels),
    )
    cut = _is_cut(boxes, places[tile], places)
    same = _same_object(boxes, tile, places)
    if not class_agnostic:
        same &= everything.classes[:, None] == everything.classes[None]
    left = np.ones(len(everything), dtype=bool)
    kept: list[int] = []
    for seed in np.lexsort((-everything.scores, cut)):  # whole boxes first, each kind best first
        if not left[seed]:
            continue
        group = same[seed] & left
        group[seed] = True
        if cut[seed]:  # pieces lead to further pieces; a whole box is all there is
            group = _connected(group, same, left)
            boxes[seed] = [*boxes[group, :2].min(axis=0), *boxes[group, 2:].max(axis=0)]
        left &= ~group
        kept.append(int(seed))
    merged = replace(everything, boxes_xyxy=boxes).at(np.asarray(kept, dtype=np.intp))
    return merged.at(np.argsort(-merged.scores, kind="stable")[:most])


def _connected(
    group: npt.NDArray[np.bool_], same: npt.NDArray[np.bool_], left: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    while True:
        wider = group | (same[group].any(axis=0) & left)
        if (wider == group).all():
            return group
        group = wider


def _is_cut(boxes: Boxes, own: npt.NDArray[np.integer], places: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Whether boxes (K, 4) end at an edge of their tile (K, 4) that is not the frame's."""
    frame = np.concatenate([places[:, :2].min(axis=0), places[:, 2:].max(axis=0)])
    slack = _AT_EDGE * np.tile(own[:, 2:] - own[:, :2], 2)
    return ((np.abs(boxes - own) <= slack) & (own != frame)).any(axis=1)


def _same_object(boxes: Boxes, tile: npt.NDArray[np.integer], places: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Of boxes (K, 4): whether two of different tiles agree in what both tiles see (K, K)."""
    same = np.zeros((len(boxes), len(boxes)), dtype=bool)
    for first in range(len(places)):
        for second in range(first + 1, len(places)):
            low = np.maximum(places[first, :2], places[second, :2])
            high = np.minimum(places[first, 2:], places[second, 2:])
            ours, theirs = np.flatnonzero(tile == first), np.flatnonzero(tile == second)
            if (low >= high).any() or not len(ours) or not len(theirs):
                continue
            limits = np.tile(low, 2), np.tile(high, 2)
            parts = (np.clip(boxes[rows], *limits).astype(np.float32) for rows in (ours, theirs))
            agree = iou_matrix(*parts) > _SAME
            same[np.ix_(ours, theirs)] = agree
            same[np.ix_(theirs, ours)] = agree.T
    return same
