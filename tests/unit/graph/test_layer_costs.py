"""What layers compute and move, and whose the nodes around them are."""

from __future__ import annotations

import numpy as np

from edgecnn.graph.layer_costs import layer_costs


def test_a_float_network(graph_of):
    model = graph_of(
        """net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
            [conv] c = Conv <pads = [1, 1, 1, 1]> (x, w)
            [relu] y = Relu (c)
        }""",
        w=np.ones((4, 3, 3, 3), np.float32),
    )
    conv, relu = (costs := layer_costs(model)).layers
    assert (conv.name, conv.macs) == ("conv", 4 * 64 * 27)
    assert conv.moved_bytes == 4 * (3 * 64 + 4 * 27 + 4 * 64)
    assert (relu.name, relu.macs, relu.moved_bytes) == ("relu", 0, 2 * 4 * 4 * 64)
    assert costs.nodes == {"conv": "conv", "relu": "relu"}
    assert costs.tensors == {"c": "conv", "y": "relu", "w": "conv"}


def test_a_quantized_network_moves_bytes_and_its_pairs_belong_to_layers(graph_of):
    model = graph_of(
        """net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) {
            [q0] a = QuantizeLinear (x, s, z)
            [d0] b = DequantizeLinear (a, s, z)
            [dw] v = DequantizeLinear (w, s, z)
            [conv] c = Conv <pads = [1, 1, 1, 1]> (b, v)
            [relu] r = Relu (c)
            [q1] e = QuantizeLinear (r, s, z)
            [d1] f = DequantizeLinear (e, s, z)
            [next] g = Neg (f)
            [half] h = Cast <to = 10> (g)
            [back] y = Cast <to = 1> (h)
        }""",
        w=np.ones((4, 3, 3, 3), np.int8),
        s=np.float32(0.1),
        z=np.int8(0),
    )
    costs = layer_costs(model)
    assert [layer.name for layer in costs.layers] == ["conv", "relu", "next"]
    conv, relu, _ = costs.layers
    assert conv.moved_bytes == 3 * 64 + 4 * 27 + 4 * 4 * 64  # what it reads is INT8, what it writes is not
    assert relu.moved_bytes == 4 * 4 * 64 + 4 * 64
    assert costs.nodes == {
        "q0": "conv", "d0": "conv", "dw": "conv", "conv": "conv", "relu": "relu", "q1": "relu",
        "d1": "next", "next": "next", "half": "next", "back": "next",
    }  # fmt: skip
    assert costs.tensors["w"] == "conv"


def test_sizes_that_are_not_known(graph_of):
    model = graph_of("net (float[N, 3] x) => (float[N, 4] y) { [fc] y = MatMul (x, w) }", w=np.ones((3, 4), np.float32))
    (layer,) = layer_costs(model).layers
    assert (layer.macs, layer.moved_bytes) == (None, None)


def test_a_network_of_casts_alone(graph_of):
    costs = layer_costs(graph_of("net (float[1] x) => (float16[1] y) { [cast] y = Cast <to = 10> (x) }"))
    assert (costs.layers, costs.nodes) == ((), {"cast": "cast"})
