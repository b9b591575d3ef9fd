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
