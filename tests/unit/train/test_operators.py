"""Every operator of a graph that is trained computes what ONNX Runtime does, in batches too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

from edgecnn.errors import InputError  # noqa: E402 - after the skip
from edgecnn.train.qat.graph_module import GraphModule  # noqa: E402

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]
# Sums in another order.
SAME = {"rtol": 1e-4, "atol": 1e-5}
MAPS, SIGNAL, DEEP = (1, 4, 7, 9), (1, 3, 20), (1, 8, 3, 5)
# What gives two dimensions; the others give as many as they take.
MATRICES = ("gemm", "gemm, scaled", "mean")
OPERATORS = {
    "conv": (MAPS, "y = Conv<strides = [2, 1], dilations = [1, 2], pads = [1, 2, 1, 2]>(x, w6x4x3x3, b6)"),
    "conv, uneven pads": (MAPS, "y = Conv<pads = [0, 1, 2, 3]>(x, w6x4x3x3)"),
    "conv, depthwise": (MAPS, "y = Conv<group = 4>(x, w8x1x3x3)"),
    "conv of signals": (SIGNAL, "y = Conv<pads = [2, 2]>(x, w5x3x5)"),
    "conv, transposed": (
        MAPS,
        "y = ConvTranspose<strides = [2, 2], pads = [1, 0, 0, 1], output_padding = [1, 0]>(x, w4x5x3x3, b5)",
    ),
    "gemm": (MAPS, "f = Flatten(x) \n y = Gemm<transB = 1>(f, w5x252, b5)"),
    "gemm, scaled": (MAPS, "f = Flatten(x) \n y = Gemm<alpha = 0.5, beta = 2.0>(f, w252x5, b1x5)"),
    "matmul": (MAPS, "y = MatMul(x, w9x3)"),
    "max pool": (DEEP, "y = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x)"),
    "max pool, padded": (MAPS, "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"),
    "average pool": (MAPS, "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"),
    "average pool, pads count": (
        MAPS,
        "y = AveragePool<kernel_shape = [2, 3], pads = [0, 1, 1, 1], count_include_pad = 1>(x)",
    ),
    "global pools": (MAPS, "a = GlobalAveragePool(x) \n b = GlobalMaxPool(x) \n y = Concat<axis = 1>(a, b)"),
    "mean": (MAPS, "y = ReduceMean<keepdims = 0>(x, i_2)"),
    "sum and maximum": (MAPS, "a = ReduceSum(x, i1) \n b = ReduceMax(x, i1) \n y = Sub(a, b)"),
    "reshape": (MAPS, "y = Reshape(x, i1_2_m1_9)"),
    "transpose": (MAPS, "y = Transpose<perm = [0, 2, 3, 1]>(x)"),
    "axes": (MAPS, "a = Unsqueeze(x, i2) \n y = Squeeze(a, i2)"),
    "split": (MAPS, "a, b = Split<axis = 1>(x, i1_3) \n c = Sigmoid(b) \n y = Concat<axis = 1>(c, a)"),
    "slice": (MAPS, "y = Slice(x, i1_0, i1000_m1, i2_3, i1_2)"),
    "gather": (MAPS, "y = Gather<axis = 1>(x, i2_0_m1)"),
    "expand": (MAPS, "a = GlobalAveragePool(x) \n b = Expand(a, i1_4_7_9) \n y = Sub(x, b)"),
    "pad": (MAPS, "y = Pad(x, i0_0_1_2_0_0_0_3, half)"),
    "pad, some axes": (MAPS, "y = Pad(x, i1_2_0_3, half, i2_3)"),
    "pad by reflection": (MAPS, 'y = Pad<mode = "reflect">(x, i0_0_1_2_0_0_1_3)'),
    "resize, nearest": (
        MAPS,
        'y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">'
        "(x, , factors)",
    ),
    "resize, linear": (MAPS, 'y = Resize<mode = "linear">(x, , , i1_4_14_18)'),
    "clip": (MAPS, "a = Clip(x, zero, half) \n b = Clip(x, , zero) \n y = Add(a, b)"),
    "activations": (
        MAPS,
        """a = HardSwish(x)
        b = HardSigmoid<alpha = 0.16, beta = 0.5>(a)
        c = LeakyRelu<alpha = 0.1>(x)
        d = Elu(c)
        e = Tanh(d)
        f = Softplus(x)
        g = PRelu(x, b4x1x1)
        h = Relu(x)
        y = Concat<axis = 1>(b, e, f, g, h)""",
    ),
    "arithmetic": (
        MAPS,
        """a = Abs(x)
        b = Add(a, half)
        c = Sqrt(b)
        d = Div(x, c)
        e = Exp(d)
        f = Log(e)
        g = Erf(f)
        h = Neg(g)
        i = Pow(h, two)
        j = Max(i, x)
        y = Min(j, half)""",
    ),
    "softmax": (MAPS, "y = Softmax<axis = 1>(x)"),
    "norms": (MAPS, "a = InstanceNormalization(x, b4, c4) \n y = LRN<size = 3, alpha = 0.1, bias = 2.0>(a)"),
    "batch norm": (MAPS, "y = BatchNormalization(x, b4, c4, c4, positive4)"),
    "layer norm": (MAPS, "y = LayerNormalization<axis = -1>(x, b9, c9)"),
    "depth to space": (
        DEEP,
        """a = DepthToSpace<blocksize = 2, mode = "DCR">(x)
        b = DepthToSpace<blocksize = 2, mode = "CRD">(x)
        y = Sub(a, b)""",
    ),
    "gelu": (MAPS, 'a = Gelu(x) \n b = Gelu<approximate = "tanh">(x) \n y = Concat<axis = 1>(a, b)'),
}


def weights_of(text: str) -> dict[str, np.ndarray]:
    """What a text names, by its name: i1_m1 for whole numbers, w2x3 for drawn ones of that shape."""
    named: dict[str, Any] = {"zero": 0, "half": 0.5, "two": 2, "factors": [1, 1, 2, 2], "positive4": [0.3, 1, 2, 0.1]}
    found = {name: np.float32(value) for name, value in named.items() if name in text}
    for word in set(text.replace("(", " ").replace(")", " ").replace(",", " ").split()):
        if word[0] == "i" and word[1:2] in tuple("0123456789_"):
            numbers = [int(part.replace("m", "-")) for part in word[1:].split("_") if part]
            found[word] = np.array([-1, 2] if word == "i_2" else numbers, dtype=np.int64)
        elif word[0] in "wbc" and word[1:2].isdigit():
            shape = [int(part) for part in word[1:].split("x")]
            found[word] = np.random.default_rng(ord(word[0])).standard_normal(shape).astype(np.float32)
    return found


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_computes_what_onnxruntime_does(graph_of: GraphOf, outputs_of: OutputsOf, name: str) -> None:
    shape, text = OPERATORS[name]
    sizes = ", ".join(map(str, shape))
    open_sizes = ", ".join("abcde"[: 2 if name in MATRICES else len(shape)])
    model = graph_of(f"net (float[{sizes}] x) => (float[{open_sizes}] y) {{ {text} }}", 20, **weights_of(text))
    random = np.random.default_rng(3)
    pictures = [random.standard_normal(shape).astype(np.float32) for _ in range(3)]
    expected = [outputs_of(model, x=picture)["y"] for picture in pictures]

    found = GraphModule(model)(torch.from_numpy(np.concatenate(pictures))).numpy()

    assert found.shape == (3, *expected[0].shape[1:])
    np.testing.assert_allclose(found, np.concatenate(expected), **SAME)


@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_an_operator_without_a_gradient_is_named(graph_of: GraphOf, domain: str) -> None:
    model = graph_of("net (float[1, 3] x) => (float[1, 3] y) { [last] y = Softsign(x) }")
    next(iter(model.graph)).domain = domain

    with pytest.raises(InputError, match="Softsign, at last"):
        GraphModule(model)
