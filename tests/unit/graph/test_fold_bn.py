"""Folding BatchNormalization: what is folded, what is refused, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.fold_bn import fold_batch_norm
from edgecnn.graph.summary import count_parameters

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# A few dozen products summed in another order, times BatchNorm's scale: some 1e-6 of the values, which are near 1 here.
SAME = 1e-4
CHANNELS = 4
INPUTS = 3


def norm_weights(seed: int, prefix: str = "") -> dict[str, np.ndarray]:
    """Gain, shift, mean and variance of a BatchNorm as it is after training."""
    random = np.random.default_rng(seed)
    values = {
        "g": random.uniform(0.5, 2, CHANNELS),
        "b": random.standard_normal(CHANNELS),
        "m": random.standard_normal(CHANNELS),
        "v": random.uniform(0.1, 3, CHANNELS),
    }
    return {prefix + name: value.astype(np.float32) for name, value in values.items()}


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


PICTURE = array(2, INPUTS, 5, 5)
KERNEL = array(CHANNELS, INPUTS, 3, 3)
CONV = """net (float[2, 3, 5, 5] x) => (float[2, 4, 3, 3] y) {
    [conv] c = Conv(x, w)
    [norm] y = BatchNormalization(c, g, b, m, v)
}"""


def test_a_folded_pair_is_one_node_under_the_old_names(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(CONV, w=KERNEL, **norm_weights(0))
    before = outputs_of(model, x=PICTURE)

    result = fold_batch_norm(model)

    assert result.modified
    assert result.counts == {"folded": 1}
    assert [(node.op_type, node.name, node.outputs[0].name) for node in model.graph] == [("Conv", "conv", "y")]
    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before["y"], atol=SAME)


def test_folding_again_changes_nothing(graph_of: GraphOf) -> None:
    model = graph_of(CONV, w=KERNEL, **norm_weights(0))
    fold_batch_norm(model)

    again = fold_batch_norm(model)

    assert not again.modified
    assert again.counts == {}


@pytest.mark.parametrize(("with_bias", "lost"), [(False, CHANNELS), (True, 2 * CHANNELS)])
def test_gains_and_shifts_become_one_bias(graph_of: GraphOf, with_bias: bool, lost: int) -> None:
    text = CONV.replace("Conv(x, w)", "Conv(x, w, k)") if with_bias else CONV
    bias = {"k": array(CHANNELS)} if with_bias else {}
    model = graph_of(text, w=KERNEL, **bias, **norm_weights(0))
    before = count_parameters(model)

    fold_batch_norm(model)
    clean_up(model)

    assert before - count_parameters(model) == lost
    assert count_parameters(model) == KERNEL.size + CHANNELS


def test_a_chain_of_batch_norms_folds_into_one_layer(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        """net (float[2, 3, 5, 5] x) => (float[2, 4, 3, 3] y) {
            c = Conv(x, w)
            d = BatchNormalization<epsilon = 0.5>(c, g, b, m, v)
            y = BatchNormalization(d, hg, hb, hm, hv)
        }""",
        w=KERNEL,
        **norm_weights(0),
        **norm_weights(1, "h"),
    )
    before = outputs_of(model, x=PICTURE)

    assert fold_batch_norm(model).counts == {"folded": 2}

    assert [node.op_type for node in model.graph] == ["Conv"]
    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before["y"], atol=SAME)


def test_layers_that_share_weights_each_get_their_own(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        """net (float[2, 3, 5, 5] x) => (float[2, 4, 3, 3] p, float[2, 4, 3, 3] q, float[2, 4, 3, 3] plain) {
            c = Conv(x, w)
            p = BatchNormalization(c, g, b, m, v)
            d = Conv(x, w)
            q = BatchNormalization(d, hg, hb, hm, hv)
            plain = Conv(x, w)
        }""",
        w=KERNEL,
        **norm_weights(0),
        **norm_weights(1, "h"),
    )
    before = outputs_of(model, x=PICTURE)

    assert fold_batch_norm(model).counts == {"folded": 2}

    after = outputs_of(model, x=PICTURE)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=SAME, err_msg=name)


def test_a_result_that_leaves_the_graph_and_is_used_inside_is_still_both(
    graph_of: GraphOf, outputs_of: OutputsOf
) -> None:
    model = graph_of(
        """net (float[2, 3, 5, 5] x) => (float[2, 4, 3, 3] n, float[2, 4, 3, 3] y) {
            c = Conv(x, w)
            n = BatchNormalization(c, g, b, m, v)
            y = Relu(n)
        }""",
        w=KERNEL,
        **norm_weights(0),
    )
    before = outputs_of(model, x=PICTURE)

    assert fold_batch_norm(model).modified

    after = outputs_of(model, x=PICTURE)
    np.testing.assert_allclose(after["n"], before["n"], atol=SAME)
    np.testing.assert_allclose(after["y"], before["y"], atol=SAME)


NORM = "BatchNormalization(c, g, b, m, v)"
OUT = "float[2, 4, 3, 3]"
REFUSED: dict[str, tuple[str, str, int, dict[str, np.ndarray]]] = {
    "after an activation": (
        "other producer",
        f"net (float[2, 3, 5, 5] x) => ({OUT} y) {{ a = Conv(x, w) c = Relu(a) y = {NORM} }}",
        18,
        {"w": KERNEL},
    ),
    "on the input itself": (
        "other producer",
        "net (float[2, 3, 5, 5] x) => (float[2, 3, 5, 5] y) { y = BatchNormalization(x, k, k, k, k) }",
        18,
        {"k": np.ones(3, np.float32)},
    ),
    "used twice": (
        "two consumers",
        f"net (float[2, 3, 5, 5] x) => ({OUT} y) {{ c = Conv(x, w) n = {NORM} y = Add(n, c) }}",
        18,
        {"w": KERNEL},
    ),
    "seen from outside": (
        "graph output",
        f"net (float[2, 3, 5, 5] x) => ({OUT} y, {OUT} c) {{ c = Conv(x, w) y = {NORM} }}",
        18,
        {"w": KERNEL},
    ),
    "gain computed": (
        "not constant",
        f"""net (float[2, 3, 5, 5] x) => ({OUT} y) {{
            c = Conv(x, w)
            s = ReduceSum<keepdims = 0>(x)
            gs = Mul(g, s)
            y = BatchNormalization(c, gs, b, m, v)
        }}""",
        18,
        {"w": KERNEL},
    ),
    "bias computed": (
        "not constant",
        f"""net (float[2, 3, 5, 5] x) => ({OUT} y) {{
            s = ReduceSum<keepdims = 0>(x)
            k = Mul(b, s)
            c = Conv(x, w, k)
            y = {NORM}
        }}""",
        18,
        {"w": KERNEL},
    ),
    "training by attribute": (
        "training mode",
        f"""net (float[2, 3, 5, 5] x) => ({OUT} y, float[4] mean) {{
            c = Conv(x, w)
            y, mean, variance = BatchNormalization<training_mode = 1>(c, g, b, m, v)
        }}""",
        18,
        {"w": KERNEL},
    ),
    "training by outputs": (
        "training mode",
        f"""net (float[2, 3, 5, 5] x) => ({OUT} y) {{
            c = Conv(x, w)
            y, mean, variance, saved_mean, saved_variance = BatchNormalization(c, g, b, m, v)
        }}""",
        13,
        {"w": KERNEL},
    ),
    "three dimensions": (
        "matmul rank",
        f"net (float[2, 4, 3] x) => (float[2, 4, 4] y) {{ c = MatMul(x, w) y = {NORM} }}",
        18,
        {"w": array(3, 4)},
    ),
    "alpha": (
        "gemm form",
        f"net (float[4, 3] x) => (float[4, 4] y) {{ c = Gemm<alpha = 0.5>(x, w) y = {NORM} }}",
        18,
        {"w": array(3, 4)},
    ),
    "beta": (
        "gemm form",
        f"net (float[4, 3] x) => (float[4, 4] y) {{ c = Gemm<beta = 2.0>(x, w, k) y = {NORM} }}",
        18,
        {"w": array(3, 4), "k": array(4)},
    ),
    # As many rows as channels: a bias of the one must not be taken for a bias of the other.
    "a bias for each row": (
        "gemm form",
        f"net (float[4, 3] x) => (float[4, 4] y) {{ c = Gemm(x, w, k) y = {NORM} }}",
        18,
        {"w": array(3, 4), "k": array(4, 1)},
    ),
    "a bias for each element": (
        "gemm form",
        f"net (float[4, 3] x) => (float[4, 4] y) {{ c = Gemm(x, w, k) y = {NORM} }}",
        18,
        {"w": array(3, 4), "k": array(4, 4)},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_counted_and_leaves_the_graph_as_it_was(
    graph_of: GraphOf, outputs_of: OutputsOf, case: str
) -> None:
    reason, text, opset, weights = REFUSED[case]
    model = graph_of(text, opset, **weights, **norm_weights(0))
    feed = array(*(size for size in model.graph.inputs[0].shape))
    before = outputs_of(model, x=feed)
    nodes = [(node.op_type, [value.name for value in node.inputs]) for node in model.graph]

    result = fold_batch_norm(model)

    assert not result.modified
    assert result.counts == {reason: 1}
    assert [(node.op_type, [value.name for value in node.inputs]) for node in model.graph] == nodes
    for name, expected in before.items():
        np.testing.assert_array_equal(outputs_of(model, x=feed)[name], expected)


@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), (1, 1), ()], ids=str)
def test_a_gemm_bias_of_any_shape_that_is_the_same_for_each_row_is_folded(
    graph_of: GraphOf, outputs_of: OutputsOf, bias: tuple[int, ...]
) -> None:
    text = f"net (float[5, 3] x) => (float[5, 4] y) {{ c = Gemm(x, w, k) y = {NORM} }}"
    model = graph_of(text, w=array(3, 4), k=array(*bias), **norm_weights(0))
    feed = array(5, 3)
    before = outputs_of(model, x=feed)

    assert fold_batch_norm(model).counts == {"folded": 1}

    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], before["y"], atol=SAME)
