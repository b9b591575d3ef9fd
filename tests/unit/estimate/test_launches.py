"""What is computed in one kernel, and what each kernel moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.estimate.launches import find_launches

GraphOf = Callable[..., Any]
WEIGHT = np.zeros((8, 4, 3, 3), np.float32)


def kinds(model: Any) -> list[tuple[str, int]]:
    """Kind and number of nodes of each kernel."""
    return [(launch.kind, len(launch.nodes)) for launch in find_launches(model)]


def test_a_convolution_takes_its_activation_and_a_residual(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 4, 6, 6] x, float[1, 8, 6, 6] r) => (float[1, 8, 6, 6] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        s = Add (c, r)
        y = Relu (s)
        }""",
        w=WEIGHT,
    )
    (launch,) = find_launches(model)
    assert (launch.kind, len(launch.nodes)) == ("conv", 3)
    assert launch.macs == 36 * 8 * 4 * 9
    assert (launch.rows, launch.outputs, launch.depth, launch.groups) == (36, 8, 36, 1)
    assert (launch.taken, launch.given, launch.weights) == (4 * 36 + 8 * 36, 8 * 36, 8 * 36)
    assert launch.winograd
    assert not launch.int8


def test_silu_goes_into_the_convolution_and_a_gate_from_elsewhere_does_not(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 4, 6, 6] x) => (float[1, 8, 6, 6] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        s = Sigmoid (c)
        m = Mul (c, s)
        g = GlobalAveragePool (m)
        y = Mul (m, g)
        }""",
        w=WEIGHT,
    )
    assert kinds(model) == [("conv", 3), ("reduce", 1), ("pointwise", 1)]


def test_what_somebody_else_reads_or_is_an_output_ends_a_kernel(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 4, 6, 6] x) => (float[1, 8, 6, 6] c, float[1, 8, 6, 6] y) {
        c = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = Relu (c)
        }""",
        w=WEIGHT,
    )
    assert kinds(model) == [("conv", 1), ("pointwise", 1)]


def test_pointwise_chains_are_one_and_shapes_are_free(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 4, 6, 6] x) => (float[1, 144] y) {
        a = Abs (x)
        b = Neg (a)
        s = Shape (x)
        f = Flatten (b)
        e = Exp (f)
        y = Mul (e, e)
        }"""
    )
    assert kinds(model) == [("pointwise", 4)]


def test_depthwise_grouped_and_transposed_convolutions(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[2, 4, 6, 6] x) => (float[2, 4, 8, 8] y) {
        a = Conv <group = 4, strides = [2, 2], pads = [1, 1, 1, 1]> (x, one)
        b = Conv <group = 2> (a, two)
        c = ConvTranspose (b, three)
        d = Resize <mode = "nearest"> (c, , scales)
        y = Concat <axis = 1> (d)
        }""",
        one=np.zeros((4, 1, 3, 3), np.float32),
        two=np.zeros((4, 2, 1, 1), np.float32),
        three=np.zeros((4, 4, 2, 2), np.float32),
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    launches = find_launches(model)
    assert [launch.kind for launch in launches] == ["depthwise", "conv", "conv", "window", "copy"]
    assert [launch.macs for launch in launches] == [2 * 9 * 4 * 9, 2 * 9 * 4 * 2, 2 * 9 * 4 * 4 * 4, 0, 0]
    assert [launch.groups for launch in launches[:3]] == [4, 2, 1]
    assert not any(launch.winograd for launch in launches)


def test_matrix_products_of_weights_and_of_what_is_computed(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[5, 3] x) => (float[5, 5] y) {
        a = Gemm <transB = 1> (x, w)
        t = Transpose <perm = [1, 0]> (a)
        y = MatMul (a, t)
        }""",
        w=np.zeros((7, 3), np.float32),
    )
    first, transpose, second = find_launches(model)
    assert (first.kind, first.macs, first.depth, first.outputs) == ("product", 5 * 7 * 3, 3, 7)
    assert transpose.kind == "copy"
    assert (second.macs, second.depth, second.weights) == (5 * 5 * 7, 7, 0)


def test_quantized_layers_are_told(graph_of: GraphOf) -> None:
    model = graph_of(
        """net (float[1, 4, 6, 6] x) => (float[1, 8, 4, 4] y) {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        v = DequantizeLinear (w, s, z)
        y = Conv (d, v)
        }""",
        s=np.array(0.1, np.float32),
        z=np.array(0, np.int8),
        w=np.zeros((8, 4, 3, 3), np.int8),
    )
    (launch,) = find_launches(model)
    assert launch.int8
    assert (launch.macs, launch.taken) == (16 * 8 * 36, 4 * 36)


def test_an_open_shape_is_named(graph_of: GraphOf) -> None:
    model = graph_of("net (float[1, 4, h, 6] x) => (float[1, 4, h, 6] y) { y = Abs (x) }")
    with pytest.raises(ValueError, match="the shape of y is not known"):
        find_launches(model)
