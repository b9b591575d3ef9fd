"""What INT8 in one activation alone does to a network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.quantize import trials as module
from edgecnn.quantize.calibrate import collect_ranges
from edgecnn.quantize.centre import centre_activations
from edgecnn.quantize.insert import insert_qdq, scales_of
from edgecnn.quantize.output_error import OutputError
from edgecnn.quantize.place import Placement, place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, QUANT_MAX, TENSORRT, Scheme
from edgecnn.quantize.trials import activation_errors, trials

GraphOf = Callable[..., Any]
Frames = list[dict[str, np.ndarray]]

RANDOM = np.random.default_rng(0)
PICTURE = "float[1, 4, 6, 6]"
X: Frames = [{"x": 3 * RANDOM.standard_normal((1, 4, 6, 6)).astype(np.float32)} for _ in range(6)]
ARRAYS: dict[str, np.ndarray] = {
    "w": RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32) / 2,
    "v": RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32) / 6,
    "b": RANDOM.standard_normal(4).astype(np.float32),
    "k": np.full(1, 0.5, np.float32),
    "zero": np.zeros((), np.float32),
    "six": np.full((), 6, np.float32),
    "scales": np.array([1, 1, 2, 2], np.float32),
}
# Sums over outputs of FP32 convolutions, which ONNX Runtime may add up in another order.
ROUNDING = 1e-5
# In which everything is rounded to 0.
NOTHING_LEFT = Range(-1e6, 1e6)

NETWORKS: dict[str, str] = {
    "a chain": f"""({PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) c = Conv<pads = [1, 1, 1, 1]>(r, v) s = Relu(c) y = Conv(s, w)
    }}""",
    "residual additions": f"""({PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Relu(a)
        c = Conv<pads = [1, 1, 1, 1]>(r, v) s = Add(c, r)
        d = Conv<pads = [1, 1, 1, 1]>(s, v) t = Add(s, d)
        e = Conv(t, w) y = Relu(e)
    }}""",
    "several outputs": f"""({PICTURE} x) => ({PICTURE} y, {PICTURE} r, {PICTURE} z, float[1, 4, 1, 1] m) {{
        a = Conv(x, w, b) r = Relu(a) m = GlobalAveragePool(a)
        c = Conv(r, w) y = Relu(c) d = Conv<pads = [1, 1, 1, 1]>(r, v) e = Conv(d, w) z = Exp(e)
    }}""",
    "other readers": f"""({PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Relu(a) c = Conv(r, w) e = Tanh(r) f = Mul(c, e) g = Add(f, x) y = Conv(g, w)
    }}""",
    "two inputs": f"""({PICTURE} x, {PICTURE} u) => ({PICTURE} y) {{
        a = Conv(u, w) c = Conv(x, w) d = Add(a, c) e = Exp(k) f = Mul(d, e) y = Conv(f, w, b)
    }}""",
    "pooling and joining": f"""({PICTURE} x) => (float[1, 4, 1, 1] y) {{
        a = Conv(x, w, b) r = Relu(a) p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)
        c = Conv(p, w) s = Sigmoid(c) m = Mul(c, s) q = GlobalAveragePool(m) e = Conv(q, w, b) y = Exp(e)
    }}""",
    # One of two branches goes on behind the place where both are joined, and nothing of the other does.
    "branches that are joined twice": f"""({PICTURE} x) => ({PICTURE} y, float[1, 4, 3, 3] z) {{
        a = Conv(x, w) r = Relu(a)
        c = Conv<strides = [2, 2]>(r, w) s = Relu(c)
        d = Conv(s, w) e = Resize<mode = "nearest">(d, , scales) f = Add(r, e) g = Relu(f)
        h = Conv<strides = [2, 2]>(r, w) i = Add(h, s) j = Relu(i)
        y = Conv(g, w) z = Conv(j, w)
    }}""",
}
CASES = [(case, scheme) for case in NETWORKS for scheme in (TENSORRT, ONNXRUNTIME_X86)]


def frames_of(model: ir.Model, frames: Frames = X) -> Frames:
    """With the pictures of the next frame for a second input."""
    if len(model.graph.inputs) == 1:
        return frames
    return [{"x": one["x"], "u": two["x"]} for one, two in zip(frames, [*frames[1:], frames[0]], strict=True)]


def network(graph_of: GraphOf, case: str) -> ir.Model:
    return graph_of(f"net {NETWORKS[case]}", **ARRAYS)


def by_inserting(
    model: ir.Model, name: str, seen: Range, frames: Frames, scheme: Scheme, exclude: Collection[str] = ()
) -> float:
    """The error of a copy with Q/DQ at this activation alone."""
    copy = ir.from_proto(ir.to_proto(model))
    activations = place(copy, exclude, scheme).activations
    chosen = {value: uses for value, uses in activations.items() if value.name == name}
    assert len(chosen) == 1
    insert_qdq(copy, Placement(chosen, [], {}), {name: seen}, {}, scheme)
    return OutputError(model, frames).of(copy)


def names_of(model: ir.Model, scheme: Scheme = TENSORRT, exclude: Collection[str] = ()) -> list[str]:
    return [str(value.name) for value in place(model, exclude, scheme).activations]


def ranges_of(model: ir.Model, names: Collection[str], frames: Frames, scheme: Scheme) -> dict[str, list[Range]]:
    """A narrow and a wide one for each.

    Symmetric ones reach below all values: QuantizeLinear has one step more there than TensorRT's range.
    """
    seen = collect_ranges(model, names, frames, QuantizePart(observer="minmax"), symmetric=False)
    if not scheme.symmetric:
        return {
            name: [Range(each.low / 4, each.high / 2), Range(2 * each.low, each.high)] for name, each in seen.items()
        }
    peaks = {name: [max(-each.low, each.high / 4), 2 * each.peak] for name, each in seen.items()}
    return {name: [Range(-peak, peak) for peak in each] for name, each in peaks.items()}


@pytest.mark.parametrize(("case", "scheme"), CASES, ids=lambda each: each if isinstance(each, str) else each.name)
def test_an_error_is_that_of_the_network_with_one_pair(graph_of: GraphOf, case: str, scheme: Scheme) -> None:
    """Of several ranges one after the other."""
    model = network(graph_of, case)
    frames, names = frames_of(model), names_of(model, scheme)
    ranges = ranges_of(model, names, frames, scheme)
    assert len(names) >= 2

    found = {
        name: [trial(each) for each in (*ranges[name], ranges[name][0])]
        for name, trial in trials(model, names, frames, scheme)
    }

    assert found.keys() == set(names)
    for name, (narrow, wide, again) in found.items():
        expected = [by_inserting(model, name, each, frames, scheme) for each in ranges[name]]
        assert [narrow, wide] == pytest.approx(expected, rel=ROUNDING)
        assert again == narrow != wide


@pytest.mark.parametrize("scheme", [TENSORRT, ONNXRUNTIME_X86], ids=["tensorrt", "x86"])
def test_each_activation_alone(graph_of: GraphOf, scheme: Scheme) -> None:
    model = network(graph_of, "residual additions")
    names = names_of(model, scheme)
    ranges = {name: wide for name, (_, wide) in ranges_of(model, names, X, scheme).items()}

    found = activation_errors(model, ranges, X, scheme)

    expected = {name: by_inserting(model, name, each, X, scheme) for name, each in ranges.items()}
    assert found == pytest.approx(expected, rel=ROUNDING)
    assert list(found) == names


@pytest.mark.parametrize("seen", [Range(-1, 5), Range(0, 3), Range(-4, 0.5)])
def test_a_range_that_is_not_symmetric_is_that_of_a_value_without_its_middle(graph_of: GraphOf, seen: Range) -> None:
    """Where the scheme has no zero points."""
    model = graph_of(f"net ({PICTURE} x) => ({PICTURE} y) {{ y = Conv(x, w, b) }}", w=ARRAYS["w"], b=ARRAYS["b"])

    found = activation_errors(model, {"x": seen}, X, TENSORRT)

    weight, bias = np.float64(ARRAYS["w"]).reshape(4, 4), np.float64(ARRAYS["b"]).reshape(4, 1, 1)
    x = np.concatenate([frame["x"] for frame in X])
    middle, step = np.float32((seen.low + seen.high) / 2), scales_of((seen.high - seen.low) / 2)
    rounded = np.clip(np.rint((x - middle) / step), -QUANT_MAX, QUANT_MAX) * step.astype(np.float64) + middle
    output = np.einsum("oi,nihw->nohw", weight, x) + bias
    error = np.einsum("oi,nihw->nohw", weight, rounded - x)
    assert found["x"] == pytest.approx((error**2).sum() / (output**2).sum(), rel=1e-4)


def test_a_centred_activation_makes_the_error_that_was_foreseen(graph_of: GraphOf) -> None:
    text = f"""net ({PICTURE} x) => ({PICTURE} y) {{
        a = Conv(x, w, b) r = Clip(a, zero, six) c = Conv(r, w) y = Tanh(c)
    }}"""
    model, moved = (graph_of(text, **ARRAYS) for _ in range(2))
    # Less than what the ReLU6 lets through.
    ranges = {"x": Range(-9, 9), "r": Range(0, 4.5)}

    foreseen = activation_errors(model, ranges, X, TENSORRT)["r"]

    assert centre_activations(moved, place(moved), ranges, {"r"}) == 1
    assert ranges["r"] == Range(-2.25, 2.25)
    placement = place(moved)
    chosen = {value: uses for value, uses in placement.activations.items() if value.name == "r"}
    insert_qdq(moved, Placement(chosen, [], {}), ranges, {}, TENSORRT)
    assert foreseen == pytest.approx(OutputError(model, X).of(moved), rel=1e-4)


def test_names_come_in_the_graphs_order(graph_of: GraphOf) -> None:
    """Those that are asked for alone."""
    model = network(graph_of, "residual additions")
    assert names_of(model) == ["x", "r", "s", "t"]

    assert [name for name, _ in trials(model, ("t", "x", "s"), X, TENSORRT)] == ["x", "s", "t"]
    assert list(trials(model, (), X, TENSORRT)) == []


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("y = Conv(r, w)", 1),
        ("y = Conv(r, w) z = Exp(r)", 1),
        ("y = Conv(r, w) z = Relu(r)", 1),
        ("y = Conv(r, w) z = Conv(r, w)", 2),
        ("y = Conv(r, w) [other] z = Conv(r, w)", 1),
        ("y = Exp(r) z = Conv(r, w)", 1),
        ("y = Conv(r, w) z = Conv(x, none)", 1),
    ],
)
def test_readers_that_stay_in_fp32_see_the_exact_value(graph_of: GraphOf, rest: str, expected: int) -> None:
    """Each output that sees nothing has an error of 1; one that was always 0 counts as nothing."""
    outputs = f"{PICTURE} y, {PICTURE} z" if "z =" in rest else f"{PICTURE} y"
    arrays = {"w": ARRAYS["w"], "none": np.zeros((4, 4, 1, 1), np.float32)}
    model = graph_of(f"net ({PICTURE} x) => ({outputs}) {{ a = Conv(x, w) r = Relu(a) {rest} }}", **arrays)

    found = activation_errors(model, {"r": NOTHING_LEFT}, X, TENSORRT, exclude=("other",))

    assert found == {"r": pytest.approx(expected, rel=1e-6)}


def test_an_output_that_is_quantized_for_others_stays_as_it_is(graph_of: GraphOf) -> None:
    text = f"net ({PICTURE} x) => ({PICTURE} r, {PICTURE} y) {{ a = Conv(x, w) r = Relu(a) y = Conv(r, w) }}"

    found = activation_errors(graph_of(text, w=ARRAYS["w"]), {"r": NOTHING_LEFT}, X, TENSORRT)

    assert found == {"r": pytest.approx(1, rel=1e-6)}


# Of a frame both outputs are kept, and what the second layer reads, in INT8 and in FP32: 576 bytes each.
FRAME_BYTES = 4 * 576


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        (0, [0]),
        (FRAME_BYTES, [0]),
        (3 * FRAME_BYTES - 1, [0, 3]),
        (3 * FRAME_BYTES, [0, 2, 4]),
        (4 * FRAME_BYTES, [0, 1, 3, 4]),
        (2**30, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_there_are_as_many_frames_as_memory_holds(
    graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch, memory: int, used: list[int]
) -> None:
    """From everywhere: pictures often lie in the order of their classes."""
    text = f"""net ({PICTURE} x) => ({PICTURE} y, {PICTURE} z) {{
        a = Conv(x, w) r = Relu(a) y = Conv(r, w) z = Tanh(r)
    }}"""
    model = graph_of(text, w=ARRAYS["w"])
    ranges = {"x": Range(-4, 4), "r": Range(-4, 4)}
    expected = activation_errors(model, ranges, [X[index] for index in used], TENSORRT)

    monkeypatch.setattr(module, "_MOST_BYTES", memory)

    assert activation_errors(model, ranges, X, TENSORRT) == expected


def test_pictures_of_any_size_will_do(graph_of: GraphOf) -> None:
    """Nothing says how much memory they take."""
    text = "net (float[1, 4, H, W] x) => (float[1, 4, H, W] y) { a = Conv(x, w) r = Relu(a) y = Conv(r, w) }"
    model = graph_of(text, w=ARRAYS["w"])
    ranges = {"x": Range(-12, 12), "r": Range(-2, 2)}

    found = activation_errors(model, ranges, X, TENSORRT)

    expected = {name: by_inserting(model, name, each, X, TENSORRT) for name, each in ranges.items()}
    assert found == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("case", NETWORKS)
def test_model_and_frames_are_left_as_they_were(graph_of: GraphOf, case: str) -> None:
    model = network(graph_of, case)
    frames: Sequence[dict[str, np.ndarray]] = [
        {name: array.copy() for name, array in frame.items()} for frame in frames_of(model)
    ]
    before = ir.to_proto(model).SerializeToString()

    activation_errors(model, dict.fromkeys(names_of(model), Range(-1, 1)), frames, TENSORRT)

    assert ir.to_proto(model).SerializeToString() == before
    for frame, given in zip(frames, frames_of(model), strict=True):
        assert frame.keys() == given.keys()
        for name, array in given.items():
            np.testing.assert_array_equal(frame[name], array)
