"""What observers make of particular tensors."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize.histograms import BINS, Extremes, Histogram
from edgecnn.quantize.observers import entropy, find_range, make_histogram, other_ranges
from edgecnn.quantize.ranges import Range

Kind = Literal["minmax", "percentile", "entropy", "mse"]
KINDS: tuple[Kind, ...] = ("minmax", "percentile", "entropy", "mse")
NORMAL = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
# For entropy: with fewer values in the bins around 4 the noise of counting hides the bottom of the curve.
MANY = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)


def observe(kind: Kind, *tensors: np.ndarray, percentile: float = 99.99) -> float:
    return observe_ends(kind, *tensors, percentile=percentile, symmetric=True).high


def observe_ends(kind: Kind, *tensors: np.ndarray, percentile: float = 99.99, symmetric: bool = False) -> Range:
    config = QuantizePart(observer=kind, percentile=percentile)
    seen = make_histogram(config)
    for tensor in tensors:
        # In parts that are small enough for all their values to count.
        for part in np.array_split(tensor.reshape(-1), tensor.size // 2**17 + 1):
            seen.update(part)
    return find_range(seen, config, symmetric=symmetric)


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


# Of four batches of 3,000 values each, by the code that knew absolute values only: minmax, percentile 99.5, mse.
SYMMETRIC = {
    "uniform": (0.264367938041687, 0.25947105008526705, 0.2624189931452747),
    "normal": (11.65665340423584, 7.063154596835375, 11.024384358100315),
    "relu": (11.65665340423584, 6.273176055401564, 11.295440510524012),
    "negative": (11.65665340423584, 7.063154596835375, 11.024384358100315),
    "laplace": (2.182161808013916, 1.1276245571207255, 2.115057264122719),
    "tails": (2517.12890625, 295.4881590604782, 2498.7635896542643),
}


def growing(shape: str) -> list[np.ndarray]:
    random = np.random.default_rng(11)
    found: list[np.ndarray] = []
    for _ in range(4):
        size = np.float32(2.0 ** random.uniform(-3, 3))
        match shape:
            case "uniform":
                values = random.random((2, 3, 500)) * 2 - 1
            case "laplace":
                values = random.laplace(size=(2, 3, 500)) + 0.5
            case _:
                values = random.standard_normal((2, 3, 500))
        match shape:
            case "relu":
                values = np.maximum(values, 0)
            case "negative":
                values = -np.abs(values)
            case "tails":
                values = values**5
            case _:
                pass
        found.append(values.astype(np.float32) * size)
    return found


@pytest.mark.parametrize("shape", SYMMETRIC)
def test_symmetric_ranges_are_those_of_absolute_values(shape: str) -> None:
    assert (
        observe("minmax", *growing(shape)),
        observe("percentile", *growing(shape), percentile=99.5),
        observe("mse", *growing(shape)),
    ) == SYMMETRIC[shape]


# What other steps, or a search from the other side, may make of a range: error and divergence are flat at the bottom.
SIMILAR = {"minmax": 0, "percentile": 0, "entropy": 0.15, "mse": 0.1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_relu_has_one_range_whether_symmetric_or_not(kind: Kind) -> None:
    found = observe_ends(kind, np.maximum(MANY, 0), percentile=99.5)

    assert found.low == 0
    assert found.high == pytest.approx(observe(kind, np.maximum(MANY, 0), percentile=99.5), rel=SIMILAR[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_ends_swap_with_the_sign(kind: Kind) -> None:
    values = np.exp(NORMAL) - 1
    found, mirrored = observe_ends(kind, values), observe_ends(kind, -values)

    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low), rel=max(SIMILAR[kind], 1e-9))
    assert -1 <= found.low < -0.8
    assert found.high > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2.0, -2.0, 0.0])
def test_zero_is_in_every_range(kind: Kind, size: float) -> None:
    found = observe_ends(kind, np.full(5, size, np.float32))

    assert found.low == pytest.approx(min(size, 0), rel=1 / BINS)
    assert found.high == pytest.approx(max(size, 0), rel=1 / BINS)


def test_each_end_gives_up_its_part() -> None:
    values = np.concatenate([NORMAL, np.float32([100, 200]), np.float32([-50])])
    found = observe_ends("percentile", values, percentile=99.9)

    assert found.high == pytest.approx(np.percentile(values, 99.9, method="inverted_cdf"), abs=200 / BINS)
    assert found.low == pytest.approx(np.percentile(values, 0.1, method="inverted_cdf"), abs=200 / BINS)


def test_mse_clips_each_end_as_far_as_it_pays() -> None:
    found = observe_ends("mse", np.append(np.maximum(NORMAL, -0.5), np.float32(20)))

    assert found.low == pytest.approx(-0.5, rel=0.1)
    # Where the error's derivative by the end is 0: 100,000 (high + 0.5) / (12 * 255^2) = 20 - high.
    assert found.high == pytest.approx(17.7, rel=0.01)


OUTLIERS = np.float32([10, -12, 15, 20, -20])


@pytest.mark.parametrize("symmetric", [True, False])
def test_entropy_clips_a_normal_distribution_with_outliers_where_it_ends(symmetric: bool) -> None:
    found = observe_ends("entropy", np.append(OUTLIERS, MANY), symmetric=symmetric)

    assert -5 < found.low < -4
    assert 4 < found.high < 5


@pytest.mark.parametrize("symmetric", [True, False])
def test_entropy_clips_nothing_of_a_uniform_distribution(symmetric: bool) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)
    found = observe_ends("entropy", values, symmetric=symmetric)

    assert found.low == pytest.approx(-1, rel=1 / 64)
    assert found.high == pytest.approx(1, rel=1 / 64)


@pytest.mark.parametrize("symmetric", [True, False])
def test_entropy_does_not_count_what_a_relu_makes_zero(symmetric: bool) -> None:
    values = np.abs(np.append(OUTLIERS, MANY))

    found, many_zeros = (
        observe_ends("entropy", np.append(values, np.zeros(zeros, np.float32)), symmetric=symmetric)
        for zeros in (0, 10**6)
    )

    assert found == many_zeros
    assert found.low == (-found.high if symmetric else 0)


def test_entropy_keeps_the_ceiling_of_a_relu6() -> None:
    values = np.clip(3 * NORMAL, 0, 6)

    assert observe_ends("entropy", values) == Range(0, 6)
    assert observe("entropy", values) == 6


def test_entropy_of_two_values_keeps_both() -> None:
    assert observe("entropy", np.repeat(np.float32([1, 4]), 100)) == 4
    assert observe_ends("entropy", np.repeat(np.float32([-1, 4]), 100)) == Range(-1, 4)


def divergence(histogram: Histogram, found: Range, symmetric: bool) -> float:
    """Kullback and Leibler's, as Migacz describes it, value by value and in double precision."""
    bins: dict[float, float] = {}
    for sign, side in zip((-1, 1), histogram.counts.astype(float).tolist(), strict=True):
        side[0] = min(side[0], side[1])
        for index, count in enumerate(side):
            centre = (index + 0.5) * histogram.top / BINS
            centre = centre if symmetric else sign * centre
            bins[centre] = bins.get(centre, 0) + count
    scale = found.high / 127 if symmetric else (found.high - found.low) / 255
    low = 0.0 if symmetric else -round(-found.low / scale) * scale
    high = found.high if symmetric else low + 255 * scale
    inside = sorted(centre for centre in bins if low <= centre < high)
    if len(inside) < (128 if symmetric else 256) or not any(bins[centre] for centre in inside):
        return math.inf
    reference = {centre: bins[centre] for centre in inside}
    reference[inside[0]] += sum(count for centre, count in bins.items() if centre < low)
    reference[inside[-1]] += sum(count for centre, count in bins.items() if centre >= high)
    members: dict[int, list[float]] = {}
    for centre in inside:
        members.setdefault(round(centre / scale), []).append(centre)
    candidate: dict[float, float] = {}
    for group in members.values():
        filled = [centre for centre in group if bins[centre]]
        candidate.update({centre: sum(bins[each] for each in group) / len(filled) for centre in filled})
    pairs = [(reference[centre], candidate.get(centre, 0.5)) for centre in inside if reference[centre]]
    p_sum, q_sum = (math.fsum(column) for column in zip(*pairs, strict=True))
    return math.fsum(p / p_sum * math.log(p / p_sum / (q / q_sum)) for p, q in pairs)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("shape", ["relu", "laplace", "tails"])
