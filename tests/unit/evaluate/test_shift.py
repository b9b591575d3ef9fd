"""How often pictures of the same kind, and of another, are called unlike those learnt from."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.evaluate.shift import FALSE_ALARMS, fit_shift

NAMES = ("brightness", "contrast", "depth")


def drawn(random: np.random.Generator, count: int) -> np.ndarray:
    """Far from Gaussian: two heaps, and a long tail."""
    heaps = random.choice([0.2, 0.7], count)
    return np.column_stack([heaps + random.normal(0, 0.05, count), heaps / 2, random.exponential(1000, count)])


@pytest.mark.parametrize("held_out", [20, 99, 200])
def test_false_alarms_are_as_rare_as_is_said(held_out: int) -> None:
    random = np.random.default_rng(held_out)
    shares, stated = [], 0.0
    for _ in range(60):
        part = fit_shift(NAMES, drawn(random, 100), drawn(random, held_out))
        shares.append((part.distance(drawn(random, 500)) > part.threshold).mean())
        stated = part.false_alarm_rate

    assert stated == pytest.approx(1 / 21 if held_out == 20 else 0.01, abs=1e-3)
    assert stated <= FALSE_ALARMS + 1e-9 or held_out < 99
    # Each share has a standard deviation of about its mean, so that of 60 is within 3 / sqrt(60) of it.
    assert np.mean(shares) == pytest.approx(stated, rel=0.4)


def test_the_distance_is_mahalanobis() -> None:
    random = np.random.default_rng(0)
    learned = drawn(random, 50)
    part = fit_shift(NAMES, learned, learned)

    scores = (learned - learned.mean(axis=0)) / learned.std(axis=0)
    correlations = 0.9 * np.corrcoef(learned.T) + 0.1 * np.eye(3)
    expected = [np.sqrt(row @ np.linalg.solve(correlations, row)) for row in scores]
    np.testing.assert_allclose(part.distance(learned), expected)
    assert part.furthest(np.array([0.5, -3.14, 1])) == "contrast -3.1"
    assert part.most_unlike == pytest.approx(5 / 51)


def test_what_never_varies_is_no_reason_for_an_alarm_by_itself() -> None:
    random = np.random.default_rng(0)
    learned = drawn(random, 50)
    learned[:, 1:] = (0.5, 1000.0)
    part = fit_shift(NAMES, learned, learned)

    slightly = learned + np.array([0, 0.5 / 255, 0.0005])  # half a grey level, and half a millionth
    assert (part.distance(slightly) <= part.threshold).mean() > 0.9
    assert (part.distance(learned + np.array([0, 0.1, 0])) > part.threshold).all()
