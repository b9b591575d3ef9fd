"""A folded network computes what the unfolded one did, whatever the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.graph.fold_bn import fold_batch_norm, foldable_batch_norms

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# At most 8 x 3 x 3 products, each rounded to 6e-8 of itself, in another order: 4e-6 of the largest sum. A chain of
# BatchNorms may enlarge a part of that which then cancels out.
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
    norms_before: int = 0,
    shift_before: bool = True,
) -> None:
    """Fold ``layer``, of an input ``c``, and the BatchNorms on both sides of it, and compare."""
    lines: list[str] = []
    value = "x"
    for index in range(norms_before + norms):
        if index == norms_before:
            lines.append(f"l = {layer.replace('(c', f'({value}')}")
            value = "l"
        before = index < norms_before
        made = norm_weights(random, feed.shape[1] if before else channels, f"n{index}")
        if before and not shift_before:
            made |= {name: 0 * made[name] for name in (f"n{index}b", f"n{index}m")}
        weights |= made
        parameters = ", ".join(f"n{index}{name}" for name in "gbmv")
        epsilon = random.choice([1e-5, 1e-3])
        lines.append(f"c{index} = BatchNormalization<epsilon = {epsilon:.5f}>({value}, {parameters})")
        value = f"c{index}"
    if not norms:
        lines.append(f"l = {layer.replace('(c', f'({value}')}")
        value = "l"
    sizes = ", ".join(str(size) for size in feed.shape)
    unknown = ", ".join(f"D{index}" for index in range(feed.ndim))
    body = "\n".join(lines)
    model = graph_of(f"net (float[{sizes}] x) => (float[{unknown}] {value}) {{ {body} }}", **weights)
    expected = outputs_of(model, x=feed)[value]

    counts = {"folded": norms_before + norms} if norms_before + norms else {}
    assert fold_batch_norm(model).counts == counts

    operator = layer.partition("(")[0].partition("<")[0]
    assert [node.op_type for node in model.graph] == [operator.replace("MatMul", "Gemm") if counts else operator]
    found = outputs_of(model, x=feed)[value]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * max(1.0, float(np.abs(expected).max())))
    assert foldable_batch_norms(model) == []
    assert not fold_batch_norm(model).modified


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
    dilation=st.integers(1, 2),
    pad=st.integers(0, 1),
    bias=st.booleans(),
    norms_before=st.integers(0, 2),
    norms=st.integers(0, 2),
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
    dilation: int,
    pad: int,
    bias: bool,
    norms_before: int,
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
    if operator == "ConvTranspose":
        pad = min(pad, kernel - 1)  # cut off no more than there is
    attributes = f"group = {groups}"
    for name, value, count in (("strides", stride, 1), ("dilations", dilation, 1), ("pads", pad, 2)):
        attributes += f", {name} = [{', '.join([str(value)] * dimensions * count)}]"
    layer = f"{operator}<{attributes}>(c, w{', k' if bias else ''})"
    feed = random.standard_normal((2, groups * inputs, *(6,) * dimensions)).astype(np.float32)
    # Where a shift in front of the layer can be part of a bias.
    even = pad == 0 if operator == "Conv" else kernel == stride == 1
    check(graph_of, outputs_of, layer, weights, feed, channels, norms, random, norms_before, even)


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 4),
    inner=st.integers(1, 8),
    channels=st.integers(1, 5),
    transposed=st.booleans(),
    bias=st.sampled_from(["", "channels", "row", "scalar", "rows", "full"]),
    factors=st.sampled_from(["", "alpha = 0.5, ", "alpha = -2.0, beta = 3.0, "]),
    norms_before=st.integers(0, 2),
    norms=st.integers(0, 2),
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
    factors: str,
    norms_before: int,
    norms: int,
) -> None:
    random = np.random.default_rng(seed)
    shape = (channels, inner) if transposed else (inner, channels)
    weights = {"w": random.standard_normal(shape).astype(np.float32)}
    if bias:
        forms: dict[str, tuple[int, ...]] = {
            "channels": (channels,),
            "row": (1, channels),
            "scalar": (),
            "rows": (rows, 1),
            "full": (rows, channels),
        }
        weights["k"] = np.asarray(random.standard_normal(forms[bias]), dtype=np.float32)
    layer = f"Gemm<{factors}transB = {int(transposed)}>(c, w{', k' if bias else ''})"
    feed = random.standard_normal((rows, inner)).astype(np.float32)
    check(graph_of, outputs_of, layer, weights, feed, channels, norms, random, norms_before)


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 4),
    inner=st.integers(1, 8),
    channels=st.integers(1, 5),
    norms_before=st.integers(0, 2),
    norms=st.integers(0, 2),
)
def test_matrix_products(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    seed: int,
    rows: int,
    inner: int,
    channels: int,
    norms_before: int,
    norms: int,
) -> None:
    random = np.random.default_rng(seed)
    weights = {"w": random.standard_normal((inner, channels)).astype(np.float32)}
    feed = random.standard_normal((rows, inner)).astype(np.float32)
    check(graph_of, outputs_of, "MatMul(c, w)", weights, feed, channels, norms, random, norms_before)


@EXAMPLES
@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kinds=st.lists(st.sampled_from(["Conv", "depthwise", "ConvTranspose"]), min_size=3, max_size=3),
    biases=st.lists(st.booleans(), min_size=3, max_size=3),
    norms=st.integers(1, 3),
)
def test_joined_layers(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    seed: int,
    widths: list[int],
    kinds: list[str],
    biases: list[bool],
    norms: int,
) -> None:
    """Layers side by side whose channels a Concat joins, and BatchNorms behind it."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    lines: list[str] = []
    channels = 0
    for index, (width, kind, bias) in enumerate(zip(widths, kinds, biases, strict=False)):
        width = 2 if kind == "depthwise" else width
        shape = {"Conv": (width, 2, 1, 1), "depthwise": (2, 1, 1, 1), "ConvTranspose": (2, width, 1, 1)}[kind]
        weights[f"w{index}"] = random.standard_normal(shape).astype(np.float32)
        weights |= {f"k{index}": random.standard_normal(width).astype(np.float32)} if bias else {}
        operator, groups = ("Conv", 2) if kind == "depthwise" else (kind, 1)
        lines.append(f"l{index} = {operator}<group = {groups}>(x, w{index}{f', k{index}' if bias else ''})")
        channels += width
    value = "j"
    lines.append(f"j = Concat<axis = 1>({', '.join(f'l{index}' for index in range(len(lines)))})")
    for index in range(norms):
        weights |= norm_weights(random, channels, f"n{index}")
        lines.append(f"c{index} = BatchNormalization({value}, {', '.join(f'n{index}{name}' for name in 'gbmv')})")
        value = f"c{index}"
    model = graph_of(f"net (float[2, 2, 3, 3] x) => (float[N, C, H, W] {value}) {{ {' '.join(lines)} }}", **weights)
    feed = random.standard_normal((2, 2, 3, 3)).astype(np.float32)
    expected = outputs_of(model, x=feed)[value]

    assert fold_batch_norm(model).counts == {"folded": norms}

    assert "BatchNormalization" not in {node.op_type for node in model.graph}
    found = outputs_of(model, x=feed)[value]
    np.testing.assert_allclose(found, expected, atol=RELATIVE * max(1.0, float(np.abs(expected).max())))
    assert not fold_batch_norm(model).modified
