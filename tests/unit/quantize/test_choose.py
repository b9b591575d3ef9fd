"""Ranges at which a network's outputs stay nearest to FP32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize import choose
from edgecnn.quantize.choose import choose_ranges
from edgecnn.quantize.network import calibrate_network
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import TENSORRT, Scheme
from edgecnn.quantize.trials import activation_errors

GraphOf = Callable[..., Any]
Frames = list[dict[str, np.ndarray]]

AFFINE = Scheme("affine", weights_as_int8=True, symmetric=False)
PICTURE = "float[1, 3, 8, 8]"
SUM = f"net ({PICTURE} x) => (float[1, 1, 8, 8] y) {{ y = Conv(x, w) }}"
CUT_OFF = f"net ({PICTURE} x) => (float[1, 1, 8, 8] y) {{ a = Conv(x, w) y = Clip(a, low, high) }}"
CHAIN = f"""net ({PICTURE} x) => ({PICTURE} y) {{
    a = Conv(x, w) r = Relu(a) [second] c = Conv(r, w) s = Relu(c) y = Conv(s, w)
}}"""
BOUNDS = {"low": np.full((), -6, np.float32), "high": np.full((), 6, np.float32)}


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def row(*values: float) -> np.ndarray:
    """Of one output channel."""
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def pictures(*size: float, count: int = 8) -> Frames:
    """With channels of three sizes, and heavy tails."""
    random = np.random.default_rng(5)
    values = random.laplace(size=(count, 1, 3, 8, 8)) * np.reshape(size, (-1, 1, 1))
    return [{"x": each} for each in values.astype(np.float32)]


def between(low: float, high: float) -> Frames:
    """So many that an error falls with the step, and chance does not matter."""
    random = np.random.default_rng(6)
    return [{"x": random.uniform(low, high, (1, 3, 8, 8)).astype(np.float32)} for _ in range(64)]


def nothing_else(name: str) -> tuple[Range, ...]:
    """No candidates."""
    assert name
    return ()


def found_for(
    model: ir.Model,
    first: Range,
    frames: Frames,
    scheme: Scheme = TENSORRT,
    candidates: Callable[[str], Sequence[Range]] = nothing_else,
) -> Range:
    """What is chosen for the input, which makes all of the error."""
    ranges = {"x": first}
    return {**ranges, **choose_ranges(model, ranges, {"x": 1.0}, candidates, frames, scheme)}["x"]


def error(model: ir.Model, seen: Range, frames: Frames, scheme: Scheme = TENSORRT) -> float:
    return activation_errors(model, {"x": seen}, frames, scheme)["x"]


def test_a_channel_that_no_layer_reads_does_not_widen_the_range(graph_of: GraphOf) -> None:
    """The tensor's own squared error would have it otherwise."""
    frames, first = pictures(4, 0.1, 0.1), Range(-32, 32)

    unread, read = (found_for(graph_of(SUM, w=row(*each)), first, frames) for each in ((0, 1, 1), (1, 1, 1)))

    assert unread.high <= 1
    assert read.high >= 4


def test_a_rare_peak_that_matters_is_not_clipped(graph_of: GraphOf) -> None:
    """One number of 1,536; a ReLU6 behind the layer would not let through what it does."""
    frames, first = pictures(1, 1, 1), Range(-100, 100)
    frames[3]["x"][0, 1, 2, 2] = 99

    matters, cut_off = (
        found_for(graph_of(text, w=row(1, 1, 1), **arrays), first, frames)
        for text, arrays in ((SUM, dict[str, np.ndarray]()), (CUT_OFF, BOUNDS))
    )

    assert matters.high >= 99
    assert 5 < cut_off.high < 20


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 0.2, 0.1), (0.05, 0.3, 0.1)])
@pytest.mark.parametrize("text", [SUM, CUT_OFF], ids=["all counts", "not what is cut off"])
def test_no_narrower_range_is_much_better(graph_of: GraphOf, text: str, size: tuple[float, ...]) -> None:
    """A step is a sixth of the range, and the best one may lie between two."""
    model, frames, first = graph_of(text, w=row(1, -0.5, 2), **BOUNDS), pictures(*size, count=32), Range(-64, 64)

    found = found_for(model, first, frames)

    errors = [error(model, Range(-64 / part, 64 / part), frames) for part in 2 ** np.linspace(0, 10, 81)]
    assert found.low == -found.high
    assert error(model, found, frames) < 1.2 * min(errors) < errors[0] / 2


