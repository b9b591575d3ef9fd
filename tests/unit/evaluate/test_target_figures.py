"""Figures of labels and values against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.evaluate.target_figures import average_precision, f1_score, tag_figures, value_figures

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed: pip install 'edgecnn[train]'")

LABELS = ("cat", "dog", "cow", "never")


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_labels_have_the_figures_of_scikit_learn(levels: int) -> None:
    random = np.random.default_rng(levels)
    targets = (random.random((60, 4)) < (0.5, 0.1, 0.9, 0)).astype(np.float32)
    # Few levels give many pictures of the same score.
    probabilities = np.round((targets * 0.4 + random.random((60, 4)) * 0.6) * levels) / levels
    bars = (0.5, 0.3, 0.7, 0.5)

    found = tag_figures(probabilities, targets, bars, LABELS)

    there = targets[:, :3]
    assert set(found["average_precision"]) == set(LABELS[:3])
    assert found["map"] == pytest.approx(metrics.average_precision_score(there, probabilities[:, :3], average="macro"))
    said = (probabilities >= bars)[:, :3]
    assert found["f1"] == pytest.approx(metrics.f1_score(there, said, average="macro"))
    assert list(found["label_f1"].values()) == pytest.approx(metrics.f1_score(there, said, average=None))
    assert f1_score(said, there > 0) == pytest.approx(metrics.f1_score(there, said, average="micro"))


def test_a_perfect_order_has_a_precision_of_1_and_the_worst_the_share() -> None:
    there = np.array([True, False, False, False])
    assert average_precision(np.array([0.9, 0.3, 0.2, 0.1]), there) == 1
    assert average_precision(np.array([0.1, 0.3, 0.2, 0.9]), there) == 0.25
    assert average_precision(np.full(4, 0.5), there) == 0.25


def test_nothing_said_of_nothing_is_right() -> None:
    none = np.zeros((3, 2), bool)
    assert f1_score(none, none) == 1
    assert tag_figures(np.zeros((3, 2)), np.zeros((3, 2)), (0.5, 0.5), ("a", "b"))["map"] is None


def test_values_have_the_figures_of_scikit_learn() -> None:
    random = np.random.default_rng(1)
    targets = random.normal((290, 0.5, 7), (2, 0.1, 0), (50, 3)).astype(np.float32)
    values = targets + random.normal(0, (0.5, 0.05, 0.1), (50, 3))

    found = value_figures(values, targets, ("heat", "share", "same"))

    errors = metrics.mean_absolute_error(targets, values, multioutput="raw_values")
    assert list(found["mean_absolute_error"].values()) == pytest.approx(list(errors), rel=1e-5)
    # A value that is the same in all pictures has no variance to explain.
    assert found["r2"] == pytest.approx(metrics.r2_score(targets[:, :2], values[:, :2]), rel=1e-5)
    assert value_figures(values[:, 2:], targets[:, 2:], ("same",))["r2"] is None
