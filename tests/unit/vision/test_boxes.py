"""Overlap and suppression, against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.vision.boxes import (
    box_areas,
    clip_boxes,
    iou_matrix,
    non_maximum_suppression,
    row_maxima,
    xyxy_from_cxcywh,
)

# Of an overlap, in float32: torchvision sums in another order.
ROUNDING = 1e-6


def crowd(count: int, objects: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes around a few objects, as a network's are; all scores differ."""
    random = np.random.default_rng(count + objects)
    chosen = random.integers(0, objects, count)
    centre = random.uniform(0, 640, (objects, 2))[chosen] + random.normal(0, 6, (count, 2))
    size = random.uniform(20, 200, (objects, 2))[chosen] * np.exp(random.normal(0, 0.1, (count, 2)))
    boxes = xyxy_from_cxcywh(np.concatenate([centre, size], axis=1)).astype(np.float32)
    scores = (random.permutation(count) + 1).astype(np.float32) / count
    return boxes, scores, random.integers(0, classes, count)


def test_overlaps_by_hand() -> None:
    first = np.float32([[0, 0, 10, 10], [5, 5, 5, 5]])
    second = np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [20, 20, 30, 30], [5, 5, 5, 5]])

    np.testing.assert_allclose(iou_matrix(first, second), [[1, 1 / 3, 0, 0, 0], [0, 0, 0, 0, 0]], rtol=1e-6)


def test_overlaps_are_torchvisions() -> None:
    torchvision = pytest.importorskip(
        "torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'"
    )
    import torch

    first, second = crowd(200, 10, 1)[0], crowd(300, 20, 1)[0]
    expected = torchvision.ops.box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()

    np.testing.assert_allclose(iou_matrix(first, second), expected, atol=ROUNDING)


@pytest.mark.parametrize("agnostic", [False, True], ids=["class-wise", "agnostic"])
@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 3000])
@pytest.mark.parametrize("iou_threshold", [0.3, 0.65])
def test_what_is_kept_is_what_torchvision_keeps(count: int, iou_threshold: float, agnostic: bool) -> None:
    torchvision = pytest.importorskip(
        "torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'"
    )
    import torch

    boxes, scores, classes = crowd(count, 12, 3)
    tensors = [torch.from_numpy(array) for array in (boxes, scores, np.zeros_like(classes) if agnostic else classes)]
    expected = torchvision.ops.batched_nms(*tensors, iou_threshold).numpy()

    found = non_maximum_suppression(boxes, scores, None if agnostic else classes, iou_threshold, max(count, 1))

    np.testing.assert_array_equal(found, expected)


def test_stopping_early_leaves_the_best() -> None:
    boxes, scores, classes = crowd(3000, 200, 5)
    everything = non_maximum_suppression(boxes, scores, classes, 0.5, 3000)

    for limit in (1, 100, 150):
        np.testing.assert_array_equal(non_maximum_suppression(boxes, scores, classes, 0.5, limit), everything[:limit])
    assert len(everything) > 150


def test_a_dropped_box_drops_no_other() -> None:
    row = np.float32([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # each overlaps the next by 3/7

    kept = non_maximum_suppression(row, np.float32([0.9, 0.8, 0.7]), None, 0.4, 10)

    np.testing.assert_array_equal(kept, [0, 2])


def test_of_equal_scores_the_first_comes_first() -> None:
    boxes = np.float32([[0, 0, 10, 10]] * 3)

    np.testing.assert_array_equal(non_maximum_suppression(boxes, np.float32([0.5] * 3), None, 0.5, 10), [0])
    np.testing.assert_array_equal(non_maximum_suppression(boxes, np.float32([0.5] * 3), None, 1.0, 10), [0, 1, 2])


def test_clipping_keeps_what_is_in_the_frame() -> None:
    boxes = np.float32([[-5, -5, 5, 5], [90, 40, 130, 60], [200, 10, 210, 20], [1, 2, 3, np.inf]])

    found = clip_boxes(boxes, (50, 100))

    np.testing.assert_array_equal(found, [[0, 0, 5, 5], [90, 40, 100, 50], [100, 10, 100, 20], [1, 2, 3, 50]])
    np.testing.assert_array_equal(box_areas(found), [25, 100, 0, 96])


@pytest.mark.parametrize("shape", [(0, 80), (1, 1), (300, 1), (300, 2), (300, 80), (7, 1000)])
def test_row_maxima_are_numpys(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)
    part = np.pad(values, ((0, 0), (5, 0)))[:, 5:]
    for given in (values, np.asfortranarray(values), values.astype(np.float64), part):
        np.testing.assert_array_equal(row_maxima(given), given.max(axis=1))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_row_maxima_do_not_hide_what_is_no_number(odd: float) -> None:
    for column in range(9):
        values = np.zeros((5, 9), np.float32)
        values[3, column] = odd
        np.testing.assert_array_equal(row_maxima(values), values.max(axis=1))
