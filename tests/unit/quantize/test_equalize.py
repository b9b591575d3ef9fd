"""Channels of one tensor get ranges of one size, where nothing else sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.quantize.calibrate import run_observed
from edgecnn.quantize.equalize import equalize
from edgecnn.quantize.schemes import ONNXRUNTIME_X86

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

PICTURE = "float[1, 4, 6, 6]"
RANDOM = np.random.default_rng(0)
FRAMES = [{"x": RANDOM.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(8)]
# Sums of at most 36 products in FP32, relative to the largest.
RELATIVE = 1e-5


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def uneven(*shape: int) -> np.ndarray:
    """Weights whose output channels differ by orders of magnitude."""
    sizes = np.float32([1, 0.03, 0.2, 0.005]).reshape(4, *[1] * (len(shape) - 1))
    return normal(*shape) * sizes


ARRAYS = {
    "w": uneven(4, 4, 1, 1),
    "b": normal(4) * np.float32([1, 0.03, 0.2, 0.005]),
    "v": normal(4, 4, 1, 1),
    "d": normal(4, 1, 3, 3),
    "k": normal(1, 4, 1, 1),
    "g": normal(4, 3),
    "s": np.float32([0.1, 0.2, 0.3, 0.4]).reshape(4, 1, 1),
    "zero": np.float32(0),
    "one": np.float32(1),
    "six": np.float32(6),
    "spatial": np.int64([2, 3]),
    "channel": np.int64([1]),
    "around": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    "double": np.float32([1, 1, 2, 2]),
    "row": np.int64([1, 4]),
    "flat": np.int64([1, 144]),
    "f": normal(144, 3),
}
LAST = f"({PICTURE} x) => (float[N, C, H, W] y)"


def network(graph_of: GraphOf, text: str, **arrays: np.ndarray) -> Any:
    used = {name: array for name, array in (ARRAYS | arrays).items() if f" {name}" in text}
    return graph_of(f"net {text}", **used)


def same(outputs_of: OutputsOf, original: Any, model: Any, frames: list[dict[str, np.ndarray]]) -> None:
    for frame in frames:
        expected = outputs_of(original, **frame)
        for name, found in outputs_of(model, **frame).items():
            np.testing.assert_allclose(found, expected[name], atol=RELATIVE * np.abs(expected[name]).max())


def peaks(model: Any, name: str) -> np.ndarray:
    """The largest absolute value in each channel."""
    return np.max([np.abs(array).max(axis=(0, 2, 3)) for _, array in run_observed(model, [name], FRAMES)], axis=0)


def spread(values: np.ndarray) -> float:
    return float(values.max() / values.min())


# What lies between a layer with uneven channels, which makes a, and one that reads r.
PASSES: dict[str, str] = {
    "nothing": "r = Identity(a)",
    "Relu": "r = Relu(a)",
    "LeakyRelu": "r = LeakyRelu(a)",
    "PRelu": "r = PRelu(a, s)",
    "MaxPool": "r = MaxPool<kernel_shape = [2, 2]>(a)",
    "AveragePool": "r = AveragePool<kernel_shape = [2, 2]>(a)",
    "GlobalAveragePool": "r = GlobalAveragePool(a)",
    "ReduceMean": "r = ReduceMean(a, spatial)",
    "Pad": "r = Pad(a, around)",
    "reflection": 'r = Pad<mode = "reflect">(a, around)',
    "Resize": 'r = Resize<mode = "linear">(a, , double)',
    "Clip": "r = Clip(a, zero, six)",
    "an addition": "e = Conv(x, v) r = Add(a, e)",
    "Concat": "e = Conv(x, v) q = Concat<axis = 1>(a, e) r = MaxPool<kernel_shape = [1, 1]>(q)",
}


@pytest.mark.parametrize("case", PASSES)
def test_scales_go_through(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    wide = normal(4, 8, 1, 1)
    text = f"{LAST} {{ a = Conv(x, w, b) {PASSES[case]} y = Conv(r, {'wide' if case == 'Concat' else 'v'}) }}"
    original, model = (network(graph_of, text, wide=wide) for _ in range(2))

    assert equalize(model, FRAMES) == (8 if case == "Concat" else 3 if case == "Clip" else 4)

    same(outputs_of, original, model, FRAMES)
    assert spread(peaks(model, "a")) < spread(peaks(original, "a")) * 2 / 3


FLAT: dict[str, str] = {
    "Flatten": "p = GlobalAveragePool(a) r = Flatten(p)",
    "Reshape": "p = GlobalAveragePool(a) r = Reshape(p, row)",
    "Squeeze": "p = GlobalAveragePool(a) r = Squeeze(p, spatial)",
    "ReduceMean": "r = ReduceMean<keepdims = 0>(a, spatial)",
}


@pytest.mark.parametrize("layer", ["Gemm", "MatMul"])
@pytest.mark.parametrize("case", FLAT)
def test_scales_go_through_to_a_classifier(graph_of: GraphOf, outputs_of: OutputsOf, case: str, layer: str) -> None:
    text = f"({PICTURE} x) => (float[N, C] y) {{ a = Conv(x, w, b) {FLAT[case]} y = {layer}(r, g) }}"
    original, model = (network(graph_of, text) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)


def test_scales_go_through_to_a_classifier_of_every_place(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"({PICTURE} x) => (float[N, C] y) {{ a = Conv(x, w, b) r = Reshape(a, flat) y = Gemm(r, f) }}"
    original, model = (network(graph_of, text) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)
    assert spread(peaks(model, "a")) < spread(peaks(original, "a"))


SHUFFLE = "p = Reshape(a, halves) q = Transpose<perm = [0, 2, 1, 3, 4]>(p) r = Reshape(q, joined)"


def test_scales_follow_shuffled_channels(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"{LAST} {{ a = Conv(x, w, b) {SHUFFLE} y = Conv(r, v) }}"
    sizes = {"halves": np.int64([1, 2, 2, 6, 6]), "joined": np.int64([1, 4, 6, 6])}
    original, model = (network(graph_of, text, **sizes) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)
    assert spread(peaks(model, "a")) < spread(peaks(original, "a"))


# What lies between, where the channels must stay as they are; the layers are called one and two.
BARS: dict[str, str] = {
    "Sigmoid": "y = Sigmoid(a) }",
    "another reader": "y = Conv(a, v) t = Exp(a) z = Identity(t) }",
    "an input added": "r = Add(a, x) [two] y = Conv(r, v) }",
    "a constant joined": "r = Concat<axis = 1>(a, whole) [two] y = Conv(r, wide) }",
    "joined along rows": "r = Concat<axis = 2>(a, a) [two] y = Conv(r, v) }",
    "padding with a value": "r = Pad(a, around, one) [two] y = Conv(r, v) }",
    "a mean over channels": "r = ReduceMean(a, channel) [two] y = Conv(r, thin) }",
    "a floor below zero": "r = Clip(a, below, six) [two] y = Conv(r, v) }",
}


@pytest.mark.parametrize("case", BARS)
def test_scales_stop(graph_of: GraphOf, case: str) -> None:
    text = f"{LAST} {{ [one] a = Conv(x, w, b) {BARS[case]}"
    if case == "another reader":
        text = text.replace("=> (", f"=> ({PICTURE} z, ")
    model = network(
        graph_of,
        text,
        whole=normal(1, 4, 6, 6),
        wide=normal(4, 8, 1, 1),
        thin=normal(4, 1, 1, 1),
        below=np.float32(-1),
    )
    before = ir.to_proto(model).SerializeToString()

    assert equalize(model, FRAMES) == 0

    assert ir.to_proto(model).SerializeToString() == before


ELEMENTWISE: dict[str, str] = {
    "Sigmoid": "r = Sigmoid(a)",
    "Swish": "t = Sigmoid(a) r = Mul(a, t)",
    "a constant added": "r = Add(a, k)",
}


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_scales_start_anew_behind_what_has_none(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text = f"{LAST} {{ a = Conv(x, w, b) {ELEMENTWISE[case]} y = Conv(r, v) }}"
    original, model = (network(graph_of, text) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)
    assert [node.op_type for node in model.graph][-2:] == ["Mul", "Conv"]
    assert spread(peaks(model, "r.equalized")) < spread(peaks(original, "r"))


def test_nothing_is_added_where_it_would_be_a_kernel_of_its_own(graph_of: GraphOf) -> None:
    model = network(graph_of, f"{LAST} {{ a = Conv(x, w, b) r = Sigmoid(a) y = Conv(r, v) }}")

    assert equalize(model, FRAMES, scheme=ONNXRUNTIME_X86) == 0

    assert [node.op_type for node in model.graph] == ["Conv", "Sigmoid", "Conv"]


CHAIN = f"({PICTURE} x) => ({PICTURE} y) {{ [one] a = Conv(x, w, b) r = Relu(a) [two] y = Conv(r, v) }}"


def test_what_is_seen_from_outside_stays(graph_of: GraphOf) -> None:
    model = network(graph_of, CHAIN.replace("=> (", f"=> ({PICTURE} a, "))

    assert equalize(model, FRAMES) == 0


@pytest.mark.parametrize("name", ["one", "two"])
def test_layers_can_be_left_out_by_choice(graph_of: GraphOf, name: str) -> None:
    assert equalize(network(graph_of, CHAIN), FRAMES) == 4
    assert equalize(network(graph_of, CHAIN), FRAMES, {name}) == 0


def test_a_branch_that_reads_from_outside_bars_all(graph_of: GraphOf) -> None:
    text = f"""({PICTURE} x, bool c) => ({PICTURE} y, {PICTURE} z) {{
        a = Conv(x, w, b) r = Relu(a) y = Conv(r, v)
        z = If(c) <then_branch = t () => ({PICTURE} p) {{ p = Exp(a) }},
                  else_branch = e () => ({PICTURE} q) {{ q = Neg(a) }}>
    }}"""
    model = network(graph_of, text)

    assert equalize(model, [frame | {"c": np.asarray(True)} for frame in FRAMES]) == 0


def test_weights_that_layers_share_stay_for_the_other(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"""({PICTURE} x) => ({PICTURE} y, {PICTURE} z) {{
        [one] a = Conv(x, w, b) r = Relu(a) [two] y = Conv(r, v)
        [other] z = Conv(x, w, b)
    }}"""
    original, model = (network(graph_of, text) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    (other,) = [node for node in model.graph if node.name == "other"]
    np.testing.assert_array_equal(other.inputs[1].const_value.numpy(), ARRAYS["w"])
    np.testing.assert_array_equal(other.inputs[2].const_value.numpy(), ARRAYS["b"])
    same(outputs_of, original, model, FRAMES)


def test_a_residual_chain_shares_its_scales(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """All that is added has the same scale in a channel, and so has what reads the sums."""
    text = f"""({PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b)
        p = Conv(a, v) e = Add(a, p)
        q = Conv(e, v) t = Add(q, e)
        y = Conv(t, v)
    }}"""
    original, model = (network(graph_of, text) for _ in range(2))

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)
    ratios = [peaks(model, name) / peaks(original, name) for name in ("a", "p", "e", "q", "t")]
    for ratio in ratios[1:]:
        np.testing.assert_allclose(ratio, ratios[0], rtol=1e-4)


def test_a_quantized_branch_keeps_its_range(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    text = f"""
({PICTURE} x) => (float[N, C, H, W] y) {{
    a = Conv(x, v)
    c = Conv(x, w, b)
    t = Add(c, a)
    r = Relu(t)
    y = Conv(r, k)
}}
"""
    arrays = {"w": normal(4, 4, 1, 1), "b": np.float32([0, 0, 0, 0])}
    found = run_observed(network(graph_of, text, **arrays), ["t"], FRAMES)
    # The last channel hardly ever gets over the ReLU, while the branches in front of it are as wide as the others.
    arrays["b"][3] = 1e-3 - max(float(array[0, 3].max()) for _, array in found)
    original, model = network(graph_of, text, **arrays), network(graph_of, text, **arrays)

    assert equalize(model, FRAMES) == 4

    same(outputs_of, original, model, FRAMES)
    # By the range behind the ReLU alone it would be 1,000.
    assert spread(peaks(model, "a")) < 50


def test_a_channel_that_is_always_zero_stays(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    dead = ARRAYS["w"].copy()
    dead[2] = 0
    text = CHAIN.replace("(x, w, b)", "(x, dead)")
    original, model = (network(graph_of, text, dead=dead) for _ in range(2))

    assert equalize(model, FRAMES) == 3

    same(outputs_of, original, model, FRAMES)


@pytest.mark.parametrize(
    "text",
    [
        "(float[1, C, 6, 6] x) => (float[1, 4, 6, 6] y) { a = Conv(x, w, b) r = Relu(a) y = Conv(r, v) }",
        "(float[1, 4, H, H] x) => (float[1, C] y) { p = Flatten(x) a = Gemm(p, f) r = Relu(a) y = Gemm(r, t) }",
    ],
)
def test_layers_whose_input_has_an_open_size_stay(graph_of: GraphOf, text: str) -> None:
    model = network(graph_of, text, t=normal(3, 3))

    assert equalize(model, FRAMES) == 0


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_layer_of_several_rows_is_scaled_by_its_outputs(graph_of: GraphOf, outputs_of: OutputsOf, rows: int) -> None:
    """A bias for each row, even of as many rows as outputs, is not one for each output."""
    text = f"(float[{rows}, 4] x) => (float[{rows}, 2] y) {{ a = Gemm(x, g, e) r = Relu(a) y = Gemm(r, u) }}"
    frames = [{"x": normal(rows, 4) * np.float32(step)} for step in (1, -1, 0.5)]
    for bias, scaled in ((normal(3), True), (normal(1, 3), True), (normal(1), True), (normal(rows, 1), rows == 1)):
        original, model = (network(graph_of, text, e=bias, u=normal(3, 2)) for _ in range(2))

        assert (equalize(model, frames) > 0) == scaled

        same(outputs_of, original, model, frames)


def test_no_frames_change_nothing(graph_of: GraphOf) -> None:
    model = network(graph_of, CHAIN)
    before = ir.to_proto(model).SerializeToString()

    assert equalize(model, []) == 0

    assert ir.to_proto(model).SerializeToString() == before


def test_a_ceiling_stays_out_of_reach(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """Channels behind a ReLU6 are scaled up only, and the largest value stays well below 6."""
    text = f"{LAST} {{ a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, v) }}"
    original, model = (network(graph_of, text) for _ in range(2))
    before = peaks(original, "r")

    equalize(model, FRAMES)

    after = peaks(model, "r")
    assert (after >= before * (1 - RELATIVE)).all()
    assert after[before < 6 / 2].max() <= 6 / 1.25
    same(outputs_of, original, model, FRAMES)


# What lies between a Clip and the layer whose input is observed.
BEHIND_A_CLIP: dict[str, str] = {
    "averages": "r = Clip(a, zero, six) p = GlobalAveragePool(r) y = Conv(p, v)",
    "a lower ceiling before": "q = Clip(a, zero, one) r = Clip(q, zero, six) y = Conv(r, v)",
    "a sum that is smaller": "r = Clip(a, zero, six) n = Conv(x, opposite) e = Add(r, n) y = Conv(e, v)",
}


@pytest.mark.parametrize(
    "case",
    [
        "averages",
        "a lower ceiling before",
        "a sum that is smaller",
    ],
)
def test_a_ceiling_cuts_off_nothing_that_the_frames_have(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text = f"{LAST} {{ a = Conv(x, w, b) {BEHIND_A_CLIP[case]} }}"
    original, model = (network(graph_of, text, opposite=-ARRAYS["w"]) for _ in range(2))

    equalize(model, FRAMES)

    same(outputs_of, original, model, FRAMES)
