"""Pads that become part of a convolution, and those that stay."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.fold_pad import conv_pads, fold_pad

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 4, 7, 6)).astype(np.float32)
W = RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32)
# Sums of 36 products of numbers near 1, in FP32 and perhaps in another order.
ROUNDING = 1e-5


def pads(*amounts: int) -> np.ndarray:
    return np.int64(amounts)


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


ONE_AROUND = pads(0, 0, 1, 1, 0, 0, 1, 1)
LOWEST = np.float32(-np.inf)
# What is in the graph, of a picture (1, 4, 7, 6) or a signal (1, 4, 7), and how the layer behind the pads then pads.
FOLDED: dict[str, tuple[str, dict[str, np.ndarray], list[int]]] = {
    "as TensorFlow pads for a stride of 2": (
        "p = Pad(x, a) y = Conv<strides = [2, 2]>(p, w)",
        {"a": pads(0, 0, 0, 0, 0, 0, 1, 1), "w": W},
        [0, 0, 1, 1],
    ),
    "beside the convolution's own": (
        "p = Pad(x, a) y = Conv<pads = [1, 0, 2, 1]>(p, w)",
        {"a": pads(0, 0, 1, 2, 0, 0, 3, 4), "w": W},
        [2, 2, 5, 5],
    ),
    "zero by name": (
        'p = Pad<mode = "constant">(x, a, zero) y = Conv<auto_pad = "NOTSET">(p, w)',
        {"a": pads(0, 0, 1, 1, 0, 0, 1, 1), "w": W, "zero": np.float32(0)},
        [1, 1, 1, 1],
    ),
    "with dilations, depthwise": (
        "p = Pad(x, a) y = Conv<group = 4, dilations = [2, 1]>(p, w)",
        {"a": pads(0, 0, 2, 1, 0, 0, 2, 1), "w": W[:, :1]},
        [2, 1, 2, 1],
    ),
    "before a convolution without padding by name": (
        'p = Pad(x, a) y = Conv<auto_pad = "VALID">(p, w)',
        {"a": pads(0, 0, 1, 0, 0, 0, 1, 0), "w": W},
        [1, 0, 1, 0],
    ),
    "before automatic padding": (
        'p = Pad(x, a) y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(p, w)',
        {"a": pads(0, 0, 1, 0, 0, 0, 0, 2), "w": W},
        [1, 0, 1, 3],  # of a picture of 8 by 8: nothing more before, one more after
    ),
    "two of them": (
        "q = Pad(x, a) p = Pad(q, a) y = Conv(p, w)",
        {"a": pads(0, 0, 1, 0, 0, 0, 0, 1), "w": W},
        [2, 0, 0, 2],
    ),
    "of one axis": ("p = Pad(x, a) y = Conv(p, w)", {"a": pads(0, 0, 2, 0, 0, 1), "w": W[..., 0]}, [2, 1]),
    "as TensorFlow pads a maximum": (
        "p = Pad(x, a, lowest) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(p)",
        {"a": pads(0, 0, 0, 0, 0, 0, 1, 1), "lowest": LOWEST},
        [0, 0, 1, 1],
    ),
    "beside the maximum's own": (
        "p = Pad(x, a, lowest) y = MaxPool<kernel_shape = [3, 4], pads = [1, 0, 1, 2]>(p)",
        {"a": pads(0, 0, 1, 2, 0, 0, 0, 1), "lowest": LOWEST},
        [2, 2, 1, 3],
    ),
    "zeros around a ReLU": (
        "r = Relu(x) p = Pad(r, a) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(p)",
        {"a": ONE_AROUND},
        [1, 1, 1, 1],
    ),
    "zeros around what is cut off below": (
        "r = Clip(x, low) p = Pad(r, a) y = MaxPool<kernel_shape = [2, 2]>(p)",
        {"a": ONE_AROUND, "low": np.float32(0.25)},
        [1, 1, 1, 1],
    ),
    "zeros that an average counts": (
        "p = Pad(x, a) y = AveragePool<kernel_shape = [3, 3], strides = [2, 2]>(p)",
        {"a": pads(0, 0, 0, 0, 0, 0, 1, 1)},
        [0, 0, 1, 1],
    ),
    "beside zeros that count already": (
        "p = Pad(x, a) y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(p)",
        {"a": pads(0, 0, 0, 1, 0, 0, 1, 0)},
        [1, 2, 2, 1],
    ),
}


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("case", FOLDED)
def test_a_pad_goes_into_the_layer(graph_of: GraphOf, outputs_of: OutputsOf, case: str, opset: int) -> None:
    body, arrays, expected_pads = FOLDED[case]
    feed = X[..., 0] if arrays["a"].size == 6 else X
    sizes, unknown = (", ".join(map(str, names)) for names in (feed.shape, "NCHW"[: feed.ndim]))
    model = graph_of(f"net (float[{sizes}] x) => (float[{unknown}] y) {{ {body} }}", opset, **arrays)
    expected = outputs_of(model, x=feed)["y"]
    count = operators(model).count("Pad")

    result = fold_pad(model)

    node = model.graph[-1]
    assert "Pad" not in operators(model)
    assert result.modified
    assert result.counts["pads folded"] == count
    assert list(node.attributes["pads"].as_ints()) == expected_pads
    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], expected, atol=ROUNDING)
    unchanged(model)


STAYS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "reflection": ('p = Pad<mode = "reflect">(x, a) y = Conv(p, w)', {"a": ONE_AROUND}),
    "edge": ('p = Pad<mode = "edge">(x, a) y = Conv(p, w)', {"a": ONE_AROUND}),
    "another value": ("p = Pad(x, a, one) y = Conv(p, w)", {"a": ONE_AROUND, "one": np.float32(1)}),
    "a value computed": (
        "r = ReduceMax<keepdims = 0>(x) p = Pad(x, a, r) y = Conv(p, w)",
        {"a": ONE_AROUND},
    ),
    "amounts computed": (
        "s = Shape(x) d = Sub(s, s) a = Concat<axis = 0>(d, d) p = Pad(x, a) y = Conv(p, w)",
        {},
    ),
    "channels": ("p = Pad(x, a) y = Conv(p, w)", {"a": pads(0, 1, 0, 0, 0, 0, 0, 0), "w": W[:, [0, 0, 1, 2, 3]]}),
    "batch": ("p = Pad(x, a) y = Conv(p, w)", {"a": pads(0, 0, 0, 0, 1, 0, 0, 0)}),
    "cropping": ("p = Pad(x, a) y = Conv(p, w)", {"a": pads(0, 0, -1, 1, 0, 0, 1, 1)}),
    "read by another": ("p = Pad(x, a) c = Conv(p, w) m = ReduceMax(p) y = Add(c, m)", {"a": ONE_AROUND}),
    "another layer": ("p = Pad(x, a) y = LpPool<kernel_shape = [3, 3]>(p)", {"a": ONE_AROUND}),
    "zeros before a maximum": ("p = Pad(x, a) y = MaxPool<kernel_shape = [3, 3]>(p)", {"a": ONE_AROUND}),
    "more than the least before a maximum": (
        "r = Relu(x) p = Pad(r, a, one) y = MaxPool<kernel_shape = [3, 3]>(p)",
        {"a": ONE_AROUND, "one": np.float32(1)},
    ),
    "as wide as the window": (
        "r = Relu(x) p = Pad(r, a) y = MaxPool<kernel_shape = [2, 3]>(p)",
        {"a": pads(0, 0, 2, 0, 0, 0, 0, 0)},
    ),
    "a window with gaps": (
        "r = Relu(x) p = Pad(r, a) y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(p)",
        {"a": ONE_AROUND},
    ),
    "sizes rounded up": (
        "r = Relu(x) p = Pad(r, a) y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(p)",
        {"a": ONE_AROUND},
    ),
    "an average that does not count its own": (
        "p = Pad(x, a) y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(p)",
        {"a": ONE_AROUND},
    ),
    "an average of another number": (
        "p = Pad(x, a, one) y = AveragePool<kernel_shape = [3, 3]>(p)",
        {"a": ONE_AROUND, "one": np.float32(1)},
    ),
    "an activation between": ("p = Pad(x, a) r = Relu(p) y = Conv(r, w)", {"a": ONE_AROUND}),
}


def unchanged(model: Any) -> None:
    before = ir.to_proto(model).SerializeToString()

    result = fold_pad(model)

    assert not result.modified
    assert result.counts == {}
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize("case", STAYS)
def test_other_pads_stay(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    body, arrays = STAYS[case]
    model = graph_of(f"net (float[1, 4, 7, 6] x) => (float[N, C, H, W] y) {{ {body} }}", **{"w": W} | arrays)
    assert outputs_of(model, x=X)["y"].size  # onnxruntime takes the graph

    unchanged(model)


def test_a_pad_that_is_an_output_stays(graph_of: GraphOf) -> None:
    unchanged(
        graph_of(
            "net (float[1, 4, 7, 6] x) => (float[1, 4, 7, 6] y, float[1, 4, 9, 8] p) { p = Pad(x, a) y = Conv(p, w) }",
            a=ONE_AROUND,
            w=W,
        )
    )


def test_a_pad_along_named_axes_stays(graph_of: GraphOf) -> None:
    unchanged(
        graph_of(
            "net (float[1, 4, 7, 6] x) => (float[1, 4, 7, 6] y) { p = Pad(x, a, , axes) y = Conv(p, w) }",
            a=pads(1, 1, 1, 1),
            axes=np.int64([2, 3]),
            w=W,
        )
    )


def test_a_pad_before_automatic_padding_of_an_open_size_stays(graph_of: GraphOf) -> None:
    unchanged(
        graph_of(
            """net (float[1, 4, H, W] x) => (float[1, 4, P, Q] y) {
                p = Pad(x, a)
                y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(p, w)
            }""",
            a=ONE_AROUND,
            w=W,
        )
    )


def test_a_pad_of_an_open_size_is_folded(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        "net (float[1, 4, H, W] x) => (float[1, 4, P, Q] y) { p = Pad(x, a) y = Conv(p, w) }", a=ONE_AROUND, w=W
    )
    expected = outputs_of(model, x=X)["y"]

    assert fold_pad(model).counts == {"pads folded": 1}

    np.testing.assert_allclose(outputs_of(model, x=X)["y"], expected, atol=ROUNDING)


STRIDES = ((1, 1), (2, 2), (2, 3), (3, 1))


@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding_is_written_out(
    graph_of: GraphOf, outputs_of: OutputsOf, automatic: str, kernel: int, axes: int
) -> None:
    """As onnxruntime pads, whatever is left over when strides divide the picture."""
    weight = np.random.default_rng(1).standard_normal((3, 4, *[kernel] * axes)).astype(np.float32)
    for strides, sizes in itertools.product(STRIDES, [(7, 6), (8, 9), (5, 11)]):
        strides, sizes = strides[:axes], sizes[:axes]
        feed = np.random.default_rng(2).standard_normal((1, 4, *sizes)).astype(np.float32)
        model = graph_of(
            f"""net (float[1, 4, {", ".join(map(str, sizes))}] x) => (float[{", ".join("NCHW"[: axes + 2])}] y) {{
                y = Conv<auto_pad = "{automatic}", strides = {list(strides)}>(x, w)
            }}""",
            w=weight,
        )
        expected = outputs_of(model, x=feed)["y"]
        # Where a stride jumps over two places and more onnxruntime starts beyond the corner, others in it.
        jumps = [-(-size // step) * step - step + kernel - size for size, step in zip(sizes, strides, strict=True)]
        if automatic != "VALID" and min(jumps) < -1:
            unchanged(model)
            continue

        assert fold_pad(model).counts == {"automatic padding written out": 1}

        (node,) = model.graph
        assert "auto_pad" not in node.attributes
        found = outputs_of(model, x=feed)["y"]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=ROUNDING)
        assert not fold_pad(model).modified


@pytest.mark.parametrize(("automatic", "expected"), [("SAME_UPPER", [1, 3, 2, 3]), ("SAME_LOWER", [2, 3, 1, 3])])
def test_automatic_padding_with_dilations(
    graph_of: GraphOf, outputs_of: OutputsOf, automatic: str, expected: list[int]
) -> None:
    """As many outputs as rows and columns by strides, rounded up; onnxruntime itself does not take this.

    8 rows by 2 are 4 outputs, which span 3 strides of 2 and a reach of 5, 3 more than 8; 10 columns by 3 are 4 and
    span 3 strides of 3 and a reach of 7, 6 more than 10.
    """
    model = graph_of(
        f"""net (float[1, 4, 8, 10] x) => (float[1, 4, 4, 4] y) {{
            y = Conv<auto_pad = "{automatic}", strides = [2, 3], dilations = [2, 3]>(x, v)
        }}""",
        v=RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32),
    )
    assert fold_pad(model).modified

    (node,) = model.graph
    assert list(node.attributes["pads"].as_ints()) == expected
    feed = np.ones((1, 4, 8, 10), np.float32)
    assert outputs_of(model, x=feed)["y"].shape == (1, 4, 4, 4)


def test_automatic_padding_of_an_open_size_stays(graph_of: GraphOf) -> None:
    model = graph_of(
        'net (float[1, 4, H, W] x) => (float[1, 4, P, Q] y) { y = Conv<auto_pad = "SAME_UPPER">(x, w) }', w=W
    )

    unchanged(model)

    assert conv_pads(next(iter(model.graph)), 2) is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("", (0, 0, 0, 0)),
        ("<pads = [1, 2, 3, 4]>", (1, 2, 3, 4)),
        ('<auto_pad = "VALID">', (0, 0, 0, 0)),
        ('<auto_pad = "NOTSET", pads = [0, 1, 0, 1]>', (0, 1, 0, 1)),
        ('<auto_pad = "SAME_LOWER">', None),
    ],
)
def test_the_padding_of_a_convolution(graph_of: GraphOf, attributes: str, expected: tuple[int, ...] | None) -> None:
    model = graph_of(f"net (float[1, 4, 7, 6] x) => (float[1, 4, P, Q] y) {{ y = Conv{attributes}(x, w) }}", w=W)

    assert conv_pads(next(iter(model.graph)), 2) == expected
