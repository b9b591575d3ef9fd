"""Networks along one axis get a row, and compute what they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.lift_signals import lift_signals
from edgecnn.graph.prepare import infer_shapes

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 4, 20)).astype(np.float32)
# Sums of some tens of products, perhaps in another order.
ROUNDING = 1e-5


def weights(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


# Nodes from x (1, 4, 20) to y, y's sizes, and how many nodes are lifted.
CASES: dict[str, tuple[str, str, dict[str, np.ndarray], int]] = {
    "convolution with everything": (
        "c = Conv<strides = [2], pads = [3, 1], dilations = [2], group = 2>(x, w, b) y = Identity(c)",
        "1, 6, 10",
        {"w": weights(6, 2, 3), "b": weights(6)},
        1,
    ),
    "automatic padding": (
        'c = Conv<auto_pad = "SAME_UPPER">(x, w) y = Softmax(c)',
        "1, 4, 20",
        {"w": weights(4, 4, 4)},
        1,
    ),
    "transposed": (
        "c = ConvTranspose<strides = [3], output_padding = [1], pads = [1, 0]>(x, w) y = Identity(c)",
        "1, 5, 60",
        {"w": weights(4, 5, 3)},
        1,
    ),
    "pools": (
        "a = AveragePool<kernel_shape = [3], pads = [1, 1], count_include_pad = 1>(x) "
        "m = MaxPool<kernel_shape = [2], strides = [2], ceil_mode = 1>(a) g = GlobalAveragePool(m) y = Flatten(g)",
        "1, 4",
        {},
        3,
    ),
    "a residual block": (
        "c = Conv<pads = [1, 1]>(x, w) n = BatchNormalization(c, s, b, m, v) r = Relu(n) d = Conv(r, k) a = Add(d, x) "
        "p = Mul(a, factor) q = PRelu(p, slope) z = Concat<axis = -2>(q, x) e = ReduceMean<keepdims = 1>(z, last) "
        "y = Reshape(e, sizes)",
        "1, 8",
        {
            "w": weights(4, 4, 3), "s": weights(4), "b": weights(4), "m": weights(4), "v": weights(4) ** 2 + 1,
            "k": weights(4, 4, 1), "factor": weights(1, 4, 1), "slope": weights(4, 1),
            "last": np.int64([-1]), "sizes": np.int64([1, -1]),
        },
        9,
    ),
    "constants of fewer axes": (
        "c = Conv(x, w) a = Add(c, along) m = Mul(a, one) n = Clip(m, low, high) j = Concat<axis = 2>(n, more) "
        "y = Tanh(j)",
        "1, 4, 22",
        {
            "w": weights(4, 4, 1), "along": weights(20), "one": np.float32(2), "low": np.float32(-1),
            "high": np.float32(1), "more": weights(1, 4, 2),
        },
        5,
    ),
    "what has no row in between": (
        "c = Conv(x, w) t = Transpose<perm = [0, 2, 1]>(c) s = Softmax(t) u = Transpose<perm = [0, 2, 1]>(s) "
        "d = Conv(u, w) f = Flatten(d) y = MatMul(f, k)",
        "1, 3",
        {"w": weights(4, 4, 1), "k": weights(80, 3)},
        2,
    ),
    "a squeeze before a reshape": (
        "c = Conv(x, w) u = Unsqueeze(c, row) p = ReduceMean(u, last) q = Squeeze(p, row) y = Reshape(q, sizes)",
        "1, 4",
        {"w": weights(4, 4, 1), "row": np.int64([-2]), "last": np.int64([-2, -1]), "sizes": np.int64([1, 4])},
        1,
    ),
    "a row that is there already": (
        "c = Conv(x, w) u = Unsqueeze(c, row) p = GlobalAveragePool(u) q = Squeeze(p, row) y = Flatten(q)",
        "1, 4",
        {"w": weights(4, 4, 1), "row": np.int64([-2])},
        1,
    ),
    "a reshape that copies a size": (
        "c = Conv(x, w) y = Reshape(c, sizes)",
        "1, 4, 2, 10",
        {"w": weights(4, 4, 1), "sizes": np.int64([0, 0, 2, 10])},
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_computes_the_same_along_two_axes(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    body, shape, arrays, count = CASES[case]
    model = graph_of(f"net (float[1, 4, 20] x) => (float[{shape}] y) {{ {body} }}", **arrays)
    expected = outputs_of(model, x=X)["y"]
    assert lift_signals(model).counts == {"lifted to two axes": count}
    infer_shapes(model)
    np.testing.assert_allclose(outputs_of(model, x=X)["y"], expected, atol=ROUNDING)
    windowed = [node for node in model.graph if node.op_type in ("Conv", "ConvTranspose", "MaxPool", "AveragePool")]
    assert windowed
    assert all(len(node.outputs[0].shape) == 4 for node in windowed)
    assert not lift_signals(model).modified


def test_only_the_border_changes_axes(graph_of: GraphOf) -> None:
    body, shape, arrays, _ = CASES["a residual block"]
    model = graph_of(f"net (float[1, 4, 20] x) => (float[{shape}] y) {{ {body} }}", **arrays)
    lift_signals(model)
    operators = [node.op_type for node in model.graph]
    assert (operators.count("Unsqueeze"), operators.count("Squeeze")) == (1, 0)

    body, shape, arrays, _ = CASES["a squeeze before a reshape"]
    model = graph_of(f"net (float[1, 4, 20] x) => (float[{shape}] y) {{ {body} }}", **arrays)
    lift_signals(model)
    assert [node.op_type for node in model.graph] == ["Unsqueeze", "Conv", "ReduceMean", "Reshape"]


@pytest.mark.parametrize(
    "text",
    [
        "net (float[1, 4, 20] x) => (float[1, 4, 20] y) { a = Relu(x) y = Softmax(a) }",
        "net (float[1, 4, 20, 1] x) => (float[1, 4, 20, 1] y) { y = MaxPool<kernel_shape = [1, 1]>(x) }",
        "net (float[1, 4, 20] x) => (float[1, 4, 20] y) { y = Conv(x, w) }",
    ],
)
def test_what_is_left_alone(graph_of: GraphOf, text: str) -> None:
    model = graph_of(text, w=weights(4, 4, 1))
    assert not lift_signals(model).modified
