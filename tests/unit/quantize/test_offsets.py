"""Channels that are moved to lie around zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.offsets import centre_channels

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

PICTURE = "float[1, 4, 6, 6]"
FRAMES = [{"x": np.random.default_rng(seed).standard_normal((1, 4, 6, 6)).astype(np.float32)} for seed in range(4)]
# A dozen products of numbers near 10 in FP32, moved by numbers of that size.
ROUNDING = 1e-4
OFFSETS = np.float32([10, -5, 0, 30])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


ARRAYS = {
    "w": normal(4, 4, 1, 1),
    "b": OFFSETS,
    "v": normal(4, 4, 1, 1),
    "c": normal(4),
    "k": normal(4, 4, 3, 3),
    "wide": normal(4, 8, 1, 1),
    "shift": OFFSETS.reshape(4, 1, 1),
}


def network(graph_of: GraphOf, body: str, outputs: str = "float[N, C, H, W] y") -> Any:
    return graph_of(f"net ({PICTURE} x) => ({outputs}) {{ {body} }}", **ARRAYS)


def middles(model: Any, name: str) -> np.ndarray:
    """Of each channel, half way between its ends: the mean over the frames."""
    found = [array for _, array in run_observed(model, [name], FRAMES)]
    return np.mean([(array.min(axis=(0, 2, 3)) + array.max(axis=(0, 2, 3))) / 2 for array in found], axis=0)


# What is moved, and the values that then lie around zero.
MOVED: dict[str, tuple[str, tuple[str, ...]]] = {
    "a convolution": ("a = Conv(x, w, b) y = Conv(a, v, c)", ("a",)),
    "no bias behind it": ("a = Conv(x, w, b) y = Conv(a, v)", ("a",)),
    "two readers": ("a = Conv(x, w, b) y = Conv(a, v, c) z = Conv(a, w)", ("a",)),
    "a residual addition": ("a = Conv(x, w, b) e = Conv(a, v, b) s = Add(a, e) y = Conv(s, v, c)", ("a", "s")),
    "two additions": (
        "a = Conv(x, w, b) e = Conv(a, v, b) s = Add(e, a) f = Conv(s, w, b) t = Add(s, f) y = Conv(t, v)",
        ("a", "s", "t"),
    ),
    "two branches": ("a = Conv(x, w, b) e = Conv(x, v, b) s = Add(a, e) y = Conv(s, v)", ("s",)),
    "joined": ("a = Conv(x, w, b) e = Conv(x, v, b) s = Concat<axis = 1>(a, e) y = Conv(s, wide)", ("s",)),
    "a pool": ("a = Conv(x, w, b) p = MaxPool<kernel_shape = [2, 2]>(a) y = Conv(p, v)", ("a",)),
    "behind an activation": ("a = Conv(x, w, b) s = Sigmoid(a) t = Mul(a, s) y = Conv(t, v)", ("t.centred",)),
    "a constant added": ("a = Add(x, shift) y = Conv(a, v)", ("a.centred",)),
}


@pytest.mark.parametrize("case", MOVED)
def test_channels_lie_around_zero_and_nothing_changes(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    body, names = MOVED[case]
    outputs = "float[N, C, H, W] y" + (", float[N, C, H, W] z" if " z = " in body else "")
    original, model = (network(graph_of, body, outputs) for _ in range(2))

    assert centre_channels(model, FRAMES) >= len(names)

    for name in names:
        np.testing.assert_allclose(middles(model, name), 0, atol=ROUNDING)
    for frame in FRAMES:
        expected = outputs_of(original, **frame)
        for name, found in outputs_of(model, **frame).items():
            np.testing.assert_allclose(found, expected[name], atol=ROUNDING * np.abs(expected[name]).max())


# Where a constant would become something else, or shows outside.
STAYS: dict[str, str] = {
    "padding": "a = Conv(x, w, b) y = Conv<pads = [1, 1, 1, 1]>(a, k)",
    "one reader with padding": "a = Conv(x, w, b) e = Conv(a, v) f = Conv<pads = [1, 1, 1, 1]>(a, k) y = Sub(e, f)",
    "a Relu": "a = Conv(x, w, b) r = Relu(a) y = Conv(r, v)",
    "an output": "y = Conv(x, w, b) t = Conv(y, v)",
    "an addition to what stays": "a = Conv(x, w, b) s = Add(a, x) y = Exp(s)",
    "a pool that pads": "a = Conv(x, w, b) p = AveragePool<kernel_shape = [3, 3]>(a) y = Conv(p, v)",
    "the input": "y = Conv(x, v)",
}


@pytest.mark.parametrize("case", STAYS)
def test_other_values_stay(graph_of: GraphOf, case: str) -> None:
    model = network(graph_of, STAYS[case])
    before = ir.to_proto(model).SerializeToString()

    assert centre_channels(model, FRAMES) == 0

    assert ir.to_proto(model).SerializeToString() == before


def test_a_node_that_must_stay_is_left(graph_of: GraphOf) -> None:
    model = network(graph_of, "a = Conv(x, w, b) [two] y = Conv(a, v, c)")

    assert centre_channels(model, FRAMES, exclude=["two"]) == 0
