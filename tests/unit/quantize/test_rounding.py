"""Weights on the INT8 grid, chosen by what a layer puts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecnn.graph.layer_weights import LayerWeights, read_weights
from edgecnn.graph.model import constant
from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize import layer_rounding
from edgecnn.quantize.insert import activation_grid, insert_qdq, quantize, weight_scales
from edgecnn.quantize.moments import Moments
from edgecnn.quantize.place import place
from edgecnn.quantize.ranges import Range
from edgecnn.quantize.rounding import apply_roundings, find_roundings
from edgecnn.quantize.samples import PLACES, sample_columns
from edgecnn.quantize.schemes import QUANT_MAX, TENSORRT, Scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# A mean of some thousand FP32 numbers near 1 is exact to this.
NOTHING = 1e-5
RANDOM = np.random.default_rng(0)
PICTURES = [np.abs(RANDOM.standard_normal((1, 4, 8, 8))).astype(np.float32) for _ in range(8)]
ROWS = [np.abs(RANDOM.standard_normal((1, 6))).astype(np.float32) for _ in range(64)]
# Half of what there is: clipping takes away from every output.
CLIPPED = 1.0
# More than there is.
WHOLE = 8.0


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def round_in_place(
    model: Any, frames: Iterable[np.ndarray], limit: float = CLIPPED, *, learned: bool = True
) -> dict[str, np.ndarray]:
    """Round the weights of every layer, with one range for every activation; the scales by the layers' outputs."""
    placement = place(model)
    ranges = {str(value.name): Range(-limit, limit) for value in placement.activations}
    found = find_roundings(model, placement, ranges, ({"x": frame} for frame in frames), learned=learned)
    return apply_roundings(model, placement, found)


def quantized(model: Any, scales: dict[str, np.ndarray], limit: float = CLIPPED) -> Any:
    placement = place(model)
    ranges = {str(value.name): Range(-limit, limit) for value in placement.activations}
    insert_qdq(model, placement, ranges, scales, Scheme("test", weights_as_int8=True))
    infer_shapes(model)
    return model


def mean_error(outputs_of: OutputsOf, original: Any, model: Any, frames: list[np.ndarray]) -> np.ndarray:
    """Each output channel's mean of (quantized - FP32) over the frames."""
    differences = [outputs_of(model, x=frame)["y"] - outputs_of(original, x=frame)["y"] for frame in frames]
    axes = tuple(axis for axis in range(differences[0].ndim) if axis != 1)
    return np.mean([difference.astype(np.float64).mean(axis=axes) for difference in differences], axis=0)


