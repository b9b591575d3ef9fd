"""From raw outputs to classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecnn.core.classifier import Classifier, Shown
from edgecnn.core.frame import UNKNOWN
from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.decode import decode_classification, softmax

NETWORK = Classifier(Preprocess(size_hw=(8, 8)), ("a", "b", "c", "d"), "logits")


def test_probabilities_are_those_of_softmax() -> None:
    np.testing.assert_allclose(softmax(np.log([1.0, 2.0, 5.0])), [0.125, 0.25, 0.625])


def test_each_row_is_by_itself() -> None:
    np.testing.assert_allclose(softmax(np.float32([[0, 0], [1000, 0]])), [[0.5, 0.5], [1, 0]])


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([1e38, -1e38], [1, 0]),
        ([3.4e38, 3.4e38], [0.5, 0.5]),
        ([-3.4e38, -3.4e38, 3.4e38], [0, 0, 1]),
        ([-1e4, -1e4 + 1], [1 / (1 + np.e), np.e / (1 + np.e)]),
        ([0.0], [1]),
        ([-np.inf, 0.0], [0, 1]),
    ],
)
def test_extremes_do_not_overflow(logits: list[float], expected: list[float]) -> None:
    with np.errstate(all="raise", under="ignore"):
        found = softmax(np.float32(logits))

    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_half_precision_is_computed_in_double() -> None:
    found = softmax(np.float16([60000, 59968]))

    assert found.dtype == np.float64
    np.testing.assert_allclose(found.sum(), 1)
    assert found[1] == pytest.approx(np.exp(-32), rel=1e-9)


def test_the_best_come_first() -> None:
    found = decode_classification(np.float32([[0, 3, 1, 2]]), replace(NETWORK, shown=Shown(top=3)))

    assert found.classes == (1, 3, 2)
    assert found.labels == ("b", "d", "c")
    assert found.probabilities == tuple(sorted(found.probabilities, reverse=True))
    assert sum(found.probabilities) < 1


def test_probabilities_are_taken_as_they_are() -> None:
    after_softmax = replace(NETWORK, scores="probabilities")

    found = decode_classification(np.float32([[0.125, 0.5, 0.25, 0.125]]), replace(after_softmax, shown=Shown(top=2)))

    assert found.classes == (1, 2)
    assert found.probabilities == (0.5, 0.25)


@pytest.mark.parametrize("logits", [[0, 0, 0, 0], [5, 5, 5, 5], [-np.inf, -np.inf, 0, 0]])
def test_of_equals_the_lower_class_comes_first(logits: list[float]) -> None:
    found = decode_classification(np.float32(logits), NETWORK)

    winners = np.flatnonzero(np.float32(logits) == max(logits)).tolist()
    assert list(found.classes[: len(winners)]) == winners


def test_no_more_are_named_than_there_are() -> None:
    found = decode_classification(np.float32([[1, 0]]), NETWORK)

    assert found.classes == (0, 1)
    assert sum(found.probabilities) == pytest.approx(1)


def test_numbers_are_pythons_own() -> None:
    found = decode_classification(np.float32([[1, 0]]), NETWORK)

    assert {type(value) for value in (*found.classes, *found.probabilities)} == {int, float}


@pytest.mark.parametrize(("threshold", "labels"), [(0.6, ("unknown", "b", "a")), (0.5, ("b", "a")), (None, ("b", "a"))])
def test_what_is_not_sure_enough_is_unknown(threshold: float | None, labels: tuple[str, ...]) -> None:
    network = replace(NETWORK, scores="probabilities", shown=Shown(top=2, unknown_below=threshold))

    found = decode_classification(np.float32([[0.25, 0.5, 0.125, 0.125]]), network)

    assert found.labels == labels
    if labels[0] == "unknown":
        assert (found.classes[0], found.probabilities[0]) == (UNKNOWN, 0.5)
    assert found.distribution is not None
    assert found.distribution.tolist() == [0.25, 0.5, 0.125, 0.125]
