"""A frame in tiles: objects of any size come back once and whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Detections
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.watch import Tiles
from edgecnn.vision.tiles import detect_tiled, merge_tiles, tile_places

LABELS = ("ant", "bee")


@given(
    height=st.integers(64, 1200),
    width=st.integers(64, 2000),
    tiles=st.builds(
        Tiles,
        columns=st.integers(1, 5),
        rows=st.integers(1, 5),
        overlap=st.floats(0, 0.5),
        whole=st.booleans(),
    ),
)
def test_tiles_cover_the_frame_and_share_what_was_asked_for(height: int, width: int, tiles: Tiles) -> None:
    places = tile_places((height, width), tiles)

    cut = places[:-1] if tiles.whole and tiles.columns * tiles.rows > 1 else places
    assert len(cut) == tiles.columns * tiles.rows
    assert (places[:, :2] >= 0).all()
    assert (places[:, 2:] <= (width, height)).all()
    seen = np.zeros((height, width), bool)
    for left, top, right, bottom in cut:
        seen[top:bottom, left:right] = True
    assert seen.all()
    sides = cut[:, 2:] - cut[:, :2]
    assert (np.ptp(sides, axis=0) <= 2).all()
    if tiles.columns > 1:
        shared = cut[0, 2] - cut[1, 0]
        assert abs(shared - tiles.overlap * sides[0, 0]) <= 2


def seen_in(truth: Detections, place: np.ndarray, least: float = 0.3) -> Detections:
    """What a perfect detector finds in a tile: the parts of the objects in it, where enough of them is there."""
    left, top, right, bottom = place.tolist()
    parts = np.clip(truth.boxes_xyxy, (left, top) * 2, (right, bottom) * 2)
    whole = truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]
    areas = (parts[:, 2:] - parts[:, :2]).prod(axis=1)
    # An object that is larger than the tile fills it, and is found there as well.
    visible = (areas > least * whole.prod(axis=1)) | (areas > least * (right - left) * (bottom - top))
    kept = truth.at(np.flatnonzero(visible))
    return replace(kept, boxes_xyxy=(parts[visible] - np.float32([left, top] * 2)).astype(np.float32))


def apart(boxes: np.ndarray) -> np.ndarray:
    """Those of the boxes that touch none before them."""
    kept: list[np.ndarray] = []
    for box in boxes:
        if all((box[2:] + 8 < other[:2]).any() or (other[2:] + 8 < box[:2]).any() for other in kept):
            kept.append(box)
    return np.float32(kept).reshape(-1, 4)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    columns=st.integers(1, 4),
    rows=st.integers(1, 3),
    whole=st.booleans(),
)
def test_what_a_perfect_detector_sees_in_the_tiles_is_what_there_is(
    seed: int, columns: int, rows: int, whole: bool
) -> None:
    random = np.random.default_rng(seed)
    frame_hw, tiles = (480, 640), Tiles(columns=columns, rows=rows, overlap=0.3, whole=whole)
    places = tile_places(frame_hw, tiles)
    # Up to what tiles share, each object is whole in one of them; with the whole frame, objects may have any size.
    most = 620 if whole and columns * rows > 1 else 40
    low = random.uniform(0, 600, (12, 2))
    boxes = np.clip(np.concatenate([low, low + random.uniform(8, most, (12, 2))], axis=1), 0, (640, 480) * 2)
    boxes = apart(boxes[((boxes[:, 2:] - boxes[:, :2]) > 6).all(axis=1)])
    classes = random.integers(0, 2, len(boxes))
    scores = random.permutation(np.linspace(0.4, 0.9, len(boxes), dtype=np.float32))
    truth = Detections(boxes, scores, classes, tuple(LABELS[number] for number in classes))

    merged = merge_tiles([seen_in(truth, place) for place in places], places, class_agnostic=False, most=100)

    truth = truth.at(np.argsort(-truth.scores))
    np.testing.assert_array_equal(merged.scores, truth.scores)
    np.testing.assert_array_equal(merged.classes, truth.classes)
    np.testing.assert_allclose(merged.boxes_xyxy, truth.boxes_xyxy, atol=1e-3)


def detections(*boxes: tuple[float, ...], scores: tuple[float, ...], classes: tuple[int, ...]) -> Detections:
    return Detections(
        np.float32(boxes).reshape(-1, 4),
        np.float32(scores),
        np.int64(classes),
        tuple(LABELS[number] for number in classes),
    )


NOTHING = detections(scores=(), classes=())


def test_an_object_larger_than_a_tile_is_put_together() -> None:
    """Three tiles in a row, and a train through all of them: pieces lead from the first to the third."""
    places = tile_places((100, 300), Tiles(columns=3, rows=1, overlap=0.25, whole=False))
    train = detections((20, 30, 280, 70), scores=(0.8,), classes=(0,))

    merged = merge_tiles([seen_in(train, place) for place in places], places, class_agnostic=False, most=10)

    np.testing.assert_allclose(merged.boxes_xyxy, train.boxes_xyxy)


def test_two_that_overlap_within_a_tile_stay_two() -> None:
    places = tile_places((100, 200), Tiles(columns=2, rows=1, overlap=0.2, whole=False))
    pair = detections((10, 10, 50, 50), (14, 10, 54, 50), scores=(0.9, 0.8), classes=(0, 0))

    merged = merge_tiles([pair, NOTHING], places, class_agnostic=False, most=10)

    np.testing.assert_array_equal(merged.boxes_xyxy, pair.boxes_xyxy)


@pytest.mark.parametrize(("agnostic", "count"), [(False, 2), (True, 1)])
def test_classes_are_merged_where_that_is_wanted(agnostic: bool, count: int) -> None:
    places = tile_places((100, 200), Tiles(columns=2, rows=1, overlap=0.3, whole=False))
    left, top = places[1, 0], 0
    ours = detections((90, 10, 110, 30), scores=(0.9,), classes=(0,))
    theirs = detections((90 - left, 10 - top, 110 - left, 30 - top), scores=(0.8,), classes=(1,))

    merged = merge_tiles([ours, theirs], places, class_agnostic=agnostic, most=10)

    assert len(merged) == count
    assert merged.labels[0] == "ant"


def test_only_the_best_are_kept() -> None:
    places = tile_places((100, 200), Tiles(columns=1, rows=1))
    found = detections((0, 0, 9, 9), (20, 0, 29, 9), scores=(0.5, 0.9), classes=(0, 0))

    assert merge_tiles([found], places, class_agnostic=False, most=1).scores.tolist() == [np.float32(0.9)]
    assert len(merge_tiles([NOTHING], places, class_agnostic=False, most=1)) == 0


def bright_squares(frame: Any) -> dict[str, np.ndarray]:
    """A network in the layout with NMS in the graph, that finds every bright patch of at least three pixels a side."""
    import cv2

    plane = (frame[0, 0] > 0.5).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(plane)
    rows = np.zeros((1, 50, 6), np.float32)
    for row, (x, y, width, height, _) in enumerate(stats[1:count]):
        if min(width, height) >= 3:
            rows[0, row] = [x, y, x + width, y + height, 0.9, 0]
    return {"out": rows}


def test_small_objects_are_found_in_tiles_and_not_without() -> None:
    image = np.zeros((512, 512, 3), np.uint8)
    wanted = [(x, y, x + 8, y + 8) for x in (24, 128, 250, 400) for y in (40, 252, 496)]
    for left, top, right, bottom in wanted:
        image[top:bottom, left:right] = 255
    spec = Preprocess(size_hw=(128, 128), mean=(0, 0, 0), std=(1, 1, 1), interpolation="area")
    detector = Detector(spec, LABELS, Layout(kind="end_to_end", boxes="out"))

    once = detect_tiled(bright_squares, image, detector, Tiles(columns=1, rows=1))
    cut = detect_tiled(bright_squares, image, detector, Tiles(columns=4, rows=4, overlap=0.2))

    assert len(once) == 0
    assert len(cut) == len(wanted)
    off = np.abs(cut.boxes_xyxy[:, None] - np.float32(wanted)).max(axis=2)
    assert (off.min(axis=0) < 2).all()
