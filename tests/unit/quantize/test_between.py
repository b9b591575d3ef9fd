"""What is in INT8 between layers, for runtimes with integer kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.schemes import ONNXRUNTIME_X86

GraphOf = Callable[..., Any]
W = np.ones((4, 4, 1, 1), np.float32)
PICTURE = "float[1, 4, 6, 6]"
FLAT = "float[1, 4]"


def placed(graph_of: GraphOf, body: str, output: str = PICTURE, **arrays: Any) -> Placement:
    constants = {"w": W, "zero": np.float32(0), "six": np.float32(6), "g": np.ones((4, 4), np.float32)} | arrays
    used = {name: array for name, array in constants.items() if f"{name}," in body or f"{name})" in body}
    return place(graph_of(f"net ({PICTURE} x) => ({output} y) {{ {body} }}", **used), (), ONNXRUNTIME_X86)


@pytest.mark.parametrize(
    ("body", "quantized"),
    [
        # The range cuts off what the activation would.
        ("a = Conv(x, w) b = Relu(a) y = ConvTranspose(b, w)", ["x", "b"]),
        ("a = Conv(x, w) b = Clip(a, zero, six) y = ConvTranspose(b, w)", ["x", "b"]),
        ("a = Conv(x, w) b = Clip(a, six, six) y = Neg(b)", ["x", "a"]),
        ("a = Conv(x, w) b = Relu(a) c = Add(a, b) y = Neg(c)", ["x", "a"]),
        # A residual addition between layers, and one that leads to the output alone.
        ("a = Conv(x, w) b = Conv(a, w) c = Add(a, b) d = Conv(c, w) y = Neg(d)", ["x", "a", "b", "c", "d"]),
        ("a = Conv(x, w) b = Conv(a, w) y = Add(a, b)", ["x", "a", "b"]),
        # Between two activations in FP32 an addition has nothing to gain.
        ("a = Conv(x, w) s = Tanh(a) t = Neg(a) c = Add(s, t) d = Conv(c, w) y = Neg(d)", ["x", "a", "c", "d"]),
        # A constant has no scale of its own.
        ("a = Conv(x, w) b = Mul(a, six) d = Conv(b, w) y = Neg(d)", ["x", "a", "b", "d"]),
        # What the network puts out keeps its digits.
        ("a = Conv(x, w) y = Conv(a, w)", ["x", "a"]),
    ],
)
def test_values_in_int8(graph_of: GraphOf, body: str, quantized: list[str]) -> None:
    found = placed(graph_of, body)

    assert [value.name for value in found.activations] == quantized
    for value, uses in found.activations.items():
        assert set(uses) == set(value.uses())


def test_a_convolution_for_the_output_stays(graph_of: GraphOf) -> None:
    found = placed(graph_of, "a = Conv(x, w) [last] y = Conv(a, w)")

    assert found.left_out == {"last": "its output is the network's, and would be INT8"}
    assert len(found.weights) == 1


def test_a_transposed_convolution_has_no_kernel(graph_of: GraphOf) -> None:
    assert placed(graph_of, "[up] y = ConvTranspose(x, w)").left_out == {"up": "ConvTranspose has no integer kernel"}


def test_groups_of_any_size_have_a_kernel(graph_of: GraphOf) -> None:
    grouped = np.ones((4, 2, 1, 1), np.float32)
    found = placed(graph_of, "a = Conv<group = 2>(x, v) y = Neg(a)", v=grouped)

    assert not found.left_out


def test_carriers_share_the_range_of_what_they_carry(graph_of: GraphOf) -> None:
    body = """
        a = Conv(x, w)
        m = MaxPool<kernel_shape = [6, 6]>(a)
        f = Flatten(m)
        y = Gemm(f, g)
    """
    found = placed(graph_of, body, FLAT)

    assert [value.name for value in found.activations] == ["x", "a", "m", "f"]
    assert {value.name: source.name for value, source in found.carried.items()} == {"m": "a", "f": "a"}


def test_a_matrix_product_is_quantized_where_a_layer_follows(graph_of: GraphOf) -> None:
    body = "p = GlobalAveragePool(x) f = Flatten(p) a = Gemm(f, g) {} b = Gemm(c, g) y = Neg(b)"
    direct, through_float = (placed(graph_of, body.format(between), FLAT) for between in ("c = Relu(a)", "c = Tanh(a)"))

    assert [value.name for value in direct.activations] == ["f", "c"]
    assert [value.name for value in through_float.activations] == ["f", "c"]
    assert next(iter(direct.weights)).node.outputs[0].name == "a"


@pytest.mark.parametrize(
    ("body", "gates"),
    [
        ("a = Conv(x, w) h = HardSigmoid(a) b = Mul(a, h) c = Conv(b, w) y = Neg(c)", 1),  # hard-swish
        ("a = Conv(x, w) h = HardSigmoid(a) b = Mul(x, h) c = Conv(b, w) y = Neg(c)", 1),  # squeeze and excite
        # Cut off below, the input would be wrong for another reader; and layers get no more than their own pair.
        ("a = Conv(x, w) h = HardSigmoid(a) b = Mul(a, h) c = Add(a, b) d = Conv(c, w) y = Neg(d)", 0),
        ("a = Conv(x, w) h = HardSigmoid(a) c = Conv(h, w) y = Neg(c)", 0),
    ],
)
def test_gates_are_done_in_integers_where_products_alone_see_them(graph_of: GraphOf, body: str, gates: int) -> None:
    found = placed(graph_of, body)

    assert len(found.gates) == gates
    assert any(value.name == "h" for value in found.activations)


def test_a_layer_left_out_is_not_quantized_around(graph_of: GraphOf) -> None:
    text = f"net ({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w) [two] b = Conv(a, w) y = Neg(b) }}"

    found = place(graph_of(text, w=W), ("two",), ONNXRUNTIME_X86)

    assert [value.name for value in found.activations] == ["x", "a"]
    assert found.left_out == {"two": "it is left out by choice"}
