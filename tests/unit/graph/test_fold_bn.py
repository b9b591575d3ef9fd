"""Folding BatchNormalization: what is folded, what is refused, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.fold_bn import fold_batch_norm, foldable_batch_norms
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


JOINED = """net (float[2, 3, 5, 5] x) => (float[2, 4, 3, 3] y) {
    [first] c = Conv(x, w1)
    [second] d = Conv(x, w2, k2)
    j = Concat<axis = 1>(c, d)
    n = BatchNormalization(j, g, b, m, v)
    y = Relu(n)
}"""


def test_layers_whose_channels_are_joined_each_take_their_part(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(JOINED, w1=KERNEL[:1], w2=KERNEL[1:], k2=array(3), **norm_weights(0))
    before = outputs_of(model, x=PICTURE)

    assert fold_batch_norm(model).counts == {"folded": 1}

    assert [node.op_type for node in model.graph] == ["Conv", "Conv", "Concat", "Relu"]
    assert [node.name for node in model.graph][:2] == ["first", "second"]
    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before["y"], atol=SAME)
    assert fold_batch_norm(model).counts == {}


def test_a_batch_norm_of_joined_layers_may_be_the_output(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = JOINED.replace("n = Batch", "y = Batch").replace("    y = Relu(n)\n", "")
    model = graph_of(text, w1=KERNEL[:1], w2=KERNEL[1:], k2=array(3), **norm_weights(0))
    before = outputs_of(model, x=PICTURE)

    fold_batch_norm(model)

    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before["y"], atol=SAME)


@pytest.mark.parametrize(
    ("joined", "reason"),
    [
        ("r = Relu(d) j = Concat<axis = 1>(c, r)", "other producer"),
        ("r = Relu(d) z = Sub(r, r) e = Add(d, z) j = Concat<axis = 1>(c, e)", "other producer"),
        ("j = Concat<axis = 1>(c, d) also = Relu(d)", "two consumers"),
        ("j = Concat<axis = 1>(c, d) also = Relu(j)", "two consumers"),
        ("j = Concat<axis = 2>(i, d) also = Relu(x)", "other producer"),
    ],
)
def test_joined_layers_of_which_one_cannot_stay_as_they_are(graph_of: GraphOf, joined: str, reason: str) -> None:
    model = graph_of(
        f"""net (float[2, 3, 5, 5] x) => (float[N, 4, H, W] y, float[A, B, C, D] also) {{
            c = Conv(x, w1)
            i = Conv(x, w)
            d = Conv(x, {"w" if "axis = 2" in joined else "w2"})
            {joined if "also" in joined else joined + " also = Relu(x)"}
            y = BatchNormalization(j, g, b, m, v)
        }}""",
        w=KERNEL,
        w1=KERNEL[:1],
        w2=KERNEL[1:],
        **norm_weights(0),
    )

    assert fold_batch_norm(model).counts == {reason: 1}


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


def norm(value: str, prefix: str = "") -> str:
    return f"BatchNormalization({value}, {prefix}g, {prefix}b, {prefix}m, {prefix}v)"


NORM = norm("c")
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
    "a shift where a kernel overlaps itself": (
        "padding",
        f"net ({OUT} x) => (float[2, 2, 5, 5] y) {{ c = {norm('x')} y = ConvTranspose(c, w) }}",
        18,
        {"w": array(4, 2, 3, 3)},
    ),
    "a shift and a stride between its traces": (
        "padding",
        """net (float[2, 4, 3, 3] x) => (float[2, 2, 5, 5] y) {
            c = BatchNormalization(x, g, b, m, v)
            y = ConvTranspose<strides = [2, 2]>(c, w)
        }""",
        18,
        {"w": array(4, 2, 1, 1)},
    ),
    "in front of two layers": (
        "two consumers",
        f"""net ({OUT} x) => (float[2, 2, 1, 1] y) {{
            c = BatchNormalization(x, g, b, m, v)
            p = Conv(c, w)
            q = Conv(c, w)
            y = Add(p, q)
        }}""",
        18,
        {"w": array(2, 4, 3, 3)},
    ),
    "in front of a layer, seen from outside": (
        "graph output",
        f"""net ({OUT} x) => (float[2, 2, 1, 1] y, {OUT} c) {{
            c = BatchNormalization(x, g, b, m, v)
            y = Conv(c, w)
        }}""",
        18,
        {"w": array(2, 4, 3, 3)},
    ),
    "a weight itself": (
        "other producer",
        f"net (float[2, 4, 5, 5] x) => (float[2, 2, 3, 3] y) {{ c = Relu(w) k = {NORM} y = Conv(x, k) }}",
        18,
        {"w": array(2, 4, 3, 3)},
    ),
    "transposed on its way": (
        "other producer",
        f"""net (float[2, 5, 3] x) => (float[2, 4, 5] y) {{
            a = MatMul(x, w)
            c = Transpose<perm = [0, 2, 1]>(a)
            y = {NORM}
        }}""",
        18,
        {"w": array(3, 4)},
    ),
    "in front of three dimensions": (
        "matmul rank",
        "net (float[2, 4, 3] x) => (float[2, 4, 5] y) { c = BatchNormalization(x, g, b, m, v) y = MatMul(c, w) }",
        18,
        {"w": array(3, 5)},
    ),
    "in front of a transposed input": (
        "transposed input",
        "net (float[3, 4] x) => (float[4, 5] y) { c = BatchNormalization(x, g, b, m, v) y = Gemm<transA = 1>(c, w) }",
        18,
        {"w": array(3, 5)},
    ),
    "training in front of a layer": (
        "training mode",
        f"""net ({OUT} x) => (float[2, 2, 1, 1] y, float[4] mean) {{
            c, mean, variance = BatchNormalization<training_mode = 1>(x, g, b, m, v)
            y = Conv(c, w)
        }}""",
        18,
        {"w": array(2, 4, 3, 3)},
    ),
}
# Paddings of the convolution behind a BatchNorm with a shift.
for _padding in ("pads = [0, 0, 1, 0]", 'auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"'):
    REFUSED[f"in front of {_padding}"] = (
        "padding",
        f"net ({OUT} x) => (float[2, 2, D, E] y) {{ c = {norm('x')} y = Conv<{_padding}>(c, w) }}",
        18,
        {"w": array(2, 4, 3, 3)},
    )


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


# Layers with four input channels, and what BatchNorm in front of them they take; what is left.
IN_FRONT: dict[str, tuple[str, tuple[int, ...], tuple[int, ...], str]] = {
    "Conv": ("Conv(c, w)", (2, 4, 5, 5), (3, 4, 3, 3), "Conv"),
    "with a bias": ("Conv(c, w, k)", (2, 4, 5, 5), (3, 4, 3, 3), "Conv"),
    "with a stride": ("Conv<strides = [2, 2]>(c, w)", (2, 4, 5, 5), (3, 4, 3, 3), "Conv"),
    "in groups": ("Conv<group = 2>(c, w)", (2, 4, 5, 5), (6, 2, 3, 3), "Conv"),
    "depthwise": ("Conv<group = 4>(c, w)", (2, 4, 5), (4, 1, 2), "Conv"),
    "valid": ('Conv<auto_pad = "VALID">(c, w)', (2, 4, 5, 5), (3, 4, 3, 3), "Conv"),
    "nothing to pad": ('Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(c, w)', (2, 4, 5, 5), (3, 4, 1, 1), "Conv"),
    "ConvTranspose": ("ConvTranspose<group = 2>(c, w)", (2, 4, 5, 5), (4, 3, 1, 1), "ConvTranspose"),
    "Gemm": ("Gemm(c, w, k)", (5, 4), (4, 3), "Gemm"),
    "scaled Gemm": ("Gemm<alpha = 0.5, beta = 2.0>(c, w, k)", (5, 4), (4, 3), "Gemm"),
    "transposed Gemm": ("Gemm<transB = 1>(c, w)", (5, 4), (3, 4), "Gemm"),
    "MatMul": ("MatMul(c, w)", (5, 4), (4, 3), "Gemm"),
}


@pytest.mark.parametrize("case", IN_FRONT)
def test_a_batch_norm_in_front_of_a_layer_is_folded(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    layer, size, weight, left = IN_FRONT[case]
    sizes, unknown = ", ".join(map(str, size)), ", ".join("DEFG"[: len(size)])
    text = f"net (float[{sizes}] x) => (float[{unknown}] y) {{ c = {norm('x')} [layer] y = {layer} }}"
    model = graph_of(text, w=array(*weight), k=array(3), **norm_weights(0))
    before = outputs_of(model, x=array(*size))

    assert fold_batch_norm(model).counts == {"folded": 1}

    assert [(node.op_type, node.name) for node in model.graph] == [(left, "layer")]
    np.testing.assert_allclose(outputs_of(model, x=array(*size))["y"], before["y"], atol=SAME)
    assert not fold_batch_norm(model).modified


@pytest.mark.parametrize("layer", ["Conv<pads = [1, 1, 1, 1]>", "ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>"])
def test_without_a_shift_padding_is_no_obstacle(graph_of: GraphOf, outputs_of: OutputsOf, layer: str) -> None:
    text = f"net (float[2, 4, 5, 5] x) => (float[D, E, F, G] y) {{ c = {norm('x')} y = {layer}(c, w) }}"
    weights = norm_weights(0)
    weights["b"] = np.zeros(CHANNELS, np.float32)
    weights["m"] = np.zeros(CHANNELS, np.float32)
    model = graph_of(text, w=array(4, 4, 3, 3), **weights)
    before = outputs_of(model, x=array(2, 4, 5, 5))

    assert fold_batch_norm(model).counts == {"folded": 1}

    np.testing.assert_allclose(outputs_of(model, x=array(2, 4, 5, 5))["y"], before["y"], atol=SAME)


def test_the_layer_before_comes_first(graph_of: GraphOf) -> None:
    text = f"net (float[2, 3, 5, 5] x) => (float[2, 4, 1, 1] y) {{ c = Conv(x, w) n = {norm('c')} y = Conv(n, u) }}"
    model = graph_of(text, w=KERNEL, u=array(4, 4, 3, 3), **norm_weights(0))

    fold_batch_norm(model)

    assert [len(node.inputs) for node in model.graph] == [3, 2]


def test_batch_norms_without_a_layer_become_one(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"net ({OUT} x) => ({OUT} y) {{ a = Relu(x) n = {norm('a')} o = {norm('n', 'h')} [last] y = {norm('o')} }}"
    model = graph_of(text, **norm_weights(0), **norm_weights(1, "h"))
    feed = array(2, 4, 3, 3)
    before = outputs_of(model, x=feed)
    assert len(foldable_batch_norms(model)) == 2

    assert fold_batch_norm(model).counts == {"merged": 2, "other producer": 1}

    assert [(node.op_type, node.name) for node in model.graph][1:] == [("BatchNormalization", "last")]
    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], before["y"], atol=SAME)
    assert foldable_batch_norms(model) == []
    assert not fold_batch_norm(model).modified


def test_a_chain_in_front_of_a_layer_folds_into_it(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"net ({OUT} x) => (float[2, 2, 1, 1] y) {{ n = {norm('x')} o = {norm('n', 'h')} y = Conv(o, w) }}"
    model = graph_of(text, w=array(2, 4, 3, 3), **norm_weights(0), **norm_weights(1, "h"))
    feed = array(2, 4, 3, 3)
    before = outputs_of(model, x=feed)

    assert fold_batch_norm(model).counts == {"folded": 2}

    assert [node.op_type for node in model.graph] == ["Conv"]
    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], before["y"], atol=SAME)


def test_parameters_are_seen_through_identities_and_casts(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"""net (float[2, 3, 5, 5] x) => ({OUT} y) {{
        w1 = Cast<to = 1>(w)
        g1 = Identity(g)
        b1 = Cast<to = 1>(b)
        m1 = Cast<to = 10>(m)
        m2 = Cast<to = 11>(m1)
        m3 = Identity(m2)
        m4 = Cast<to = 1>(m3)
        c = Conv(x, w1)
        y = BatchNormalization(c, g1, b1, m4, v)
    }}"""
    weights = norm_weights(0) | {"w": KERNEL.astype(np.float16), "b": array(CHANNELS).astype(np.float64)}
    model = graph_of(text, **weights)
    before = outputs_of(model, x=PICTURE)

    assert fold_batch_norm(model).counts == {"folded": 1}

    np.testing.assert_allclose(outputs_of(model, x=PICTURE)["y"], before["y"], atol=SAME)


def test_what_would_not_be_finite_stays(graph_of: GraphOf) -> None:
    model = graph_of(CONV.replace("(c, g", "<epsilon = 0.0>(c, g"), w=KERNEL, **norm_weights(0) | {"v": array(4) * 0})

    assert fold_batch_norm(model).counts == {"overflow": 1}
    assert foldable_batch_norms(model) == []


def test_weights_of_fp16_stay_fp16_and_do_not_overflow(graph_of: GraphOf) -> None:
    text = CONV.replace("float[", "float16[")
    weights = {name: array.astype(np.float16) for name, array in norm_weights(0).items()}
    model = graph_of(text, 14, w=KERNEL.astype(np.float16), **weights)
    assert fold_batch_norm(model).counts == {"folded": 1}
    assert {value.const_value.dtype.name for value in next(iter(model.graph)).inputs[1:]} == {"FLOAT16"}

    large = graph_of(text, 14, w=KERNEL.astype(np.float16), **weights | {"g": np.full(4, 6e4, np.float16)})
    assert fold_batch_norm(large).counts == {"overflow": 1}


def test_branches_are_folded_too(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = graph_of(
        f"""net (float[2, 3, 5, 5] x, bool yes) => ({OUT} y) {{
            out = Conv(x, w)
            y = If(yes) <
                then_branch = t () => ({OUT} p) {{ c = Conv(x, w) p = {norm("c")} }},
                else_branch = e () => ({OUT} q) {{ q = {norm("out")} }}>
        }}""",
        w=KERNEL,
        **norm_weights(0),
    )
    feeds = [{"x": PICTURE, "yes": np.array(choice)} for choice in (True, False)]
    before = [outputs_of(model, **feed)["y"] for feed in feeds]
    assert foldable_batch_norms(model) == ["p"]

    assert fold_batch_norm(model).counts == {"folded": 1, "other producer": 1}

    for feed, expected in zip(feeds, before, strict=True):
        np.testing.assert_allclose(outputs_of(model, **feed)["y"], expected, atol=SAME)


GEMM = "net (float[5, 3] x) => (float[5, 4] y) { c = Gemm<alpha = 0.5, beta = 2.0>(x, w, k) y = " + NORM + " }"


@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), (1, 1), (), (5, 1), (5, 4)], ids=str)
def test_a_gemm_bias_of_any_shape_is_folded(graph_of: GraphOf, outputs_of: OutputsOf, bias: tuple[int, ...]) -> None:
    model = graph_of(GEMM, w=array(3, 4), k=array(*bias), **norm_weights(0))
    feed = array(5, 3)
    before = outputs_of(model, x=feed)

    assert fold_batch_norm(model).counts == {"folded": 1}

    np.testing.assert_allclose(outputs_of(model, x=feed)["y"], before["y"], atol=SAME)
