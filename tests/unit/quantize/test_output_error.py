"""How far a changed network is from the original at its outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.quantize.output_error import relative_error

Arrays = dict[str, np.ndarray]
# Three boxes, 40 wide and 20 high, in another place each; the last is seen by nobody.
CORNERS = np.float32([[[0, 0, 40, 20], [300, 200, 340, 220], [100, 100, 140, 120]]])
SCORES = np.float32([[[0.8, 0.1], [0.0, 0.8], [0.01, 0.0]]])


def decoded(corners: np.ndarray = CORNERS, scores: np.ndarray = SCORES) -> Arrays:
    return {"boxes": np.float32(corners), "scores": np.float32(scores)}


def moved(box: int, side: int, pixels: float) -> Arrays:
    corners = CORNERS.copy()
    corners[0, box, side] += pixels
    return decoded(corners)


def test_the_outputs_are_each_held_against_their_own_power() -> None:
    expected = {"large": np.float32([300, 400]), "small": np.float32([0.1])}
    found = {"large": np.float32([300, 405]), "small": np.float32([0.11])}

    assert relative_error([found], [expected]) == pytest.approx(25 / 500**2 + 0.1**2, rel=1e-5)
    assert relative_error([found, expected], [expected, expected]) == pytest.approx(12.5 / 500**2 + 0.005, rel=1e-5)


@pytest.mark.parametrize(("side", "pixels"), [(0, 4), (2, 4), (1, 2), (3, -2)])
def test_a_side_moves_by_a_part_of_its_box(side: int, pixels: float) -> None:
    """A tenth of a side, of four sides and two boxes that count."""
    for box in (0, 1):
        assert relative_error([moved(box, side, pixels)], [decoded()]) == pytest.approx(0.1**2 / 4 / 2, rel=1e-4)


def test_boxes_without_a_score_may_be_anywhere() -> None:
    assert relative_error([moved(2, 0, 40)], [decoded()]) < 1e-6


def test_scores_count_as_everywhere() -> None:
    scores = SCORES.copy()
    scores[0, 0, 0] -= 0.1

    power = float((SCORES.astype(np.float64) ** 2).sum())
    assert relative_error([decoded(scores=scores)], [decoded()]) == pytest.approx(0.1**2 / power, rel=1e-4)


def test_boxes_without_a_size_do_not_stop_it() -> None:
    flat = CORNERS.copy()
    flat[0, 0, 2:] = flat[0, 0, :2]

    assert np.isfinite(relative_error([decoded()], [decoded(flat)]))


def test_nothing_seen_is_no_error() -> None:
    nothing = decoded(scores=0 * SCORES)

    assert relative_error([nothing], [nothing]) == 0
