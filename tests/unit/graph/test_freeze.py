"""Open batch sizes become 1, and the shapes that followed from them are found anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgecnn.graph.freeze import freeze_batch, freeze_picture
from edgecnn.graph.model import output_specs
from edgecnn.graph.prepare import infer_shapes

GraphOf = Callable[..., Any]
TEXT = "net (float[N, 3, 4, 4] x) => (float[N, 3] y) { p = GlobalAveragePool(x)\n y = Flatten(p) }"


def test_an_open_batch_is_fixed(graph_of: GraphOf) -> None:
    model = graph_of(TEXT)
    result = freeze_batch(model)
    assert result.modified
    assert result.counts == {"inputs frozen": 1}
    infer_shapes(model)
    assert output_specs(model)[0].shape == (1, 3)
    assert not freeze_batch(model).modified


def test_a_fixed_batch_and_weights_among_the_inputs_stay(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3] x) => (float[2, 3] y) { y = Add(x, w) }", w=np.ones((1, 3), np.float32))
    assert not freeze_batch(model).modified
    assert model.graph.inputs[0].shape[0] == 2


OPEN = "net (float[N, 3, H, W] x, float[N, 5] z) => (float[N, 3, A, B] y) { y = MaxPool<kernel_shape = [2, 2]>(x) }"


def test_an_open_picture_is_fixed(graph_of: GraphOf) -> None:
    model = graph_of(OPEN)
    assert freeze_picture(model, 6, 8).counts == {"inputs frozen": 1}
    infer_shapes(model)
    assert output_specs(model)[0].shape == (1, 3, 5, 7)
    assert not freeze_picture(model, 9, 9).modified
    assert freeze_batch(model).counts == {"inputs frozen": 1}  # of the input that is no picture


def test_a_fixed_size_of_a_picture_stays(graph_of: GraphOf) -> None:
    model = graph_of("net (float[2, 3, 6, W] x) => (float[2, 3, 6, W] y) { y = Relu(x) }")
    assert freeze_picture(model, 9, 8).modified
    infer_shapes(model)
    assert output_specs(model)[0].shape == (2, 3, 6, 8)
