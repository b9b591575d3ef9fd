"""Two networks, run up to one layer after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.layer_weights import read_weights, replace_weights
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize import side_by_side
from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.side_by_side import SideBySide

GraphOf = Callable[..., Any]

RANDOM = np.random.default_rng(0)
FRAMES = [{"x": RANDOM.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(5)]
# A residual addition, a constant that is computed, a body that reads a value from outside, and two ends.
TEXT = """net (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y, float[1, 4, 6, 6] z) {
    a = Conv(x, w)
    r = Relu(a)
    k = Exp(c)
    b = Conv(r, v)
    s = Add(b, r)
    t = Mul(s, k)
    y = Conv(t, w)
    o = Abs(s)
    q = If(yes) <
        then_branch = then () => (float[1, 4, 6, 6] p) { p = Add(r, o) },
        else_branch = other () => (float[1, 4, 6, 6] n) { n = Neg(r) }
    >
    z = Conv(q, v)
}"""
ARRAYS = {
    "w": RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32),
    "v": RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32),
    "c": np.float32([0.5]),
    "yes": np.asarray(True),
}
# What a person would name, one behind the other; some are there already when they are wanted.
STEPS: list[set[str]] = [{"x"}, {"a", "r"}, {"s"}, {"q", "t"}, {"y", "r"}]


def network(graph_of: GraphOf) -> ir.Model:
    model = graph_of(TEXT, **ARRAYS)
    infer_shapes(model)
    return model


def expected(model: ir.Model, names: set[str]) -> list[dict[str, np.ndarray]]:
    found: list[dict[str, np.ndarray]] = [{} for _ in FRAMES]
    for index, (name, array) in enumerate(run_observed(model, sorted(names), FRAMES)):
        found[index // len(names)][name] = array
    return found


@pytest.mark.parametrize("memory", [0, 2**30], ids=["from the start each time", "from what is kept"])
def test_values_are_those_of_the_whole_network(graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(side_by_side, "_MOST_BYTES", memory)
    model = network(graph_of)
    networks = SideBySide((model, network(graph_of)), FRAMES)

    for index, names in enumerate(STEPS):
        later = set[str]().union(*STEPS[index + 1 :])
        found = list(networks.observe(names, later))
        wanted = expected(model, names)

        assert len(found) == len(FRAMES)
        for pair, frame in zip(found, wanted, strict=True):
            for values in pair:
                assert values.keys() == names
                for name, array in frame.items():
                    np.testing.assert_array_equal(values[name], array)


@pytest.mark.parametrize("memory", [0, 2**30], ids=["from the start each time", "from what is kept"])
def test_a_layer_that_was_changed_is_seen_behind_it(
    graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    monkeypatch.setattr(side_by_side, "_MOST_BYTES", memory)
    model, changed = network(graph_of), network(graph_of)
    networks = SideBySide((model, changed), FRAMES)
    list(networks.observe({"x"}, {"r", "t"}))
    layer = next(node for node in changed.graph if node.outputs[0].name == "a")
    weights = read_weights(layer)
    assert weights is not None
    replace_weights(changed.graph, layer, weights, weights.weight * 2, weights.bias.reshape(-1), "doubled")

    list(networks.observe({"r"}, {"t"}))
    found = list(networks.observe({"t"}, ()))

    for (same, other), one, two in zip(found, expected(model, {"t"}), expected(changed, {"t"}), strict=True):
        np.testing.assert_array_equal(same["t"], one["t"])
        np.testing.assert_array_equal(other["t"], two["t"])
        assert (one["t"] != two["t"]).any()


def test_what_was_run_is_not_run_again(graph_of: GraphOf) -> None:
    """Only what later parts need is kept, and what stands before it is not looked at any more."""
    model = network(graph_of)
    networks = SideBySide((model,), FRAMES)
    list(networks.observe({"s"}, {"t"}))
    layer = next(node for node in model.graph if node.outputs[0].name == "a")
    weights = read_weights(layer)
    assert weights is not None
    before = expected(model, {"t"})
    replace_weights(model.graph, layer, weights, weights.weight * 2, weights.bias.reshape(-1), "doubled")

    for (values,), frame in zip(networks.observe({"t"}, ()), before, strict=True):
        np.testing.assert_array_equal(values["t"], frame["t"])


def test_no_frames_give_nothing(graph_of: GraphOf) -> None:
    networks = SideBySide((network(graph_of),), [])

    assert list(networks.observe({"r"}, {"t"})) == []
    assert list(networks.observe({"t"}, ())) == []
