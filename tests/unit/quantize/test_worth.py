"""Which activations are worth a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import TENSORRT
from edgecnn.quantize.worth import worth_a_node

GraphOf = Callable[..., Any]

FRAMES = [{"x": np.random.default_rng(seed).uniform(0, 1, (1, 4, 6, 6)).astype(np.float32)} for seed in range(2)]
IDENTITY = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)


def test_what_makes_most_of_the_error_is_named(graph_of: GraphOf) -> None:
    text = """net (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) {
        a = Conv(x, w) r = Relu(a) b = Conv(r, w) s = Relu(b) y = Conv(s, w)
    }"""
    model = graph_of(text, w=IDENTITY)
    before = [node.op_type for node in model.graph]
    # The same values everywhere; one range is twenty times too wide.
    ranges = {"x": Range(-1, 1), "r": Range(-20, 20), "s": Range(-1, 1)}

    assert worth_a_node(model, ("r", "s"), ranges, FRAMES, TENSORRT) == ("r",)
    assert worth_a_node(model, ("s",), ranges, FRAMES, TENSORRT) == ()
    assert [node.op_type for node in model.graph] == before