LAYERS: dict[str, tuple[str, dict[str, np.ndarray], list[np.ndarray]]] = {
    "Conv": ("(float[1, 4, 8, 8] x) => (float[1, 5, 6, 6] y) { y = Conv(x, w) }", {"w": weights(5, 4, 3, 3)}, PICTURES),
    "Conv with a bias": (
        "(float[1, 4, 8, 8] x) => (float[1, 5, 8, 8] y) { y = Conv(x, w, b) }",
        {"w": weights(5, 4, 1, 1), "b": weights(5)},
        PICTURES,
    ),
    "Conv with padding and strides": (
        "(float[1, 4, 8, 8] x) => (float[1, 5, 4, 4] y) { y = Conv<pads = [0, 0, 1, 1], strides = [2, 2]>(x, w) }",
        {"w": weights(5, 4, 3, 3)},
        PICTURES,
    ),
    "Conv of groups": (
        "(float[1, 8, 8, 4] x) => (float[1, 8, 7, 4] y) { y = Conv<group = 2>(x, w, b) }",
        {"w": weights(8, 4, 2, 1), "b": weights(8)},
        [picture.reshape(1, 8, 8, 4) for picture in PICTURES],
    ),
    "Conv of one axis": (
        "(float[1, 4, 64] x) => (float[1, 5, 62] y) { y = Conv(x, w) }",
        {"w": weights(5, 4, 3)},
        [picture.reshape(1, 4, 64) for picture in PICTURES],
    ),
    "depthwise Conv": (
        "(float[1, 4, 8, 8] x) => (float[1, 4, 6, 6] y) { y = Conv<group = 4>(x, w) }",
        {"w": weights(4, 1, 3, 3)},
        PICTURES,
    ),
    "Gemm": ("(float[1, 6] x) => (float[1, 3] y) { y = Gemm(x, w) }", {"w": weights(6, 3)}, ROWS),
    "Gemm transposed": (
        "(float[1, 6] x) => (float[1, 3] y) { y = Gemm<transB = 1>(x, w, b) }",
        {"w": weights(3, 6), "b": weights(3)},
        ROWS,
    ),
    "Gemm of several rows": (
        "(float[4, 6] x) => (float[4, 3] y) { y = Gemm(x, w, b) }",
        {"w": weights(6, 3), "b": weights(3)},
        [np.concatenate(ROWS[start : start + 4]) for start in range(0, 64, 4)],
    ),
    "Gemm with a row for a bias": (
        "(float[1, 6] x) => (float[1, 3] y) { y = Gemm(x, w, b) }",
        {"w": weights(6, 3), "b": weights(1, 3)},
        ROWS,
    ),
    "Gemm with one bias for all": (
        "(float[1, 6] x) => (float[1, 3] y) { y = Gemm(x, w, b) }",
        {"w": weights(6, 3), "b": np.float32(0.5)},
        ROWS,
    ),
    "Gemm with factors": (
        "(float[1, 6] x) => (float[1, 3] y) { y = Gemm<alpha = 0.5, beta = 2.0>(x, w, b) }",
        {"w": weights(6, 3), "b": weights(3)},
        ROWS,
    ),
    "Gemm with a bias times zero": (
        "(float[1, 6] x) => (float[1, 3] y) { y = Gemm<beta = 0.0>(x, w, b) }",
        {"w": weights(6, 3), "b": weights(3)},
        ROWS,
    ),
    "MatMul": ("(float[1, 6] x) => (float[1, 3] y) { y = MatMul(x, w) }", {"w": weights(6, 3)}, ROWS),
}


