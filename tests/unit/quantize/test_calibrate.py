"""Ranges of a network's values over frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.errors import InputError
from edgecnn.quantize.calibrate import collect_ranges, run_observed
from edgecnn.quantize.ranges import Range

GraphOf = Callable[..., Any]

TEXT = """net (float[1, 2] x) => (float[1, 2] y, float[1, 2] b) {
    a = Mul(x, k)
    b = Relu(a)
    y = Exp(b)
}"""
K = np.float32([2, -3])
MINMAX = QuantizePart(observer="minmax")


def frames(*rows: tuple[float, float]) -> Iterator[dict[str, np.ndarray]]:
    for row in rows:
        yield {"x": np.float32([row])}


def test_inputs_inner_values_and_outputs_are_observed(graph_of: GraphOf) -> None:
    model = graph_of(TEXT, k=K)

    ranges = collect_ranges(model, ["x", "a", "b"], frames((1, 1), (-4, 2)), MINMAX)

    assert ranges == {"x": Range(-4, 4), "a": Range(-8, 8), "b": Range(-2, 2)}


def test_two_ends_are_observed_where_wanted(graph_of: GraphOf) -> None:
    model = graph_of(TEXT, k=K)

    ranges = collect_ranges(model, ["x", "a", "b"], frames((1, 1), (-4, 2)), MINMAX, symmetric=False)

    assert ranges == {"x": Range(-4, 2), "a": Range(-8, 2), "b": Range(0, 2)}


def test_values_come_frame_by_frame(graph_of: GraphOf) -> None:
    """Each frame is read one before its values are wanted, so that it is run meanwhile: others are not in memory."""
    read: list[float] = []

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for feed in frames((1, 1), (-4, 2), (0, 0)):
            read.append(float(feed["x"][0, 0]))
            yield feed

    values = run_observed(graph_of(TEXT, k=K), ["x", "b"], feeds())

    assert read == []
    name, array = next(values)
    assert (name, array.tolist(), read) == ("x", [[1, 1]], [1, -4])
    assert [(name, array.tolist()) for name, array in values] == [
        ("b", [[2, 0]]),
        ("x", [[-4, 2]]),
        ("b", [[0, 0]]),
        ("x", [[0, 0]]),
        ("b", [[0, 0]]),
    ]


def test_no_frames_give_no_values(graph_of: GraphOf) -> None:
    model = graph_of(TEXT, k=K)

    assert list(run_observed(model, ["a"], [])) == []
    assert collect_ranges(model, ["a"], [], MINMAX) == {"a": Range(0, 0)}


def test_the_model_is_left_as_it_was(graph_of: GraphOf) -> None:
    model = graph_of(TEXT, k=K)
    before = ir.to_proto(model).SerializeToString()

    collect_ranges(model, ["a"], frames((1, 1)), MINMAX)

    assert ir.to_proto(model).SerializeToString() == before


def test_the_recipes_observer_decides(graph_of: GraphOf) -> None:
    model = graph_of(TEXT, k=K)
    rows = [(1.0, 1.0)] * 99 + [(100.0, 1.0)]

    ranges = collect_ranges(model, ["x"], frames(*rows), QuantizePart(observer="percentile", percentile=90))

    assert ranges["x"].high == pytest.approx(1, abs=100 / 4096)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("observer", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("name", ["x", "a"])
def test_a_value_without_a_range_is_refused(graph_of: GraphOf, wrong: float, observer: str, name: str) -> None:
    model = graph_of(TEXT, k=K)
    config = QuantizePart.model_validate({"observer": observer})

    with pytest.raises(InputError, match=f"calibration: {name} holds infinity or NaN"):
        collect_ranges(model, [name], frames((1, 1), (wrong, 1)), config)
