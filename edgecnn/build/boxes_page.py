"""The part of a training's report that is about boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.build.page_pictures import jpeg_url, shrunk
from edgecnn.core.frame import Detections
from edgecnn.evaluate.threshold import best_threshold, judged_boxes
from edgecnn.profiling.report.page import Column, section, table, text
from edgecnn.vision.average_precision import average_precisions
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.draw import draw_detections

if TYPE_CHECKING:
    from edgecnn.train.detection.detection_goal import Detected

_WORST = 12
_SIDE = 360
STYLE = """
.boxes { display: flex; flex-wrap: wrap; gap: .8rem } .boxes figure { margin: 0; font-size: .8rem }
.boxes img { max-width: 100%; display: block }
"""


def boxes_sections(found: Detected) -> list[str]:
    """Each class by itself, and the pictures with the most mistakes."""
    threshold = best_threshold(found.detections, found.truth)
    return [_classes(found, threshold), _mistakes(found, threshold)]


def _classes(found: Detected, threshold: float) -> str:
    rows: list[list[str]] = []
    shown = [one.above(threshold) for one in found.detections]
    for number, name in enumerate(found.truth.classes):
        truth = _of_class(found.truth, number)
        objects = sum(int((~one.ignored).sum()) for one in truth.objects)
        if not objects:
            rows.append([text(name), "0", "", "", ""])
            continue
        precision = average_precisions([_at_class(one, number) for one in found.detections], truth)["map50"]
        judged = [judged_boxes(_at_class(one, number), there) for one, there in zip(shown, truth.objects, strict=True)]
        right = sum(int(hits.sum()) for hits, _ in judged)
        wrong = sum(int((counts & ~hits).sum()) for hits, counts in judged)
        rows.append([text(name), str(objects), f"{precision or 0:.3f}", f"{right / objects:.0%}", str(wrong)])
    columns = [Column("class", numeric=False), *map(Column, ("objects", "AP50", "found", "wrong boxes"))]
    note = (
        f"In the pictures kept back; mAP over overlaps from 0.50 to 0.95 is {found.mean_precision:.3f}. Found and "
        f"wrong with an overlap of 0.5, at a score of {threshold:.2f}, where they are in balance."
    )
    return section("Classes", table("Classes", columns, rows), note)


def _mistakes(found: Detected, threshold: float) -> str:
    worst: list[tuple[int, int, str]] = []
    for index, (boxes, objects) in enumerate(zip(found.detections, found.truth.objects, strict=True)):
        hits, counts = judged_boxes(shown := boxes.above(threshold), objects)
        wrong, missed = int((counts & ~hits).sum()), int((~objects.ignored).sum() - hits.sum())
        if wrong + missed:
            said = f"{missed} not found, {wrong} of {len(shown)} boxes wrong"
            worst.append((-wrong - missed, index, said))
    if not worst:
        return section("Worst mistakes", "<p>There are none in the pictures kept back.</p>")
    figures: list[str] = []
    for _, index, said in sorted(worst)[:_WORST]:
        name = text(found.truth.paths[index].name)
        shown = found.detections[index].above(threshold)
        figures.append(
            f'<figure><img src="{_drawn(found.truth, index, shown)}" alt="{name}">'
            f"<figcaption>{said}<br>{name}</figcaption></figure>"
        )
    note = f"{len(worst)} of {len(found)} pictures kept back; those with the most come first. Look for missing labels."
    return section("Worst mistakes", f'<div class="boxes">{"".join(figures)}</div>', note)


def _drawn(truth: DetectionSet, index: int, shown: Detections) -> str:
    """A small JPEG with its boxes as a data URL."""
    small, factor = shrunk(truth.picture(index), _SIDE)
    boxes = replace(shown, boxes_xyxy=(shown.boxes_xyxy * factor).astype(np.float32))
    return jpeg_url(draw_detections(small, boxes, "")[: small.shape[0]])


def _at_class(found: Detections, number: int) -> Detections:
    return found.at(np.flatnonzero(found.classes == number))


def _of_class(truth: DetectionSet, number: int) -> DetectionSet:
    """The pictures with the objects of one class alone."""
    objects = tuple(
        replace(
            one,
            boxes_xyxy=one.boxes_xyxy[mine],
            classes=one.classes[mine],
            ignored=one.ignored[mine],
            areas=one.areas[mine],
        )
        for one in truth.objects
        for mine in [one.classes == number]
    )
    return replace(truth, objects=objects)