def clipped(frame: np.ndarray, limit: float = CLIPPED) -> np.ndarray:
    """What the grid of a range reaches."""
    grid = activation_grid(Range(-limit, limit), TENSORRT)
    return np.clip(frame, grid.lowest * grid.scale, grid.highest * grid.scale).astype(np.float32)


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_is_right_on_average(graph_of: GraphOf, outputs_of: OutputsOf, case: str, learned: bool) -> None:
    """On what the range of its input holds."""
    text, arrays, frames = LAYERS[case]
    original, plain, model = (graph_of(f"net {text}", **arrays) for _ in range(3))

    scales = round_in_place(model, frames, learned=learned)

    assert list(scales) == ["y"]
    inside = [clipped(frame) for frame in frames]
    before = mean_error(outputs_of, original, quantized(plain, {}), inside)
    after = mean_error(outputs_of, original, quantized(model, scales), inside)
    assert np.abs(before).max() > 100 * NOTHING
    assert np.abs(after).max() < NOTHING


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
@pytest.mark.parametrize("case", ["Conv with padding and strides", "Gemm"])
def test_what_a_range_clips_is_given_up(graph_of: GraphOf, case: str, learned: bool) -> None:
    """The layer is rounded as if there were nothing beyond."""
    text, arrays, frames = LAYERS[case]
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for each in (frames, [clipped(frame) for frame in frames]):
        model = graph_of(f"net {text}", **arrays)
        round_in_place(model, each, learned=learned)
        (node,) = model.graph
        found.append((node.inputs[1].const_value.numpy(), node.inputs[2].const_value.numpy()))

    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_one_row_that_was_clipped_does_not_move_a_bias(graph_of: GraphOf) -> None:
    """The first layer's input has a range for all rows but one, and the second one's for all of them."""
    text = "net (float[1, 6] x) => (float[1, 3] y) { a = Gemm(x, u) r = Relu(a) y = Gemm(r, w) }"
    arrays = {"u": np.eye(6, dtype=np.float32), "w": weights(6, 3)}
    ranges = {"x": Range(-4, 4), "r": Range(-40, 40)}
    biases: list[np.ndarray] = []
    for rows in ([*ROWS, np.full((1, 6), 36, np.float32)], ROWS):
        model = graph_of(text, **arrays)
        found = find_roundings(model, place(model), ranges, [{"x": row} for row in rows])
        biases.append(found["y"].bias)

    assert np.abs(biases[0] - biases[1]).max() < 0.05


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
@pytest.mark.parametrize("case", LAYERS)
def test_weights_lie_on_the_grid_of_the_scales(graph_of: GraphOf, case: str, learned: bool) -> None:
    """Bit for bit: quantizing them once more, as TensorRT does, changes nothing."""
    text, arrays, frames = LAYERS[case]
    model = graph_of(f"net {text}", **arrays)
    (point,) = place(model).weights

    scales = round_in_place(model, frames, learned=learned)["y"]

    found = constant(point.node.inputs[1])
    assert found is not None
    assert point.axis is not None
    shape = [-1 if axis == point.axis else 1 for axis in range(found.ndim)]
    restored = quantize(found, scales, point.axis).astype(np.float32) * scales.reshape(shape)
    np.testing.assert_array_equal(restored, found)
    assert found.dtype == scales.dtype == np.float32
    # The grid reaches as far as the largest weight of each channel did.
    np.testing.assert_array_equal(scales, weight_scales(arrays["w"] * (0.5 if "factors" in case else 1), point.axis))


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
def test_layers_are_corrected_one_by_one(graph_of: GraphOf, outputs_of: OutputsOf, learned: bool) -> None:
    """Though none of the nodes has a name and two share their weights."""
    text = """net (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
        a = Conv(x, w)
        r = Relu(a)
        c = Conv(r, w)
        y = Conv(c, v)
    }"""
    arrays = {"w": weights(4, 4, 1, 1) * np.float32(0.4), "v": weights(4, 4, 1, 1) * np.float32(0.2)}
    original, plain, model = (graph_of(text, **arrays) for _ in range(3))

    scales = round_in_place(model, PICTURES, 4, learned=learned)

    assert list(scales) == ["a", "c", "y"]
    before = mean_error(outputs_of, original, quantized(plain, {}, 4), PICTURES)
    after = mean_error(outputs_of, original, quantized(model, scales, 4), PICTURES)
    # The mean error of rounding what stands between them is no layer's own.
    assert np.abs(after).mean() < np.abs(before).mean() / 2