def test_entropy_is_the_least_divergence(shape: str, symmetric: bool) -> None:
    """Of 128 sizes; where there are two ends, of the lower one, which is chosen last."""
    histogram = Histogram()
    for part in growing(shape):
        histogram.update(part)
    low = -histogram.extent().peak if symmetric else histogram.extent().low

    found = entropy(histogram, symmetric=symmetric)

    tried = [low * part for part in np.linspace(1 / 64, 1, 128)[::-1]] if low else [0.0]
    ranges = [Range(end, -end if symmetric else found.high) for end in tried]
    assert found == min(ranges, key=lambda each: divergence(histogram, each, symmetric))
    if not symmetric:
        whole = Range(low, histogram.extent().high)
        assert divergence(histogram, found, symmetric) < divergence(histogram, whole, symmetric)


@pytest.mark.parametrize("symmetric", [True, False])
def test_auto_begins_with_the_least_error_and_offers_what_the_others_find(symmetric: bool) -> None:
    config = QuantizePart(observer="auto", percentile=99.5)
    seen = make_histogram(config)
    for part in growing("laplace"):
        seen.update(part)

    first = find_range(seen, config, symmetric=symmetric)
    others = other_ranges(seen, config, symmetric=symmetric)

    alone = {kind: observe_ends(kind, *growing("laplace"), percentile=99.5, symmetric=symmetric) for kind in KINDS}
    assert first == alone.pop("mse")
    assert len(others) == 3
    assert {first, *others} == {first, *alone.values()}
    assert len({first, *others}) == 4


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_offer_nothing_else(symmetric: bool) -> None:
    seen = Histogram()
    seen.update(np.zeros(10, np.float32))

    assert find_range(seen, QuantizePart(observer="auto"), symmetric=symmetric) == Range(0, 0)
    assert {*other_ranges(seen, QuantizePart(observer="auto"), symmetric=symmetric)} == {Range(0, 0)}


def test_extremes_have_no_others() -> None:
    """There is nothing else to know of them."""
    seen = Extremes()
    seen.update(np.array([-1, 3], np.float32))

    assert find_range(seen, QuantizePart(observer="auto"), symmetric=False) == Range(-1, 3)
    assert other_ranges(seen, QuantizePart(observer="auto"), symmetric=False) == ()
