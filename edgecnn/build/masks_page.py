"""The part of a training's report that is about masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.build.page_pictures import jpeg_url, shrunk
from edgecnn.core.frame import Image, Segmentation
from edgecnn.core.preprocess import Preprocess
from edgecnn.profiling.report.page import Column, figure, section, table, text
from edgecnn.vision.decode_readings import mask_in_frame
from edgecnn.vision.draw_readings import draw_segmentation
from edgecnn.vision.mask_figures import class_iou

if TYPE_CHECKING:
    from edgecnn.train.masks.mask_goal import Segmented

_SIDE = 240


def masks_sections(found: Segmented, spec: Preprocess) -> list[str]:
    """Each class by itself, and the pictures with the most mistakes."""
    return [_classes(found), _mistakes(found, spec)]


def _classes(found: Segmented) -> str:
    truth, named = found.confusion.sum(axis=1), found.confusion.sum(axis=0)
    right, total = found.confusion.diagonal(), max(int(found.confusion.sum()), 1)
    rows: list[list[str]] = []
    for number, (name, iou) in enumerate(zip(found.truth.classes, class_iou(found.confusion), strict=True)):
        parts = (right[number] / there if there else None for there in (truth[number], named[number]))
        ratios = (None if np.isnan(iou) else float(iou), *parts)
        cells = [figure(None if ratio is None else 100 * float(ratio)) for ratio in ratios]
        rows.append([text(name), figure(100 * float(truth[number]) / total), *cells])
    columns = [Column("class", numeric=False), Column("of all pixels", "%"), Column("IoU", "%")]
    columns += [Column("found", "%"), Column("right", "%")]
    note = (
        f"Of the pixels of {len(found)} pictures kept back. IoU: intersection over union. Found: part of the class's "
        "pixels that are taken for it; right: part of those taken for it that are of it."
    )
    return section("Classes", table("Classes", columns, rows), note)


def _mistakes(found: Segmented, spec: Preprocess) -> str:
    shown = [(wrong, index, cells) for wrong, index, cells in found.worst if wrong]
    if not shown:
        return section("Worst mistakes", "<p>There are none in the pictures kept back.</p>")
    figures: list[str] = []
    for wrong, index, cells in shown:
        name = text(found.truth.paths[index].name)
        image, right = found.truth.pair(index)
        named = mask_in_frame(cells, spec, (right.shape[0], right.shape[1]))
        pair = np.hstack([_tinted(image, mask, found.truth.classes) for mask in (right, named)])
        figures.append(
            f'<figure><img src="{jpeg_url(pair)}" alt="{name}"><figcaption>{wrong:.1%} wrong<br>{name}</figcaption>'
            "</figure>"
        )
    note = (
        "Left as it is labelled, right as the network has it. Those with the largest part of wrong pixels come first."
    )
    return section("Worst mistakes", f'<div class="boxes">{"".join(figures)}</div>', note)


def _tinted(image: Image, mask: npt.NDArray[np.uint8], labels: tuple[str, ...]) -> Image:
    """A small picture under its mask; pixels to ignore are numbered as those that are not seen, and stay plain."""
    small, _ = shrunk(image, _SIDE)
    height, width = small.shape[:2]
    cells = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
    drawn = draw_segmentation(small, Segmentation(cells, labels, (0.0,) * len(labels)), "")
    return drawn[:height, :width]
