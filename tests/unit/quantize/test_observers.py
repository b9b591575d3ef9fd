"""What observers make of particular tensors."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.observers import BINS, Histogram, MinMaxObserver, MseObserver, PercentileObserver, make_observer

Kind = Literal["minmax", "percentile", "mse"]
KINDS: tuple[Kind, ...] = ("minmax", "percentile", "mse")
NORMAL = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)


def observe(kind: Kind, *tensors: np.ndarray, percentile: float = 99.99) -> float:
    observer = make_observer(QuantizePart(observer=kind, percentile=percentile))
    for tensor in tensors:
        observer.update(tensor)
    return observer.range()


def test_a_recipe_names_its_observer() -> None:
    assert isinstance(make_observer(QuantizePart(observer="minmax")), MinMaxObserver)
    assert isinstance(make_observer(QuantizePart(observer="percentile")), PercentileObserver)
    assert isinstance(make_observer(QuantizePart(observer="mse")), MseObserver)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_have_no_range(kind: Kind) -> None:
    assert observe(kind, np.zeros((2, 3, 4), np.float32)) == 0
    assert observe(kind, np.zeros(0, np.float32)) == 0
    assert observe(kind) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_first_do_not_hide_what_follows(kind: Kind) -> None:
    assert observe(kind, np.zeros(10, np.float32), np.full(10, 3, np.float32)) == pytest.approx(3, rel=1 / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_negative_values_count_by_their_size(kind: Kind) -> None:
    assert observe(kind, -np.abs(NORMAL)) == observe(kind, np.abs(NORMAL))
    assert observe(kind, np.full(5, -2, np.float32)) == pytest.approx(2, rel=1 / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_values_below_fp32s_normal_numbers_are_counted(kind: Kind) -> None:
    assert observe(kind, np.float32([1e-40, 5e-41])) == pytest.approx(1e-40, rel=1e-3)


def test_a_percentile_leaves_an_outlier_out() -> None:
    outlier = np.append(NORMAL, np.float32(500))

    found = observe("percentile", outlier, percentile=99.99)

    expected = np.percentile(np.abs(outlier), 99.99, method="inverted_cdf")
    assert expected <= found <= expected + 500 / BINS
    assert observe("minmax", outlier) == 500


def test_a_huge_outlier_leaves_the_rest_one_bin() -> None:
    """Constant memory has its price: of values a million times smaller only the order of magnitude is known."""
    found = observe("percentile", np.append(NORMAL, np.float32(1e6)))

    assert found == pytest.approx(1e6 / BINS)


@pytest.mark.parametrize("size", [20, 100, 500])
def test_mse_clips_an_outlier_as_far_as_it_pays(size: float) -> None:
    assert observe("mse", np.append(NORMAL, np.float32(size))) < 0.85 * size


def test_mse_finds_the_best_range_of_a_laplace_distribution() -> None:
    """9.89 times its spread for 8 bits, by Banner et al., "Post training 4-bit quantization", 2019."""
    values = np.random.default_rng(0).laplace(size=100_000).astype(np.float32)

    assert observe("mse", values) == pytest.approx(9.89, rel=0.1)  # the bottom of the error's curve is flat


def test_mse_clips_nothing_of_a_uniform_distribution() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)

    assert observe("mse", values) == pytest.approx(1, rel=1 / 64)


def test_all_of_a_hundred_percent_is_the_maximum() -> None:
    peak = float(np.abs(NORMAL).max())

    assert peak <= observe("percentile", NORMAL, percentile=100) <= peak * (1 + 1 / BINS)


def test_many_updates_take_no_more_memory() -> None:
    random = np.random.default_rng(0)
    histogram = Histogram()
    for step in range(2000):
        histogram.update(random.standard_normal(50).astype(np.float32) * np.float32(1 + step))

    assert histogram.counts.shape == (BINS,)
    assert histogram.counts.nbytes == BINS * 8
    assert histogram.counts.sum() == 2000 * 50


def test_a_bin_includes_its_upper_edge() -> None:
    """So the largest value of the first batch stays where it is when the range is doubled."""
    histogram = Histogram()
    histogram.update(np.float32([0, 1]))
    assert (histogram.counts[0], histogram.counts[-1]) == (1, 1)

    histogram.update(np.float32([2]))

    assert histogram.top == 2
    assert np.flatnonzero(histogram.counts).tolist() == [0, BINS // 2 - 1, BINS - 1]
