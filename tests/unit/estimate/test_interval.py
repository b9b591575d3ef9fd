"""The interval around an estimate: by hand, and how often it holds what it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.estimate.cost import LeftOut, load_parameters
from edgecnn.estimate.interval import interval_of

EFFICIENCY = load_parameters().efficiency


def fold(*ratios: float) -> LeftOut:
    return LeftOut(without="device x", efficiency=EFFICIENCY, ratios=ratios)


def test_the_interval_lies_between_products_of_estimates_and_their_errors() -> None:
    """Products are 5 ... 9 and 16 ... 28: of ten the first and the tenth; of nineteen the second from either end."""
    folds = [fold(0.5, 0.6, 0.7, 0.8, 0.9), fold(0.8, 0.9, 1.0, 1.2, 1.4)]
    assert interval_of([10.0, 20.0], folds) == pytest.approx((5, 28))
    steps = fold(*(1 + index / 10 for index in range(19)))
    assert interval_of([1.0], [steps]) == pytest.approx((1.1, 2.7))


def test_few_errors_give_the_widest_there_is() -> None:
    assert interval_of([4.0], [fold(0.5, 2.0)]) == (2, 8)


def test_of_a_constant_that_is_fitted_four_fifths_are_held() -> None:
    """Points of twelve boards, each with an error of its own; the estimate is the mean of the others."""
    draw = np.random.default_rng(1)
    held: list[bool] = []
    for _ in range(300):
        boards = np.exp(draw.normal(0, 0.3, 13)[:, None] + draw.normal(0, 0.05, (13, 4)))
        seen, new = boards[:12], boards[12]
        means = [float(np.delete(seen, index, axis=0).mean()) for index in range(12)]
        folds = [fold(*(seen[index] / means[index])) for index in range(12)]
        low, high = interval_of(means, folds)
        held += [bool(low <= each <= high) for each in new]
    assert 0.76 <= np.mean(held) <= 0.9


def test_the_package_s_fits_leave_out_boards_and_families() -> None:
    without = [fit.without for fit in load_parameters().left_out]
    assert len(without) == len(set(without)) >= 12
    assert {name.split()[0] for name in without} == {"device", "family"}
    points = {
        kind: sum(len(fit.ratios) for fit in load_parameters().left_out if kind in fit.without)
        for kind in ("device ", "family ")
    }
    assert points["device "] == points["family "] > 100
