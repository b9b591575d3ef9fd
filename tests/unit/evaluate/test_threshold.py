"""A threshold for scores that quantization has moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.frame import Detections
from edgecnn.evaluate.threshold import best_threshold, refit_threshold
from edgecnn.vision.detection_set import Annotations, DetectionSet

PLACES = 60


def box(place: int) -> list[int]:
    return [20 * place, 0, 20 * place + 10, 10]


def truth(*places: int, crowds: tuple[int, ...] = (), pictures: int = 1) -> DetectionSet:
    count = len(places)
    annotations = Annotations(
        np.float32([box(place) for place in places]).reshape(-1, 4),
        np.zeros(count, np.int64),
        np.isin(places, crowds),
        np.full(count, 100, np.float32),
    )
    return DetectionSet(
        "test", (Path("p.png"),) * pictures, ((10, 2000),) * pictures, (annotations,) * pictures, ("a",)
    )


def found(*rows: tuple[int, float], kind: int = 0) -> list[Detections]:
    """Boxes at places, with scores."""
    rows = tuple(sorted(rows, key=lambda row: -row[1]))
    return [
        Detections(
            np.float32([box(place) for place, _ in rows]).reshape(-1, 4),
            np.float32([score for _, score in rows]),
            np.full(len(rows), kind),
            ("a",) * len(rows),
        )
    ]


def noisy(change: Callable[[float], float]) -> list[Detections]:
    """Sixty boxes of which the first thirty places are objects and mostly have the higher scores."""
    random = np.random.default_rng(0)
    scores = [0.4 * random.random() + (0.4 if place < PLACES / 2 else 0.15) for place in range(PLACES)]
    return found(*((place, change(score)) for place, score in enumerate(scores)))


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("threshold", [0.2, 0.3, 0.4, 0.5, 0.6])
@pytest.mark.parametrize("change", [lambda s: s, lambda s: s**2, lambda s: 0.5 + s / 2, lambda s: s / 3], ids="abcd")
def test_scores_that_only_moved_show_the_same_boxes(
    change: Callable[[float], float], threshold: float, labelled: bool
) -> None:
    objects = truth(*range(PLACES // 2)) if labelled else None
    reference, candidate = noisy(lambda score: score), noisy(change)

    fitted = refit_threshold(candidate, objects, reference, threshold)

    ours, theirs = candidate[0].above(fitted), reference[0].above(threshold)
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
    assert fitted == pytest.approx(change(threshold), abs=0.05)


def test_the_users_threshold_stays_where_it_shows_the_same() -> None:
    same = noisy(lambda score: score)

    assert refit_threshold(same, truth(*range(30)), same, 0.3) == 0.3
    assert refit_threshold(same, None, same, 0.3) == 0.3


def test_a_network_that_errs_more_gets_a_higher_threshold() -> None:
    """The reference shows three right and one wrong; of the candidate that is so before its second error."""
    reference = found((0, 0.9), (1, 0.8), (50, 0.7), (2, 0.6), (51, 0.2))
    candidate = found((0, 0.9), (50, 0.8), (1, 0.75), (2, 0.7), (51, 0.6), (52, 0.5))

    fitted = refit_threshold(candidate, truth(0, 1, 2), reference, 0.5)

    assert fitted == pytest.approx(0.65)


def test_a_network_that_errs_less_gets_a_lower_threshold() -> None:
    reference = found((0, 0.9), (50, 0.8), (1, 0.2))
    candidate = found((0, 0.9), (1, 0.4), (50, 0.3), (51, 0.2), (52, 0.1))

    # At 1/2 are two right of four, which is nearer to the reference's two boxes than any other.
    assert refit_threshold(candidate, truth(0, 1), reference, 0.5) == pytest.approx(0.15)


def test_precision_that_is_never_reached_comes_as_near_as_it_can() -> None:
    candidate = found((50, 0.9), (0, 0.8), (1, 0.7), (51, 0.6), (52, 0.4))

    assert refit_threshold(candidate, truth(0, 1), found((0, 0.9), (1, 0.8)), 0.5) == pytest.approx(0.65)


def test_an_object_counts_once_and_only_in_its_class() -> None:
    reference = found((0, 0.9), (1, 0.8))
    twice = found((0, 0.9), (0, 0.7), (1, 0.6))

    assert refit_threshold(twice, truth(0, 1), reference, 0.5) == pytest.approx(0.8)
    other = found((0, 0.9), (1, 0.8), kind=1)
    assert refit_threshold(other, truth(0, 1), other, 0.85) == 0.85  # a precision of 0, as the reference's


def test_ignored_objects_are_neither_right_nor_wrong() -> None:
    reference = found((0, 0.9), (1, 0.8))
    candidate = found((0, 0.9), (7, 0.85), (7, 0.8), (1, 0.7), (50, 0.6))

    assert refit_threshold(candidate, truth(0, 1, 7, crowds=(7,)), reference, 0.5) == pytest.approx(0.65)


def test_equal_scores_are_shown_together() -> None:
    reference = found((0, 0.9), (1, 0.8), (2, 0.7))
    candidate = found((0, 0.5), (1, 0.5), (2, 0.25), (3, 0.25))

    for threshold in (0.85, 0.75):  # one and two boxes
        fitted = refit_threshold(candidate, None, reference, threshold)
        assert len(candidate[0].above(fitted)) == 2
        assert fitted == pytest.approx(0.375)


@pytest.mark.parametrize("objects", [truth(0), None], ids=["labels", "no labels"])
def test_where_nothing_is_shown_the_threshold_stays(objects: DetectionSet | None) -> None:
    some, nothing = found((0, 0.9)), found()

    assert refit_threshold(nothing, objects, some, 0.4) == 0.4
    assert refit_threshold(some, objects, nothing, 0.4) == 0.4
    assert refit_threshold(some, objects, found((0, 0.3)), 0.4) == 0.4


def test_the_best_threshold_balances_wrong_boxes_and_missed_objects() -> None:
    candidate = found((0, 0.9), (1, 0.7), (5, 0.6), (2, 0.5), (6, 0.3), (7, 0.2))

    # Of 4 objects: 2 of 2 right from 0.7 on (F1 0.67), 3 of 4 from 0.5 on (0.75), 3 of 6 of all (0.6).
    assert best_threshold(candidate, truth(0, 1, 2, 3)) == pytest.approx(0.4)
    # An object to ignore is none that is missed, and its box none that is wrong.
    assert best_threshold(candidate, truth(0, 1, 5, crowds=(5,))) == pytest.approx(0.6)


def test_where_nothing_is_right_the_best_threshold_is_in_the_middle() -> None:
    assert best_threshold(found((5, 0.9)), truth(0)) == 0.5
    assert best_threshold(found(), truth(0)) == 0.5
