"""From an FP32 network to INT8, as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.core.recipe import QuantizePart
from edgecnn.errors import GateMissed
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize import activations
from edgecnn.quantize.activations import worth_a_node
from edgecnn.quantize.choose import choose_ranges
from edgecnn.quantize.integer_forms import suits_gate
from edgecnn.quantize.network import calibrate_network, has_additions, quantize_layers, round_again
from edgecnn.quantize.output_error import OutputError
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import frames_to_round
from edgecnn.quantize.schemes import ONNXRUNTIME_X86, TENSORRT, Scheme
from edgecnn.quantize.sensitivity import measure_sensitivities

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]
Feeds = Callable[[str], Iterator[dict[str, np.ndarray]]]

SCHEMES = {"int8": Scheme("test", weights_as_int8=True), "fp32": Scheme("test", weights_as_int8=False)}
# Rounding a normal distribution to eight bits costs some 40 dB, and here seven layers do it, to inputs and weights.
BAR_DB = 30
TEXT = """net (float[1, 3, 16, 16] x) => (float[1, 5] y) {
    [stem] a0 = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w0, b0)
    a1 = Clip(a0, zero, six)
    [expand] a2 = Conv(a1, w1, b1)
    a3 = Clip(a2, zero, six)
    [depthwise] a4 = Conv<group = 16, pads = [1, 1, 1, 1]>(a3, w2, b2)
    a5 = Clip(a4, zero, six)
    [project] a6 = Conv(a5, w3, b3)
    [add] a7 = Add(a1, a6)
    [left] a8 = Conv(a7, w4)
    [right] a9 = Conv<pads = [1, 1, 1, 1]>(a7, w5)
    [join] a10 = Add(a8, a9)
    a11 = Relu(a10)
    a12 = GlobalAveragePool(a11)
    a13 = Flatten(a12)
    [classify] y = Gemm<transB = 1>(a13, w6, b6)
}"""


def arrays(seed: int) -> dict[str, np.ndarray]:
    """Weights whose outputs are near 1, in channels that differ in size."""
    random = np.random.default_rng(seed)
    shapes = [(8, 3, 3, 3), (16, 8, 1, 1), (16, 1, 3, 3), (8, 16, 1, 1), (8, 8, 1, 1), (8, 8, 3, 3), (5, 8)]
    found: dict[str, np.ndarray] = {"zero": np.float32(0), "six": np.float32(6)}
    for index, shape in enumerate(shapes):
        sizes = 2.0 ** random.uniform(-2, 1, (shape[0], *[1] * (len(shape) - 1)))
        found[f"w{index}"] = np.float32(random.standard_normal(shape) * sizes * np.sqrt(2 / np.prod(shape[1:])))
        found[f"b{index}"] = np.float32(random.standard_normal(shape[0]) * 0.3)
    return {name: array for name, array in found.items() if f" {name}" in TEXT}


def frames(count: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(7)
    return [{"x": random.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    assert purpose
    return iter(frames(64))


def quantized(model: Any, config: QuantizePart, scheme: Scheme, chosen: set[str] | None = None) -> Any:
    calibrated = calibrate_network(model, feeds, config)
    found = quantize_layers(calibrated, scheme, calibrated.layers if chosen is None else chosen)
    infer_shapes(found.model)
    return found


def decibels(outputs_of: OutputsOf, original: Any, model: Any) -> float:
    """Power of the output to that of its error, on the pictures of calibration (others reach further)."""
    pairs = [(outputs_of(original, **feed)["y"], outputs_of(model, **feed)["y"]) for feed in frames(64)]
    wanted, found = (np.concatenate(each).astype(np.float64) for each in zip(*pairs, strict=True))
    assert np.isfinite(found).all()
    return float(10 * np.log10((wanted**2).mean() / ((wanted - found) ** 2).mean()))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", range(3))
def test_a_small_network_keeps_its_output(graph_of: GraphOf, outputs_of: OutputsOf, seed: int, scheme: str) -> None:
    original, model = (graph_of(TEXT, **arrays(seed)) for _ in range(2))

    found = quantized(model, QuantizePart(), SCHEMES[scheme])

    assert found.int8_share == 1
    assert found.counts["layers in INT8"] == 7
    assert found.counts["layers left out"] == 0
    assert found.counts["layers rounded by their output"] == 7
    assert found.counts["channels equalized"] > 0
    assert decibels(outputs_of, original, found.model) > BAR_DB


@pytest.mark.parametrize("rounding", ["learned", "nearest"])
@pytest.mark.parametrize("equalize", [True, False])
def test_each_part_can_be_switched_off(graph_of: GraphOf, outputs_of: OutputsOf, equalize: bool, rounding: str) -> None:
    original, model = (graph_of(TEXT, **arrays(0)) for _ in range(2))
    config = QuantizePart.model_validate({"equalize": equalize, "rounding": rounding})

    found = quantized(model, config, SCHEMES["int8"])

    assert (found.counts["channels equalized"] > 0) == equalize
    assert ("biases corrected" in found.counts) == (rounding == "nearest")
    assert decibels(outputs_of, original, found.model) > BAR_DB - 5


def test_the_same_network_comes_out_every_time(graph_of: GraphOf) -> None:
    found = [quantized(graph_of(TEXT, **arrays(0)), QuantizePart(), SCHEMES["int8"]) for _ in range(2)]

    assert ir.to_proto(found[0].model).SerializeToString() == ir.to_proto(found[1].model).SerializeToString()


LAYERS = ("stem", "expand", "depthwise", "project", "left", "right", "classify")


@pytest.mark.parametrize("layer", LAYERS)
def test_any_layer_can_be_the_only_one(graph_of: GraphOf, outputs_of: OutputsOf, layer: str) -> None:
    original, model = (graph_of(TEXT, **arrays(0)) for _ in range(2))

    found = quantized(model, QuantizePart(), SCHEMES["int8"], {layer})

    assert found.counts["layers in INT8"] == 1
    assert 0 < found.int8_share < 1
    assert decibels(outputs_of, original, found.model) > BAR_DB


@pytest.mark.parametrize("layer", LAYERS)
def test_any_layer_can_be_left_out(graph_of: GraphOf, outputs_of: OutputsOf, layer: str) -> None:
    original, model = (graph_of(TEXT, **arrays(0)) for _ in range(2))

    found = quantized(model, QuantizePart(), SCHEMES["int8"], set(LAYERS) - {layer})

    assert found.counts["layers in INT8"] == 6
    assert decibels(outputs_of, original, found.model) > BAR_DB


def test_additions_can_be_left_out_of_all_layers(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    original, model = (graph_of(TEXT, **arrays(0)) for _ in range(2))
    calibrated = calibrate_network(model, feeds, QuantizePart())
    scheme = SCHEMES["int8"]

    again = round_again(calibrated, scheme, calibrated.layers, frames(64), additions=False)
    found = {
        additions: quantize_layers(each, scheme, calibrated.layers, additions=additions)
        for additions, each in ((True, calibrated), (False, again))
    }

    for additions, each in found.items():
        infer_shapes(each.model)
        quantized_inputs = {node.outputs[0] for node in each.model.graph if node.op_type == "DequantizeLinear"}
        read = [value for node in each.model.graph if node.op_type == "Add" for value in node.inputs]
        pairs = sum(value in quantized_inputs for value in read)
        assert each.counts["additions in INT8"] == pairs == (2 if additions else 0)
        assert each.int8_share == 1
    assert decibels(outputs_of, original, found[False].model) > decibels(outputs_of, original, found[True].model)


def test_only_a_target_that_computes_in_float_between_layers_has_additions_to_leave(graph_of: GraphOf) -> None:
    calibrated = calibrate_network(graph_of(TEXT, **arrays(0)), feeds, QuantizePart())
    plain = "net (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y) { [only] y = Conv(x, w) }"
    without = calibrate_network(graph_of(plain, w=np.ones((3, 3, 1, 1), np.float32)), plain_feeds, QuantizePart())

    assert has_additions(calibrated, TENSORRT)
    assert not has_additions(calibrated, ONNXRUNTIME_X86)
    assert not has_additions(without, TENSORRT)


def plain_feeds(purpose: str, most: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    assert purpose
    return iter([{"x": feed["x"][..., :4, :4]} for feed in frames(8)])


def test_choosing_layers_leaves_what_was_calibrated(graph_of: GraphOf) -> None:
    calibrated = calibrate_network(graph_of(TEXT, **arrays(0)), feeds, QuantizePart())
    before = ir.to_proto(calibrated.model).SerializeToString()

    quantize_layers(calibrated, SCHEMES["int8"], {"stem"})
    again = quantize_layers(calibrated, SCHEMES["int8"], calibrated.layers)

    assert ir.to_proto(calibrated.model).SerializeToString() == before
    assert again.counts["layers in INT8"] == 7


def test_a_network_without_layers_for_int8_is_refused(graph_of: GraphOf) -> None:
    model = graph_of("net (float[1, 3, 4, 4] x) => (float[1, 3, 4, 4] y) { y = Relu(x) }")

    with pytest.raises(GateMissed, match="no layer can be quantized: none has weights"):
        calibrate_network(model, feeds, QuantizePart())


def test_roundings_of_some_layers_make_up_for_no_others(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """With most layers left out, the last one takes back errors that nobody makes, until it is rounded again."""
    original, model = (graph_of(TEXT, **arrays(3)) for _ in range(2))
    infer_shapes(model)
    scheme, chosen = SCHEMES["int8"], {"classify"}
    # What a range clips is given up, and no layer makes up for that.
    calibrated = calibrate_network(model, feeds, QuantizePart(observer="minmax"))

    again = round_again(calibrated, scheme, chosen, frames(64))

    def mean_error(changed: ir.Model) -> float:
        infer_shapes(changed)
        errors = [outputs_of(changed, **feed)["y"] - outputs_of(original, **feed)["y"] for feed in frames(64)]
        return float(np.abs(np.mean(errors, axis=0)).max())

    stale, fresh = (mean_error(quantize_layers(each, scheme, chosen).model) for each in (calibrated, again))
    assert again.ranges == calibrated.ranges
    assert fresh < 1e-4 < stale


def test_what_makes_a_twentieth_of_the_error_is_worth_a_node() -> None:
    errors = {"x": 0.5, "r": 0.3, "s": 0.15, "t": 0.045, "u": 0.005}

    assert worth_a_node(("t", "r", "s"), errors) == ("r", "s")
    assert worth_a_node(("s", "u"), errors) == ("s",)
    assert worth_a_node(("t", "u"), errors) == ()
    assert worth_a_node((), {}) == ()
    assert worth_a_node(("r",), {"r": 0.0}) == ()


TWO_BRANCHES = """net (float[1, 3, 16, 16] x) => (float[1, 4, 16, 16] y) {
    [first] a = Conv(x, v)
    r = Relu(a)
    [second] b = Conv(x, v)
    s = Relu(b)
    [third] c = Conv(r, w)
    [fourth] d = Conv(s, small)
    y = Add(c, d)
}"""


@pytest.mark.parametrize("observer", ["minmax", "mse", "auto"])
def test_only_what_disturbs_the_outputs_gets_a_node(graph_of: GraphOf, observer: str) -> None:
    """Behind each ReLU that is centred there is an addition; a hundredth of one branch comes to the output."""
    random = np.random.default_rng(1)
    arrays = {
        "v": random.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "w": random.uniform(0.5, 1, (4, 4, 1, 1)).astype(np.float32),
    }
    model = graph_of(TWO_BRANCHES, **arrays, small=arrays["w"] / 100)

    found = calibrate_network(model, feeds, QuantizePart.model_validate({"observer": observer}))

    assert found.ranges["r.centred"].low == -found.ranges["r.centred"].high
    assert found.ranges["s"].low == -found.ranges["s"].high
    assert "s.centred" not in found.ranges
    assert [node.op_type for node in found.model.graph].count("Add") == 2


def test_a_centred_value_has_two_ends_to_choose(graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, tuple[Range, ...]] = {}

    def spy(model: ir.Model, ranges: dict[str, Range], errors: Any, candidates: Any, *rest: Any) -> dict[str, Range]:
        offered.update({name: (ranges[name], *candidates(name)) for name in errors})
        return choose_ranges(model, ranges, errors, candidates, *rest)

    monkeypatch.setattr(activations, "choose_ranges", spy)
    random = np.random.default_rng(1)
    arrays = {name: random.standard_normal((4, size, 1, 1)).astype(np.float32) for name, size in (("v", 3), ("w", 4))}

    calibrate_network(graph_of(TWO_BRANCHES, **arrays, small=arrays["w"] / 100), feeds, QuantizePart(observer="auto"))

    assert offered.keys() == {"x", "r", "s", "d"}
    assert all(len(ranges) == 4 for ranges in offered.values())
    assert all(each.low == 0 < each.high for each in offered.pop("r"))
    assert all(each.low == -each.high < 0 for ranges in offered.values() for each in ranges)


GATED = """net (float[1, 3, 16, 16] x) => (float[1, 4, 8, 8] y) {
    [first] a = Conv(x, v)
    [gate] h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(a)
    m = Mul(a, h)
    p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(m)
    [second] c = Conv(p, w)
    y = Exp(c)
}"""


def test_ranges_that_depend_on_something_else_are_not_chosen(graph_of: GraphOf) -> None:
    """A gate wants its zero point at a whole number, and a pool hands on what it reads."""
    random = np.random.default_rng(1)
    arrays = {name: random.standard_normal((4, size, 1, 1)).astype(np.float32) for name, size in (("v", 3), ("w", 4))}
    arrays["w"][:, :2] = 0  # so that there is something to choose

    by_error, by_outputs = (
        calibrate_network(
            graph_of(GATED, **arrays),
            feeds,
            QuantizePart.model_validate({"observer": observer, "equalize": False}),
            scheme=ONNXRUNTIME_X86,
        )
        for observer in ("mse", "auto")
    )

    gate = next(node for node in by_outputs.model.graph if node.op_type == "HardSigmoid")
    assert suits_gate(gate, by_outputs.ranges["a"])
    assert by_outputs.ranges["a"] == by_error.ranges["a"]
    assert by_outputs.ranges["m"] != by_error.ranges["m"]
    assert by_outputs.ranges["p"] == by_outputs.ranges["m"]


def test_sensitivities_are_those_of_rounding_to_nearest(graph_of: GraphOf) -> None:
    learned, nearest = (
        calibrate_network(graph_of(TEXT, **arrays(0)), feeds, QuantizePart.model_validate({"rounding": rounding}))
        for rounding in ("learned", "nearest")
    )
    done: list[None] = []

    found = measure_sensitivities(learned, TENSORRT, frames(64), lambda: done.append(None))

    error = OutputError(nearest.model, frames(64))
    assert found == {name: error.of(quantize_layers(nearest, TENSORRT, {name}).model) for name in LAYERS}
    assert found != {name: error.of(quantize_layers(learned, TENSORRT, {name}).model) for name in LAYERS}
    assert len(done) == len(LAYERS)


@pytest.mark.parametrize(("side", "expected"), [(16, 100), (320, 100), (640, 27), (4096, 1)])
def test_frames_to_round_fit_into_memory(graph_of: GraphOf, side: int, expected: int) -> None:
    model = graph_of(f"net (float[1, 3, {side}, {side}] x) => (float[1, 3, {side}, {side}] y) {{ y = Relu(x) }}")

    assert frames_to_round(model) == expected
