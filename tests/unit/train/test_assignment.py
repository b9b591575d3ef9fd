"""Task-aligned assignment against a plain reading of its definition, one object and one cell at a time."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.head_part import HeadPart  # noqa: E402 - after the skip
from edgecnn.train.detection.assignment import assign  # noqa: E402
from edgecnn.train.detection.box_loss import grid_of  # noqa: E402
from edgecnn.vision.boxes import iou_matrix  # noqa: E402

SIZE_HW = (64, 96)
GRID = grid_of(SIZE_HW, HeadPart())
# Sums in another order differ in the last digits.
ROUNDING = 1e-5


def boxes_at(random: np.random.Generator, count: int, smallest: float = 6.0) -> np.ndarray:
    corner = random.uniform(0, 40, (count, 2))
    return np.concatenate([corner, corner + random.uniform(smallest, 40, (count, 2))], axis=1).astype(np.float32)


def by_definition(
    scores: np.ndarray, boxes: np.ndarray, truth: np.ndarray, classes: np.ndarray, candidates: int
) -> tuple[list[int], list[float]]:
    """TOOD's rule for one picture, by loops."""
    points = GRID.points.numpy()
    overlap = iou_matrix(truth.astype(np.float64), boxes.astype(np.float64))
    wanted: list[set[int]] = []
    for number, kind in enumerate(classes):
        inside = [
            cell
            for cell, (x, y) in enumerate(points)
            if kind >= 0 and truth[number][0] <= x <= truth[number][2] and truth[number][1] <= y <= truth[number][3]
        ]
        metrics = {cell: scores[cell, kind] * overlap[number, cell] ** 6 for cell in inside}
        wanted.append(set(sorted(inside, key=lambda cell: -metrics[cell])[:candidates]))
    objects, quality = [-1] * len(points), [0.0] * len(points)
    for cell in range(len(points)):
        asking = [number for number, cells in enumerate(wanted) if cell in cells]
        if asking:
            objects[cell] = max(asking, key=lambda number: overlap[number, cell])
    for number, kind in enumerate(classes):
        own = [cell for cell, owner in enumerate(objects) if owner == number]
        metrics = [scores[cell, kind] * overlap[number, cell] ** 6 for cell in own]
        for cell, metric in zip(own, metrics, strict=True):
            quality[cell] = metric / max(max(metrics), 1e-9) * max(overlap[number, other] for other in own)
    return objects, quality


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_its_definition_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = len(GRID.points)
    truth = np.stack([boxes_at(random, 5, 12) for _ in range(2)])
    classes = random.integers(0, 3, (2, 5))
    classes[1, 3:] = -1, -2  # filling, and what is to be ignored
    scores = random.uniform(0.01, 1, (2, cells, 3)).astype(np.float32)
    # Boxes around their own cells, so that most overlap something.
    middle = GRID.points.numpy()
    half = random.uniform(6, 30, (2, cells, 2))
    boxes = np.concatenate([middle - half, middle + half], axis=2).astype(np.float32)

    found = assign(
        *map(torch.from_numpy, (scores, boxes)),
        GRID.points,
        GRID.strides,
        *map(torch.from_numpy, (truth, classes)),
        candidates=4,
    )

    for picture in range(2):
        objects, quality = by_definition(scores[picture], boxes[picture], truth[picture], classes[picture], 4)
        assert found.objects[picture].tolist() == objects
        np.testing.assert_allclose(found.quality[picture].numpy(), quality, atol=ROUNDING)
    assert (found.objects[0] >= 0).sum() >= 10


def test_an_object_between_the_cells_has_one() -> None:
    truth = torch.tensor([[[14.5, 14.5, 17.5, 17.5]]])  # no cell's centre is in it
    boxes = torch.zeros(1, len(GRID.points), 4)

    found = assign(
        torch.full((1, len(GRID.points), 1), 0.01), boxes, GRID.points, GRID.strides, truth, torch.zeros(1, 1).long()
    )

    near = (found.objects[0] == 0).nonzero()[:, 0]
    assert len(near) >= 1
    assert ((GRID.points[near] - 16).abs() <= 4).all()


def test_without_any_overlap_the_nearest_cells_learn_an_object() -> None:
    truth = torch.tensor([[[8.0, 8.0, 56.0, 56.0]]])
    boxes = torch.zeros(1, len(GRID.points), 4)

    found = assign(
        torch.full((1, len(GRID.points), 1), 0.01), boxes, GRID.points, GRID.strides, truth, torch.zeros(1, 1).long(), 4
    )

    chosen = GRID.points[found.objects[0] == 0]
    assert len(chosen) == 4
    assert (chosen - 32).square().sum(dim=1).max() <= 2 * 8**2


def test_pictures_without_objects_are_background() -> None:
    cells = len(GRID.points)
    scores, boxes = torch.rand(2, cells, 1), torch.rand(2, cells, 4)
    for rows in (0, 2):
        found = assign(
            scores, boxes, GRID.points, GRID.strides, torch.zeros(2, rows, 4), torch.full((2, rows), -1).long()
        )
        assert (found.objects == -1).all()
        assert (found.quality == 0).all()
