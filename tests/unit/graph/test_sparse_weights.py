"""2:4 sparsity: found in a graph, and kept by folding, FP16 and INT8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.fold_bn import fold_batch_norm
from edgecnn.graph.layer_weights import read_weights
from edgecnn.graph.prepare import infer_shapes
from edgecnn.graph.sparse_weights import is_two_of_four, sparsity_of
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.layer_rounding import round_layer
from edgecnn.quantize.moments import Moments
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import apply_roundings, find_roundings
from edgecnn.quantize.schemes import TENSORRT, Scheme

GraphOf = Callable[..., Any]
RANDOM = np.random.default_rng(0)


def sparse(*shape: int, axis: int = 1) -> np.ndarray:
    """Random weights of which, along an axis, two of every four are 0."""
    weight = np.moveaxis(RANDOM.standard_normal(shape).astype(np.float32), axis, -1).copy()
    fours = weight.reshape(-1, 4)
    np.put_along_axis(fours, np.abs(fours).argsort(axis=1)[:, :2], 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(fours.reshape(weight.shape), -1, axis))


def form(weight: np.ndarray, groups: int = 1) -> np.ndarray:
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1).astype(np.float64)


def test_the_pattern_lies_along_the_input_channels() -> None:
    weight = sparse(8, 16, 3, 3)
    assert is_two_of_four(form(weight))
    assert not is_two_of_four(form(sparse(16, 16, 3, 3, axis=0)))
    assert not is_two_of_four(form(np.roll(weight[:, :, :1, :1], 1, axis=1)))
    assert not is_two_of_four(form(RANDOM.standard_normal((8, 16, 3, 3))))
    assert not is_two_of_four(form(weight, groups=2))
    assert not is_two_of_four(form(np.zeros((8, 6, 1, 1))))
    weight[0, np.flatnonzero(weight[0, :4, 0, 0] == 0)[0], 0, 0] = 1e-30
    assert not is_two_of_four(form(weight))


NET = """net (float[1, 16, 8, 8] x) => (float[1, 8] y) {
    [conv] a = Conv<pads = [1, 1, 1, 1]>(x, w)
    [norm] b = BatchNormalization(a, gain, shift, mean, variance)
    r = Relu(b)
    [dense] c = Conv(r, v)
    p = GlobalAveragePool(c)
    f = Flatten(p)
    [head] y = Gemm<transB = 1>(f, u, z)
}"""


@pytest.fixture
def net(graph_of: GraphOf) -> Any:
    made = {name: RANDOM.uniform(0.5, 1.5, 32).astype(np.float32) for name in ("gain", "shift", "mean", "variance")}
    dense = RANDOM.standard_normal((16, 32, 1, 1)).astype(np.float32)
    model = graph_of(NET, 18, w=sparse(32, 16, 3, 3), v=dense, u=sparse(8, 16), z=np.zeros(8, np.float32), **made)
    infer_shapes(model)
    return model


def test_how_much_of_a_network_is_sparse(net: Any) -> None:
    found = sparsity_of(net)

    assert found.layers == ("conv", "head")
    macs = [64 * 32 * 16 * 9, 64 * 16 * 32, 8 * 16]
    assert found.share == pytest.approx((macs[0] + macs[2]) / sum(macs))


def test_the_inputs_of_a_matrix_product_come_first(graph_of: GraphOf) -> None:
    graph = "net (float[1, 16] x) => (float[1, 8] y) { [product] y = MatMul(x, w) }"
    for weight, layers in ((sparse(16, 8, axis=0), ("product",)), (sparse(16, 8, axis=1), ())):
        model = graph_of(graph, 18, w=weight)
        infer_shapes(model)
        assert sparsity_of(model).layers == layers


def test_folding_and_fp16_keep_it(net: Any) -> None:
    assert fold_batch_norm(net).counts
    assert not [node for node in net.graph if node.op_type == "BatchNormalization"]
    assert sparsity_of(net).layers == ("conv", "head")

    cast_to_fp16(net, set())
    assert sparsity_of(net).layers == ("conv", "head")


@pytest.mark.parametrize("scheme", [TENSORRT, Scheme("test", weights_as_int8=True)], ids=["float", "int8"])
@pytest.mark.parametrize("learned", [True, False])
def test_int8_keeps_it(net: Any, learned: bool, scheme: Scheme) -> None:
    fold_batch_norm(net)
    infer_shapes(net)
    placement = place(net)
    ranges = {str(value.name): Range(-4.0, 4.0) for value in placement.activations}
    frames = [{"x": RANDOM.standard_normal((1, 16, 8, 8)).astype(np.float32)} for _ in range(8)]

    scales = apply_roundings(net, placement, find_roundings(net, placement, ranges, frames, learned=learned))
    insert_qdq(net, placement, ranges, scales, scheme)
    infer_shapes(net)

    assert [node for node in net.graph if node.op_type == "DequantizeLinear"]
    assert sparsity_of(net).layers == ("conv", "head")


def test_the_other_weights_make_up_for_those_that_stay_0(graph_of: GraphOf) -> None:
    """Rounded with the zeros held, a layer is nearer to FP32's than rounded without and set to 0 afterwards."""
    graph = "net (float[1, 16] x) => (float[1, 8] y) { [layer] y = Gemm<transB = 1>(x, w, z) }"
    weight = sparse(8, 16)
    layer = read_weights(next(iter(graph_of(graph, 18, w=weight, z=np.zeros(8, np.float32)).graph)))
    assert layer is not None
    rows = RANDOM.standard_normal((400, 6)) @ RANDOM.standard_normal((6, 16))  # inputs that go together
    seen = Moments(whole=True)
    columns = rows.T.reshape(1, 16, -1)
    # What the layers before have lost is what the free columns make up for.
    seen.add(columns, columns + 0.3 * np.roll(columns, 1, axis=1))
    dense = round_layer(_without_zeros(layer), seen, learned=True)
    held = round_layer(layer, seen, learned=True)

    inputs = (columns + 0.3 * np.roll(columns, 1, axis=1))[0]
    exact = weight @ columns[0]

    def error(weight: np.ndarray, bias: np.ndarray) -> float:
        return float(((weight @ inputs + bias[:, None] - exact) ** 2).mean())

    assert is_two_of_four(held.weight)
    cut = np.where(weight != 0, dense.weight.reshape(8, 16), 0)
    assert error(held.weight.reshape(8, 16), held.bias) < error(cut, dense.bias)


def _without_zeros(layer: Any) -> Any:
    return replace(layer, weight=np.where(layer.weight == 0, 1e-9, layer.weight))