def test_candidates_are_tried_first_and_drawn_in_from_there(graph_of: GraphOf) -> None:
    """Nothing is widened step by step, so that a candidate alone leads out of a range that clips."""
    model, frames = graph_of(SUM, w=row(1, 1, 1)), pictures(1, 1, 1)
    narrow, wide, best = Range(-1, 1), Range(-64, 64), found_for(model, Range(-64, 64), frames)
    assert 4 < best.high < 16

    assert found_for(model, narrow, frames) == narrow
    assert found_for(model, narrow, frames, candidates=lambda _: (wide,)) == best
    assert found_for(model, narrow, frames, candidates=lambda _: (best, wide)) == best
    assert found_for(model, wide, frames, candidates=lambda _: (narrow,)) == best


def test_the_best_candidate_is_taken(graph_of: GraphOf) -> None:
    """Though no step towards it is better than the one before."""
    model, frames = graph_of(CUT_OFF, w=row(1, 1, 1), **BOUNDS), pictures(0.01, 0.01, 0.01)
    for frame in frames:
        frame["x"][0, :, 0, 0] = 90
    candidates = (Range(-50, 50), Range(-2, 2), Range(-3, 3), Range(-90, 90))

    found = found_for(model, Range(-100, 100), frames, candidates=lambda _: candidates)

    # Three times 2 is all that the ReLU6 lets through.
    assert found == Range(-2, 2)


@pytest.mark.parametrize(
    ("first", "low", "high"),
    [
        (Range(-16, 4), -1, 4),
        (Range(-1, 32), -1, 4),
        (Range(-16, 32), -1, 4),
        (Range(0, 32), 0, 4),
        (Range(-32, 0), -4, 0),
        (Range(-4, 16), -4, 1),
    ],
)
@pytest.mark.parametrize("scheme", [AFFINE, TENSORRT], ids=["affine", "centred"])
def test_both_ends_are_drawn_in_for_themselves(
    graph_of: GraphOf, scheme: Scheme, first: Range, low: float, high: float
) -> None:
    model, frames = graph_of(SUM, w=row(1, 1, 1)), between(low, high)

    found = found_for(model, first, frames, scheme)

    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_a_symmetric_range_stays_symmetric_where_the_scheme_is(graph_of: GraphOf) -> None:
    """One that is not is that of a value whose middle is taken off, and this one has no layer before it to do so."""
    model, frames = graph_of(SUM, w=row(1, 1, 1)), between(0, 4)

    symmetric, affine = (found_for(model, Range(-16, 16), frames, scheme) for scheme in (TENSORRT, AFFINE))

    assert symmetric.high == -symmetric.low == pytest.approx(4)
    assert -1 < affine.low <= 0
    assert affine.high == pytest.approx(4)


def test_ranges_that_cannot_be_improved_are_not_returned(graph_of: GraphOf) -> None:
    model, frames = graph_of(CHAIN, w=weights(3, 3, 1, 1)), pictures(1, 1, 1)
    ranges, errors = dict.fromkeys("xrs", Range(-64, 64)), dict.fromkeys("xrs", 1.0)

    found = choose_ranges(model, ranges, errors, nothing_else, frames, TENSORRT)
    again = choose_ranges(model, ranges | found, errors, nothing_else, frames, TENSORRT)
    one = choose_ranges(model, found | {"r": Range(-64, 64)}, errors, nothing_else, frames, TENSORRT)

    assert list(found) == ["x", "r", "s"]
    assert again == {}
    assert one == {"r": found["r"]}


def test_each_is_chosen_with_the_others_in_fp32(graph_of: GraphOf) -> None:
    model, frames = graph_of(CHAIN, w=weights(3, 3, 1, 1)), pictures(1, 1, 1)
    ranges, errors = dict.fromkeys("xrs", Range(-64, 64)), dict.fromkeys("xrs", 1.0)

    together = choose_ranges(model, ranges, errors, nothing_else, frames, TENSORRT)

    for name in ranges:
        alone = choose_ranges(model, {name: Range(-64, 64)}, {name: 1.0}, nothing_else, frames, TENSORRT)
        assert alone == {name: together[name]}


def test_what_makes_less_than_a_hundredth_of_the_error_is_not_tried(graph_of: GraphOf) -> None:
    asked: list[str] = []

    def candidates(name: str) -> tuple[Range, ...]:
        asked.append(name)
        return ()

    model, frames = graph_of(CHAIN, w=weights(3, 3, 1, 1)), pictures(1, 1, 1)
    errors = {"s": 0.975, "r": 0.009, "x": 0.016}

    found = choose_ranges(model, dict.fromkeys("xrs", Range(-64, 64)), errors, candidates, frames, TENSORRT)

    assert asked == ["x", "s"]
    assert list(found) == ["x", "s"]


