"""How sure a classifier is, against how often it is right."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.evaluate.reliability import confusion, reliability


def answers(sure: float, right: int, wrong: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers for class 0, all equally sure, of which some are right."""
    return np.tile([sure, 1 - sure], (right + wrong, 1)), np.asarray([0] * right + [1] * wrong)


def test_a_network_that_is_as_often_right_as_it_is_sure_has_no_error() -> None:
    assert reliability(*answers(0.75, 75, 25)).error == pytest.approx(0)


def test_the_error_is_the_distance_weighted_by_how_many() -> None:
    sure, labels = answers(0.95, 7, 3)
    unsure, others = answers(0.65, 20, 10)

    found = reliability(np.concatenate([sure, unsure]), np.concatenate([labels, others]))

    assert found.error == pytest.approx((10 * abs(0.95 - 0.7) + 30 * abs(0.65 - 2 / 3)) / 40)
    assert found.count == (0, 0, 0, 0, 0, 0, 30, 0, 0, 10)
    assert found.accuracy[9] == pytest.approx(0.7)
    assert found.confidence[0] == 0


def test_certainty_falls_into_the_last_range() -> None:
    assert reliability(*answers(1.0, 4, 0)).count[-1] == 4


def test_confusions_are_counted_by_row_and_column() -> None:
    assert confusion(np.asarray([0, 1, 1, 2]), np.asarray([0, 0, 1, 1]), 3).tolist() == [
        [1, 1, 0],
        [0, 1, 1],
        [0, 0, 0],
    ]
