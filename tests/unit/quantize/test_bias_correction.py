"""What quantization adds to the mean of a layer's output is taken out of its bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecnn.graph.prepare import infer_shapes
from edgecnn.quantize.bias_correction import correct_biases
from edgecnn.quantize.insert import insert_qdq
from edgecnn.quantize.place import place
from edgecnn.quantize.schemes import Scheme

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

# A mean of some thousand FP32 numbers near 1 is exact to this.
NOTHING = 1e-5
RANDOM = np.random.default_rng(0)
PICTURES = [np.abs(RANDOM.standard_normal((1, 4, 8, 8))).astype(np.float32) for _ in range(8)]
ROWS = [np.abs(RANDOM.standard_normal((1, 6))).astype(np.float32) for _ in range(64)]
# Half of what there is: clipping takes away from every output.
CLIPPED = 1.0


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def mean_error(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    text: str,
    arrays: dict[str, np.ndarray],
    frames: list[np.ndarray],
    opset: int,
    *,
    corrected: bool,
) -> tuple[int, np.ndarray]:
    """How many layers were corrected, and each output channel's mean of (quantized - FP32) over the frames."""
    original, model = graph_of(text, opset, **arrays), graph_of(text, opset, **arrays)
    placement = place(model)
    ranges = {str(value.name): CLIPPED for value in placement.activations}
    count = correct_biases(model, placement, ranges, ({"x": frame} for frame in frames)) if corrected else 0
    insert_qdq(model, placement, ranges, Scheme("test", weights_as_int8=True))
    infer_shapes(model)
    differences = [outputs_of(model, x=frame)["y"] - outputs_of(original, x=frame)["y"] for frame in frames]
    axes = tuple(axis for axis in range(differences[0].ndim) if axis != 1)
    return count, np.mean([difference.astype(np.float64).mean(axis=axes) for difference in differences], axis=0)


LAYERS: dict[str, tuple[str, dict[str, np.ndarray], list[np.ndarray]]] = {
    "Conv": ("(float[1, 4, 8, 8] x) => (float[1, 5, 6, 6] y) { y = Conv(x, w) }", {"w": weights(5, 4, 3, 3)}, PICTURES),
    "Conv with a bias": (
        "(float[1, 4, 8, 8] x) => (float[1, 5, 8, 8] y) { y = Conv(x, w, b) }",
        {"w": weights(5, 4, 1, 1), "b": weights(5)},
        PICTURES,
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
}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_with_a_clipped_input_is_right_on_average(
    graph_of: GraphOf, outputs_of: OutputsOf, case: str, opset: int
) -> None:
    text, arrays, frames = LAYERS[case]

    _, before = mean_error(graph_of, outputs_of, f"net {text}", arrays, frames, opset, corrected=False)
    count, after = mean_error(graph_of, outputs_of, f"net {text}", arrays, frames, opset, corrected=True)

    assert count == 1
    assert np.abs(before).max() > 0.1
    assert np.abs(after).max() < NOTHING


def test_layers_are_corrected_one_by_one(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    """Each from its own FP32 input, though none of the nodes has a name and two share their weights."""
    text = """net (float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
        a = Conv(x, w)
        r = Relu(a)
        c = Conv(r, w)
        y = Conv(c, v)
    }"""
    arrays = {"w": weights(4, 4, 1, 1) * 0.4, "v": weights(4, 4, 1, 1) * 0.2}

    _, before = mean_error(graph_of, outputs_of, text, arrays, PICTURES, 18, corrected=False)
    count, after = mean_error(graph_of, outputs_of, text, arrays, PICTURES, 18, corrected=True)

    assert count == 3
    # What a layer adds to the spread of its output, not to its mean, moves what the next one clips.
    assert np.abs(after).mean() < np.abs(before).mean() / 2


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
    "no bias to correct": (
        "(float[2, 6] x) => (float[2, 3] y) { y = MatMul(x, w) }",
        {"w": weights(6, 3)},
        np.concatenate(ROWS[:2]),
    ),
    "a bias times zero": (
        "(float[2, 6] x) => (float[2, 3] y) { y = Gemm<beta = 0.0>(x, w, b) }",
        {"w": weights(6, 3), "b": weights(3)},
        np.concatenate(ROWS[:2]),
    ),
}


@pytest.mark.parametrize("case", UNTOUCHED)
def test_a_bias_that_cannot_be_corrected_stays(graph_of: GraphOf, outputs_of: OutputsOf, case: str) -> None:
    text, arrays, feed = UNTOUCHED[case]
    model = graph_of(f"net {text}", **arrays)
    before = outputs_of(model, x=feed)["y"]
    placement = place(model)

    assert len(placement.weights) == 1
    assert correct_biases(model, placement, dict.fromkeys(("x",), CLIPPED), [{"x": feed}]) == 0

    np.testing.assert_array_equal(outputs_of(model, x=feed)["y"], before)


def test_an_exact_layer_keeps_its_bias(graph_of: GraphOf) -> None:
    """Weights and inputs that INT8 holds exactly leave nothing to correct."""
    model = graph_of(
        "net (float[1, 2] x) => (float[1, 2] y) { y = Gemm(x, w, b) }",
        w=127 * np.eye(2, dtype=np.float32),
        b=np.float32([3, 4]),
    )
    placement = place(model)

    correct_biases(model, placement, {"x": 127.0}, [{"x": np.float32([[1, -127]])}])

    (node,) = model.graph
    np.testing.assert_array_equal(node.inputs[2].const_value.numpy(), [3, 4])