@pytest.mark.parametrize("errors", [{}, {"x": 0.0, "r": 0.0}])
def test_without_errors_nothing_is_run(
    graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch, errors: dict[str, float]
) -> None:
    def never(*_: object) -> Iterator[Any]:
        raise AssertionError
        yield

    monkeypatch.setattr(choose, "trials", never)
    ranges = dict.fromkeys("xrs", Range(-64, 64))

    assert choose_ranges(graph_of(CHAIN, w=weights(3, 3, 1, 1)), ranges, errors, nothing_else, [], TENSORRT) == {}


def test_what_is_left_out_does_not_count(graph_of: GraphOf) -> None:
    """Another layer reads the large channel, but stays in FP32."""
    text = f"""net ({PICTURE} x) => (float[1, 1, 8, 8] y, float[1, 1, 8, 8] z) {{
        y = Conv(x, w) [other] z = Conv(x, v)
    }}"""
    model, frames, ranges = graph_of(text, w=row(0, 1, 1), v=row(1, 0, 0)), pictures(4, 0.1, 0.1), {"x": Range(-32, 32)}

    without, both = (
        choose_ranges(model, ranges, {"x": 1.0}, nothing_else, frames, TENSORRT, exclude).get("x", ranges["x"])
        for exclude in (("other",), ())
    )

    assert without.high <= 1
    assert both.high >= 4


@pytest.mark.parametrize("scheme", [TENSORRT, AFFINE], ids=["symmetric", "affine"])
def test_zeros_keep_their_range(graph_of: GraphOf, scheme: Scheme) -> None:
    model, frames = graph_of(SUM, w=row(1, 1, 1)), [{"x": np.zeros((1, 3, 8, 8), np.float32)}]

    for first in (Range(0, 0), Range(-1, 1), Range(-1, 2)):
        assert found_for(model, first, frames, scheme, lambda _: (Range(-3, 3), Range(0, 0))) == first


def test_a_recipe_with_auto_chooses_on_some_of_the_pictures(graph_of: GraphOf) -> None:
    asked: list[tuple[str, int | None]] = []

    def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        asked.append((purpose, most))
        return iter(pictures(4, 0.1, 0.1, count=50)[:most])

    model = graph_of(SUM, w=row(0, 1, 1))
    by_error, by_outputs = (
        calibrate_network(
            ir.from_proto(ir.to_proto(model)),
            feeds,
            QuantizePart.model_validate({"observer": observer, "equalize": False}),
        ).ranges["x"]
        for observer in ("mse", "auto")
    )

    frames = pictures(4, 0.1, 0.1, count=50)
    assert by_outputs.high < by_error.high / 4
    assert error(model, by_outputs, frames) < error(model, by_error, frames) / 4
    # As many as have 6 MiB, of 768 bytes each.
    assert asked == [
        ("calibrate ranges", None),
        ("read pictures again", 100),
        ("calibrate ranges", None),
        ("try activations", 8),
        ("choose ranges", 6 * 2**20 // 768),
        ("read pictures again", 100),
    ]


def test_a_peak_in_one_of_two_hundred_pictures_is_seen(graph_of: GraphOf) -> None:
    """It is in none of forty that lie evenly among them."""
    frames = pictures(1, 1, 1, count=200)
    frames[7]["x"][..., 3, 3] = 40

    def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        return iter(frames[:: -(-len(frames) // (most or len(frames)))])

    model = graph_of(SUM, w=row(1, 1, 1))
    found = calibrate_network(ir.from_proto(ir.to_proto(model)), feeds, QuantizePart(observer="auto", equalize=False))

    # Uniform noise of a range up to 40 costs this much more than of one of 10, the clipped peak as much as its square.
    assert found.ranges["x"].high > 20


def test_large_activations_are_tried_on_forty(graph_of: GraphOf) -> None:
    asked: dict[str, int | None] = {}

    def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        asked[purpose] = most
        return iter([{"x": np.ones((1, 1, 512, 512), np.float32)}])

    text = "net (float[1, 1, 512, 512] x) => (float[1, 1, 512, 512] y) { y = Conv(x, w) }"
    calibrate_network(graph_of(text, w=np.ones((1, 1, 1, 1), np.float32)), feeds, QuantizePart(observer="auto"))

    assert asked["choose ranges"] == 40