def test_the_last_layer_makes_up_for_those_before(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """All that two layers before have moved its output by, on the average."""
    text = """net (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
        a = Conv(x, w)
        r = Relu(a)
        c = Conv(r, v)
        s = Add(c, r)
        y = Conv(s, w)
    }"""
    arrays = {"w": weights(4, 4, 1, 1), "v": weights(4, 4, 1, 1) * np.float32(0.5)}
    original, learned, nearest = (graph_of(text, **arrays) for _ in range(3))
    for model in (original, learned, nearest):
        infer_shapes(model)

    for model, how in ((learned, True), (nearest, False)):
        quantized(model, round_in_place(model, PICTURES, WHOLE, learned=how), WHOLE)

    errors = [np.abs(mean_error(outputs_of, original, model, PICTURES)) for model in (learned, nearest)]
    # Large errors count less, and those of two layers together are not as many to both sides.
    assert errors[0].max() < errors[1].max() / 5


@pytest.mark.parametrize(("firmness", "expected"), [(0.0, 0.5), (1.0, 0.75), (30.0, 1 - 0.5 / 31)])
def test_a_refit_is_held_to_the_weight(monkeypatch: pytest.MonkeyPatch, firmness: float, expected: float) -> None:
    """Each input is half of what the quantized network has, so half the weight would do."""
    found = np.random.default_rng(0).standard_normal((1, 1, 20)).astype(np.float32)
    found = np.concatenate([found, -found], axis=2)
    layer = LayerWeights(np.ones((1, 1, 1, 1)), np.zeros(1), (1, 1, 1, 1), np.dtype(np.float32), inputs_first=False)
    moments = Moments(whole=True)
    moments.add(found / 2, found)
    monkeypatch.setattr(layer_rounding, "_FIRMNESS", firmness)

    made = layer_rounding.round_layer(layer, moments, learned=True)

    assert made.weight.item() == pytest.approx(expected, abs=1 / QUANT_MAX)
    assert made.bias.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("offset", [0.5, -2.0])
def test_a_bias_is_not_held(offset: float) -> None:
    """It makes up for all that each input is off by, and the weights for nothing of it."""
    found = np.random.default_rng(0).standard_normal((1, 2, 40)).astype(np.float32)
    weight = np.array([1.0, -0.5]).reshape(1, 1, 2, 1)
    layer = LayerWeights(weight, np.ones(1), (1, 2, 1, 1), np.dtype(np.float32), inputs_first=False)
    moments = Moments(whole=True)
    moments.add((found + offset).astype(np.float32), found)

    made = layer_rounding.round_layer(layer, moments, learned=True)

    np.testing.assert_allclose(made.weight, weight, atol=1.5 / QUANT_MAX)
    assert made.bias.item() == pytest.approx(1 + 0.5 * offset, abs=0.02)


def test_shared_weights_are_rounded_for_each_layer(graph_of: GraphOf) -> None:
    model = graph_of(
        "net (float[1, 6] x) => (float[1, 6] y) { [one] a = Gemm(x, w) r = Relu(a) [two] y = Gemm(r, w) }",
        w=weights(6, 6),
    )

    round_in_place(model, ROWS)

    one, _, two = model.graph
    first, second = constant(one.inputs[1]), constant(two.inputs[1])
    assert first is not None
    assert second is not None
    assert (first != second).any()
    assert "w" not in model.graph.initializers  # nobody reads it any more


def test_finding_changes_nothing(graph_of: GraphOf) -> None:
    text, arrays, frames = LAYERS["Conv"]
    model = graph_of(f"net {text}", **arrays)
    before = ir.to_proto(model).SerializeToString()

    find_roundings(model, place(model), {"x": Range(-CLIPPED, CLIPPED)}, [{"x": frame} for frame in frames])

    assert ir.to_proto(model).SerializeToString() == before


UNTOUCHED = {
    "bias computed": (
        """(float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
            s = ReduceSum<keepdims = 0>(x)
            b = Mul(s, k)
            y = Conv(x, w, b)
        }""",
        {"w": weights(4, 4, 1, 1), "k": weights(4)},
        PICTURES[0],
    ),
    "a bias for each row": (
        "(float[2, 6] x) => (float[2, 3] y) { y = Gemm(x, w, b) }",
        {"w": weights(6, 3), "b": weights(2, 1)},
        np.concatenate(ROWS[:2]),
    ),
    "a bias for each of as many rows as outputs": (
        "(float[3, 6] x) => (float[3, 3] y) { y = Gemm(x, w, b) }",
        {"w": weights(6, 3), "b": weights(3, 1)},
        np.concatenate(ROWS[:3]),
    ),
    "MatMul of three dimensions": (
        "(float[1, 2, 6] x) => (float[1, 2, 3] y) { y = MatMul(x, w) }",
        {"w": weights(6, 3)},
        np.concatenate(ROWS[:2])[None],
    ),
    "ConvTranspose": (
        "(float[1, 4, 8, 8] x) => (float[1, 3, 9, 9] y) { y = ConvTranspose(x, w) }",
        {"w": weights(4, 3, 2, 2)},
        PICTURES[0],
    ),
    "padding that depends on the picture": (
        '(float[1, 4, H, W] x) => (float[1, 4, H, W] y) { y = Conv<auto_pad = "SAME_UPPER">(x, w) }',
        {"w": weights(4, 4, 3, 3)},
        PICTURES[0],
    ),
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_other_layers_stay(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays, feed = UNTOUCHED[case]
    model = graph_of(f"net {text}", **arrays)
    before = outputs_of(model, x=feed)["y"]

    assert len(place(model).weights) == 1
    assert round_in_place(model, [feed]) == {}

    np.testing.assert_array_equal(outputs_of(model, x=feed)["y"], before)


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
def test_an_exact_layer_stays_as_it_is(graph_of: GraphOf, learned: bool) -> None:
    """Weights and inputs that INT8 holds exactly leave nothing to correct."""
    model = graph_of(
        "net (float[1, 2] x) => (float[1, 2] y) { y = Gemm(x, w, b) }",
        w=127 * np.eye(2, dtype=np.float32),
        b=np.float32([3, 4]),
    )

    round_in_place(model, [np.float32([[1, -127]])], limit=127, learned=learned)

    (node,) = model.graph
    np.testing.assert_array_equal(node.inputs[1].const_value.numpy(), 127 * np.eye(2))
    np.testing.assert_array_equal(node.inputs[2].const_value.numpy(), [3, 4])


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "nearest"])
def test_without_frames_weights_are_rounded_to_nearest(graph_of: GraphOf, learned: bool) -> None:
    text, arrays, _ = LAYERS["Conv with a bias"]
    model = graph_of(f"net {text}", **arrays)

    scales = round_in_place(model, [], learned=learned)["y"]

    (node,) = model.graph
    step = scales.reshape(-1, 1, 1, 1)
    nearest = quantize(arrays["w"], scales, 0).astype(np.float32) * step
    np.testing.assert_array_equal(node.inputs[1].const_value.numpy(), nearest)
    np.testing.assert_array_equal(node.inputs[2].const_value.numpy(), arrays["b"])


@pytest.mark.parametrize("case", ["Conv", "Gemm with factors"])
def test_a_layer_with_many_inputs_is_rounded_to_nearest(
    graph_of: GraphOf, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, arrays, frames = LAYERS[case]
    # Inputs that are alike: the weights of one make up for those of another.
    frames = [np.cumsum(frame, axis=1) for frame in frames]
    small, large, nearest = (graph_of(f"net {text}", **arrays) for _ in range(3))

    round_in_place(small, frames, WHOLE)
    round_in_place(nearest, frames, WHOLE, learned=False)
    monkeypatch.setattr(layer_rounding, "_MOST_INPUTS", 5)
    round_in_place(large, frames, WHOLE)

    found = [[constant(value) for value in next(iter(model.graph)).inputs[1:]] for model in (small, large, nearest)]
    np.testing.assert_array_equal(found[1][0], found[2][0])
    np.testing.assert_array_equal(found[1][1], found[2][1])
    assert (found[0][0] != found[1][0]).any()


def test_dead_inputs_and_dead_outputs_stay_at_zero(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """A channel that no picture lights up, and one whose weights decayed, between live ones."""
    array = weights(6, 3)
    array[:, 1] = 0
    model = graph_of("net (float[1, 6] x) => (float[1, 3] y) { y = Gemm(x, w) }", w=array)
    frames = [frame * np.float32([1, 0, 1, 1, 1, 1]) for frame in ROWS]

    round_in_place(model, frames, limit=4)

    (node,) = model.graph
    found = node.inputs[1].const_value.numpy()
    assert np.isfinite(found).all()
    assert not found[:, 1].any()
    # Nothing says what the dead input's weights should be, so they stay near.
    np.testing.assert_allclose(found[1], array[1], atol=np.abs(array).max() / QUANT_MAX)
    assert np.isfinite(outputs_of(model, x=frames[0])["y"]).all()


def test_values_whose_squares_are_infinite_leave_weights_rounded_to_nearest(graph_of: GraphOf) -> None:
    array = weights(6, 3)
    model = graph_of("net (float[1, 6] x) => (float[1, 3] y) { y = Gemm(x, w) }", w=array)

    with np.errstate(over="ignore", invalid="ignore"):
        round_in_place(model, [frame * np.float32(1e20) for frame in ROWS], limit=4e20)

    (node,) = model.graph
    found = node.inputs[1].const_value.numpy()
    np.testing.assert_allclose(found, array, atol=np.abs(array).max() / QUANT_MAX)


def test_roundings_are_the_same_every_time(graph_of: GraphOf) -> None:
    """Also where places are drawn: there are more of them here than are looked at."""
    arrays = {"w": weights(5, 4, 3, 3)}
    frames = [np.tile(picture, (1, 1, 3, 3)) * weights(1, 4, 24, 24) for picture in PICTURES]
    found: list[bytes] = []
    for _ in range(2):
        model = graph_of("net (float[1, 4, 24, 24] x) => (float[1, 5, 22, 22] y) { y = Conv(x, w) }", **arrays)
        round_in_place(model, frames)
        found.append(ir.to_proto(model).SerializeToString())

    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("attributes", "shape", "sizes"),
    [
        ("", (6, 4, 3, 3), (8, 9)),
        ("<pads = [1, 0, 2, 1]>", (6, 4, 3, 3), (6, 7)),
        ("<strides = [2, 3]>", (6, 4, 3, 2), (12, 13)),
        ("<strides = [2, 1], pads = [1, 1, 1, 1], dilations = [2, 3]>", (6, 4, 3, 3), (10, 11)),
        ("<group = 2, dilations = [1, 2]>", (6, 2, 2, 3), (9, 9)),
        ("<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>", (8, 1, 3, 3), (9, 10)),
        ('<auto_pad = "VALID", strides = [2, 2]>', (6, 4, 3, 3), (9, 10)),
        ("<strides = [3], dilations = [2], pads = [2, 1]>", (6, 4, 3), (30,)),
        ("<group = 2, pads = [1, 1]>", (6, 2, 3), (40,)),
    ],
)
def test_columns_times_weights_are_the_convolution(
    graph_of: GraphOf, outputs_of: OutputsOf, attributes: str, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    """At all places where there are few, at some of them where there are many."""
    for larger in (1, 4):
        scaled = tuple(size * larger for size in sizes)
        model = graph_of(
            f"""net (float[1, 4, {", ".join(map(str, scaled))}] x) => (float[{", ".join("NCHW"[: len(shape)])}] y) {{
                y = Conv{attributes}(x, w)
            }}""",
            w=weights(*shape),
        )
        feed = np.random.default_rng(3).standard_normal((1, 4, *scaled)).astype(np.float32)
        (node,) = model.graph
        form = read_weights(node)
        assert form is not None

        columns = sample_columns(feed, node, form, np.random.default_rng(0))

        groups, outputs = form.weight.shape[:2]
        found = (form.weight.reshape(groups, outputs, -1) @ columns).reshape(groups * outputs, -1)
        expected = outputs_of(model, x=feed)["y"].reshape(groups * outputs, -1)
        assert found.shape[1] == min(expected.shape[1], PLACES)
        if found.shape == expected.shape:
            np.testing.assert_allclose(found, expected, atol=NOTHING)
        distances = np.abs(found[:, :, None] - expected[:, None, :]).max(axis=0)
        assert distances.min(axis=1).max() < NOTHING
