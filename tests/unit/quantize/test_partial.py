"""One network, run part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.model import bytes_of
from edgecnn.quantize.partial import PartialNetwork, read_by, run_part

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

RANDOM = np.random.default_rng(0)
FRAMES = [{"x": RANDOM.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(3)]
# A value that is read again later, a constant that is computed for two, and a branch beside what is joined first.
TEXT = """net (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y, float[1, 4, 6, 6] z) {
    v = Conv(x, w)
    n = Tanh(v)
    r = Abs(v)
    k = Exp(c)
    t = Mul(r, k)
    s = Add(n, t)
    y = Conv(s, w)
    u = Mul(t, k)
    z = Conv(u, w)
}"""
ARRAYS = {"w": RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32), "c": np.full(1, 0.5, np.float32)}
BODY = """net (float[1, 4] x) => (float[1, 4] q) {
    r = Relu(x)
    o = Abs(x)
    q = If(yes) <
        then_branch = then () => (float[1, 4] p) { i = Neg(r) p = Exp(i) },
        else_branch = other () => (float[1, 4] n) { n = Neg(o) }
    >
}"""


def network(graph_of: GraphOf, frames: list[dict[str, np.ndarray]] = FRAMES) -> PartialNetwork:
    return PartialNetwork(graph_of(TEXT, **ARRAYS), frames)


def names(cut: frozenset[ir.Value]) -> set[str]:
    return {str(value.name) for value in cut}


@pytest.mark.parametrize(
    ("done", "later", "expected"),
    [
        ({"x"}, {"y", "z"}, {"x"}),
        ({"v"}, {"y", "z"}, {"v"}),
        ({"r"}, {"y"}, {"v", "r"}),
        ({"r"}, {"z"}, {"r"}),
        ({"s"}, {"y", "z"}, {"s", "t"}),
        ({"u"}, {"y", "z"}, {"u", "v", "t"}),
        ({"y"}, {"y", "z"}, {"y", "t"}),
        ({"s"}, (), set[str]()),
    ],
)
def test_a_cut_is_what_is_read_behind_it(
    graph_of: GraphOf, done: set[str], later: set[str], expected: set[str]
) -> None:
    """Without what is the same for every frame: weights, and what is computed from them."""
    assert names(network(graph_of).cut_behind(done, later)) == expected


def test_from_a_cut_on_all_is_as_in_the_whole_network(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """Also if the next cut is not behind the one before: what was joined is not taken apart again."""
    parts = network(graph_of)
    expected = [outputs_of(graph_of(TEXT, **ARRAYS), **frame) for frame in FRAMES]

    for name, kept in (("r", {"v", "r"}), ("s", {"s", "t"}), ("u", {"s", "u"}), ("y", {"y", "u"})):
        parts.advance(parts.cut_behind({name}, {"y", "z"}))

        assert names(parts.begin) == kept
        assert [frame.keys() for frame in parts.kept] == [kept] * len(FRAMES)
        found = parts.run({"y", "z"})
        for frame, wanted in zip(found, expected, strict=True):
            assert frame.keys() == {"y", "z"}
            np.testing.assert_array_equal(frame["y"], wanted["y"])
            np.testing.assert_array_equal(frame["z"], wanted["z"])


def test_what_is_kept_is_what_goes_on(graph_of: GraphOf) -> None:
    parts = network(graph_of)
    parts.advance(parts.cut_behind({"s"}, {"y", "z"}))
    before = parts.run({"y", "z"})

    for kept in parts.kept:
        kept["s"] = np.zeros_like(kept["s"])

    for frame, changed in zip(before, parts.run({"y", "z"}), strict=True):
        assert frame["y"].any()
        assert not changed["y"].any()
        np.testing.assert_array_equal(changed["z"], frame["z"])


def test_a_part_reads_only_what_it_needs(graph_of: GraphOf) -> None:
    parts = network(graph_of)
    parts.advance(parts.cut_behind({"s"}, {"y", "z"}))

    part = parts.part({"z"})

    assert part is not None
    assert [spec.name for spec in part.inputs] == ["t"]
    assert [spec.name for spec in part.outputs] == ["z"]


def test_what_is_there_needs_no_run(graph_of: GraphOf) -> None:
    parts = network(graph_of)

    assert parts.part({"x"}) is None
    assert run_part(None, FRAMES[0]) is FRAMES[0]
    for frame, given in zip(parts.run({"x"}), FRAMES, strict=True):
        assert frame["x"] is given["x"]


def test_frames_are_left_as_they_were(graph_of: GraphOf) -> None:
    frames = [dict(frame) for frame in FRAMES]
    parts = network(graph_of, frames)

    parts.advance(parts.cut_behind({"s"}, {"y"}))

    assert [frame.keys() for frame in frames] == [{"x"}] * len(FRAMES)


def test_a_body_reads_values_of_the_graph_around_it(graph_of: GraphOf) -> None:
    relu, absolute, condition = graph_of(BODY, yes=np.asarray(True)).graph

    assert [value.name for value in read_by(relu)] == ["x"]
    assert [value.name for value in read_by(absolute)] == ["x"]
    assert [value.name for value in read_by(condition)] == ["o", "r", "yes"]


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        ((1, 4, 6, 6), ir.DataType.FLOAT, 576),
        ((1, 4, 6, 6), ir.DataType.UINT8, 144),
        ((), ir.DataType.INT64, 8),
        ((1, "N"), ir.DataType.FLOAT, None),
        ((1, None), ir.DataType.FLOAT, None),
        (None, ir.DataType.FLOAT, None),
        ((1, 4), None, None),
    ],
)
def test_bytes_are_those_of_all_numbers(
    shape: tuple[int | str | None, ...] | None, kind: ir.DataType | None, expected: int | None
) -> None:
    value = ir.Value(
        name="v",
        shape=None if shape is None else ir.Shape(shape),
        type=None if kind is None else ir.TensorType(kind),
    )

    assert bytes_of(value) == expected
