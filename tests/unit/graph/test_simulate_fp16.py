"""FP16 written out in FP32: what overflows there is seen on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.backends.ort import OrtSession
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.model import model_bytes
from edgecnn.graph.prepare import infer_shapes
from edgecnn.graph.simulate_fp16 import holds_fp16, simulate_fp16

GraphOf = Callable[..., Any]
TEXT = """net (float[1, 4] x) => (float[1, 4] y) {
    a = Mul(x, w)
    b = Add(a, c)
    y = Mul(b, d)
}"""


def simulated(graph_of: GraphOf, text: str, **weights: np.ndarray) -> bytes:
    model = graph_of(text, **weights)
    infer_shapes(model)
    assert not holds_fp16(model)
    cast_to_fp16(model)
    assert holds_fp16(model)
    simulate_fp16(model)
    return model_bytes(model)


def test_every_rounding_is_that_of_fp16(graph_of: GraphOf) -> None:
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((1, 4)).astype(np.float32) for name in "wcd"}
    x = random.standard_normal((1, 4)).astype(np.float32)
    found = OrtSession(simulated(graph_of, TEXT, **weights)).run({"x": x})["y"]
    w, c, d = (weights[name].astype(np.float16) for name in "wcd")
    # numpy computes each operation in FP16, correctly rounded: so must the graph.
    np.testing.assert_array_equal(found, ((x.astype(np.float16) * w + c) * d).astype(np.float32))


def test_an_overflow_within_the_graph_is_seen(graph_of: GraphOf) -> None:
    large = {"w": np.full((1, 4), 6e4, np.float32), "c": np.zeros((1, 4), np.float32)}
    back = {"d": np.full((1, 4), 1e-4, np.float32)}
    found = OrtSession(simulated(graph_of, TEXT, **large, **back)).run({"x": np.full((1, 4), 2, np.float32)})["y"]
    assert np.isinf(found).all()


def test_int8_is_exact_between_roundings(graph_of: GraphOf) -> None:
    """The sum of INT8 products is rounded once, with the bias, and no product is."""
    text = """net (float[1, 3] x) => (float[1, 2] y) {
        q = QuantizeLinear(x, s, zero)
        d = DequantizeLinear(q, s, zero)
        v = DequantizeLinear<axis = 0>(k, t, zeros)
        y = Gemm<transB = 1>(d, v, b)
    }"""
    random = np.random.default_rng(0)
    weights = random.integers(-127, 128, (2, 3), dtype=np.int8)
    scale, scales, bias = np.float16(0.01), np.float16([0.003, 0.07]), random.standard_normal(2).astype(np.float16)
    model = graph_of(
        text,
        19,
        s=scale.astype(np.float32),
        t=scales.astype(np.float32),
        k=weights,
        b=bias.astype(np.float32),
        zero=np.int8(0),
        zeros=np.zeros(2, np.int8),
    )
    cast_to_fp16(model)
    simulate_fp16(model)
    x = random.uniform(-1, 1, (1, 3)).astype(np.float32)

    found = OrtSession(model_bytes(model)).run({"x": x})["y"]

    # In FP64; the quotient is that of FP32, which ONNX Runtime rounds to a whole number.
    steps = np.rint(x.astype(np.float16).astype(np.float32) / scale.astype(np.float32)).clip(-128, 127)
    sums = (steps.astype(np.float64) * scale) @ (weights * scales[:, None].astype(np.float64)).T
    np.testing.assert_array_equal(found, (sums + bias).astype(np.float16).astype(np.float32))
