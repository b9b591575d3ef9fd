"""Means over a layer's inputs, in which a few large errors do not decide."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.quantize import moments
from edgecnn.quantize.moments import Moments

# Sums of some hundred products of FP32 numbers near 1, divided by as many.
ROUNDING = 1e-5
# So few that all of them say what is usual; those with an error are an odd number, and have one in the middle.
PLACES, EXACT = 251, 50


def samples(groups: int, inputs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x, and q with errors of very different sizes, some of them 0."""
    random = np.random.default_rng(seed)
    exact = random.standard_normal((groups, inputs, PLACES)).astype(np.float32)
    sizes = random.permutation([0.0] * EXACT + [3.0] * 40 + [0.1] * (PLACES - EXACT - 40))
    return exact, exact - (random.standard_normal(exact.shape) * sizes).astype(np.float32)


def plain(exact: np.ndarray, found: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Means of q q^T and of (x - q) q^T with a 1 appended to q and a 0 to x - q, in float64.

    Each sample counts what ``counts`` says, (groups, places); all the same without it.
    """
    x, q = (np.pad(each.astype(np.float64), ((0, 0), (0, 1), (0, 0)), constant_values=1) for each in (exact, found))
    counts = np.ones((x.shape[0], x.shape[2])) if counts is None else counts
    total = counts.sum(axis=1)[:, None, None]
    square, cross = (np.einsum("gip,gjp,gp->gij", each, q, counts) / total for each in (q, x - q))
    return square, cross


def counts_of(exact: np.ndarray, found: np.ndarray) -> np.ndarray:
    """1 up to twice the median of the errors that there are, and less in proportion beyond."""
    sizes = np.sqrt(((exact.astype(np.float64) - found) ** 2).sum(axis=1))
    limits = [2 * np.median(row[row > 0]) for row in sizes]
    return np.array(
        [[min(1.0, limit / size) if size else 1.0 for size in row] for row, limit in zip(sizes, limits, strict=True)]
    )


def means(exact: np.ndarray, found: np.ndarray, *, whole: bool = True) -> tuple[np.ndarray, np.ndarray]:
    seen = Moments(whole=whole)
    seen.add(exact, found)
    return seen.means()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_errors_beyond_twice_the_median_count_in_proportion(groups: int, whole: bool) -> None:
    """In each group for itself."""
    exact, found = samples(groups, 4)
    counts = counts_of(exact, found)
    assert 0.1 < (counts < 1).mean() < 0.4

    square, cross = means(exact, found, whole=whole)

    columns = slice(None) if whole else slice(-1, None)
    for result, expected, even in zip((square, cross), plain(exact, found, counts), plain(exact, found), strict=True):
        np.testing.assert_allclose(result, expected[:, :, columns], atol=ROUNDING)
        assert np.abs(result - even[:, :, columns]).max() > 100 * ROUNDING


def test_what_is_usual_is_usual_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here a block is one addition; the second has errors ten times as large, and they count as much."""
    parts = [samples(2, 4, seed) for seed in range(2)]
    parts[1] = (parts[1][0], parts[1][0] + 10 * (parts[1][1] - parts[1][0]))
    monkeypatch.setattr(moments, "_BLOCK", parts[0][0].size)

    seen = Moments(whole=True)
    for part in parts:
        seen.add(*part)

    exact, found = (np.concatenate(each, axis=2) for each in zip(*parts, strict=True))
    counts = np.concatenate([counts_of(*part) for part in parts], axis=1)
    assert seen.count == 2 * PLACES
    assert np.abs(counts - counts_of(exact, found)).max() > 0.1
    for result, expected in zip(seen.means(), plain(exact, found, counts), strict=True):
        # Of numbers that are ten times as large.
        np.testing.assert_allclose(result, expected, atol=100 * ROUNDING)


def test_means_are_the_same_when_asked_for_again() -> None:
    seen = Moments(whole=True)
    seen.add(*samples(1, 4, 1))
    seen.means()
    seen.add(*samples(1, 4, 2))

    first, again = seen.means(), seen.means()

    np.testing.assert_array_equal(first, again)
    assert seen.count == 2 * PLACES


def test_one_outlier_does_not_move_the_mean() -> None:
    random = np.random.default_rng(0)
    exact = random.standard_normal((1, 2, 1000)).astype(np.float32)
    found = exact - 0.5 - 0.1 * random.standard_normal((1, 2, 1000)).astype(np.float32)
    found[0, :, 8] = exact[0, :, 8] - 10_000

    _, cross = means(exact, found)

    np.testing.assert_allclose(cross[0, :2, -1], 0.5, atol=0.01)
    assert plain(exact, found)[1][0, :2, -1].min() > 10


def test_each_group_has_outliers_of_its_own() -> None:
    exact, found = np.zeros((2, 1, 4), np.float32), np.ones((2, 1, 4), np.float32)
    found[0, 0, 3] = 100

    square, cross = means(exact, found)

    # In the first group the last sample counts 2 / 100.
    np.testing.assert_allclose(cross[:, 0, 1], [-(3 + 2) / 3.02, -1], rtol=ROUNDING)
    np.testing.assert_allclose(square[:, 0, 0], [(3 + 200) / 3.02, 1], rtol=ROUNDING)


def test_equal_errors_count_in_full() -> None:
    """Of equal size in all, whatever their directions."""
    exact, _ = samples(2, 4)
    random = np.random.default_rng(3)
    directions = random.standard_normal(exact.shape)
    found = (exact - 5 * directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)

    for result, expected in zip(means(exact, found), plain(exact, found), strict=True):
        np.testing.assert_allclose(result, expected, atol=10 * ROUNDING)


@pytest.mark.parametrize("whole", [True, False])
def test_without_errors_all_samples_count_in_full(whole: bool) -> None:
    exact, _ = samples(2, 4)

    square, cross = means(exact, exact, whole=whole)

    np.testing.assert_allclose(
        square, plain(exact, exact)[0][:, :, slice(None) if whole else slice(-1, None)], atol=ROUNDING
    )
    assert not cross.any()


@pytest.mark.parametrize(("places", "every"), [(PLACES, 9), (1000, 100)])
def test_errors_are_usual_among_errors_not_among_zeros(places: int, every: int) -> None:
    """Where most inputs are exact, as behind a ReLU, the others would all be outliers."""
    exact = np.random.default_rng(0).standard_normal((1, 4, places)).astype(np.float32)
    found = exact.copy()
    found[:, :, 1::every] += 1

    for result, expected in zip(means(exact, found), plain(exact, found), strict=True):
        np.testing.assert_allclose(result, expected, atol=ROUNDING)


def test_a_square_stays_symmetric() -> None:
    """It is inverted by Cholesky's method."""
    square, _ = means(*samples(2, 40))

    np.testing.assert_array_equal(square, square.swapaxes(1, 2))


def test_nothing_seen_is_no_mean() -> None:
    seen = Moments(whole=True)

    square, cross = seen.means()

    assert seen.count == 0
    assert not square.any()
    assert not cross.any()
