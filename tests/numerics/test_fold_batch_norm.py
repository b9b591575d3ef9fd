"""A folded network computes what the unfolded one did, whatever the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.graph.fold_bn import fold_batch_norm

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# At most 8 x 3 x 3 products, each rounded to 6e-8 of itself, in another order: 4e-6 of the largest sum. A chain of
# three BatchNorms may enlarge a part of that which then cancels out.
RELATIVE = 1e-4
EXAMPLES = settings(max_examples=60, deadline=None)


def norm_weights(random: np.random.Generator, channels: int, prefix: str) -> dict[str, np.ndarray]:
    values = {
        "g": random.uniform(-2, 2, channels),
        "b": random.standard_normal(channels),
        "m": random.standard_normal(channels),
        "v": random.uniform(0.05, 4, channels),
    }
    return {prefix + name: value.astype(np.float32) for name, value in values.items()}


def check(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    layer: str,
    weights: dict[str, np.ndarray],
    feed: np.ndarray,
    channels: int,
    norms: int,
    random: np.random.Generator,
) -> None:
    """Fold ``c = layer`` and the BatchNorms behind it, and compare."""
    lines, value = [f"c0 = {layer}"], "c0"
    for index in range(norms):
        weights |= norm_weights(random, channels, f"n{index}")
        parameters = ", ".join(f"n{index}{name}" for name in "gbmv")
        epsilon = random.choice([1e-5, 1e-3])
        lines.append(f"c{index + 1} = BatchNormalization<epsilon = {epsilon:.5f}>({value}, {parameters})")
        value = f"c{index + 1}"
    sizes = ", ".join(str(size) for size in feed.shape)
    unknown = ", ".join(f"D{index}" for index in range(feed.ndim))
    body = "\n".join(lines)
    model = graph_of(f"net (float[{sizes}] x) => (float[{unknown}] {value}) {{ {body} }}", **weights)
    expected = outputs_of(model, x=feed)[value]

    assert fold_batch_norm(model).counts == {"folded": norms}

    assert [node.op_type for node in model.graph] == [
        layer.partition("(")[0].partition("<")[0].replace("MatMul", "Gemm")
    ]
    found = outputs_of(model, x=feed)[value]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * max(1.0, float(np.abs(expected).max())))


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    operator=st.sampled_from(["Conv", "ConvTranspose"]),
    dimensions=st.sampled_from([1, 2]),
    groups=st.integers(1, 4),
    inputs=st.integers(1, 2),
    outputs=st.integers(1, 2),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 2),
    bias=st.booleans(),
    norms=st.integers(1, 3),
)
def test_convolutions(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    seed: int,
    operator: str,
    dimensions: int,
    groups: int,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    bias: bool,
    norms: int,
) -> None:
    """Groups of any width, depthwise ones (one channel in and out a group) among them."""
    random = np.random.default_rng(seed)
    window = (kernel,) * dimensions
    channels = groups * outputs
    shape = (channels, inputs, *window) if operator == "Conv" else (groups * inputs, outputs, *window)
    weights = {"w": random.standard_normal(shape).astype(np.float32)}
    if bias:
        weights["k"] = random.standard_normal(channels).astype(np.float32)
    strides = ", ".join([str(stride)] * dimensions)
    layer = f"{operator}<group = {groups}, strides = [{strides}]>(x, w{', k' if bias else ''})"
    feed = random.standard_normal((2, groups * inputs, *(5,) * dimensions)).astype(np.float32)
    check(graph_of, outputs_of, layer, weights, feed, channels, norms, random)


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 4),
    inner=st.integers(1, 8),
    channels=st.integers(1, 5),
    transposed=st.booleans(),
    bias=st.sampled_from(["", "channels", "row", "scalar"]),
    norms=st.integers(1, 2),
)
def test_fully_connected(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    seed: int,
    rows: int,
    inner: int,
    channels: int,
    transposed: bool,
    bias: str,
    norms: int,
) -> None:
    random = np.random.default_rng(seed)
    shape = (channels, inner) if transposed else (inner, channels)
    weights = {"w": random.standard_normal(shape).astype(np.float32)}
    if bias:
        forms: dict[str, tuple[int, ...]] = {"channels": (channels,), "row": (1, channels), "scalar": ()}
        weights["k"] = np.asarray(random.standard_normal(forms[bias]), dtype=np.float32)
    layer = f"Gemm<transB = {int(transposed)}>(x, w{', k' if bias else ''})"
    feed = random.standard_normal((rows, inner)).astype(np.float32)
    check(graph_of, outputs_of, layer, weights, feed, channels, norms, random)


@EXAMPLES
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 4), inner=st.integers(1, 8), channels=st.integers(1, 5))
def test_matrix_products(
    graph_of: GraphOf, outputs_of: OutputsOf, seed: int, rows: int, inner: int, channels: int
) -> None:
    random = np.random.default_rng(seed)
    weights = {"w": random.standard_normal((inner, channels)).astype(np.float32)}
    feed = random.standard_normal((rows, inner)).astype(np.float32)
    check(graph_of, outputs_of, "MatMul(x, w)", weights, feed, channels, 1, random)
