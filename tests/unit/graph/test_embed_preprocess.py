"""The preprocessing inside the graph: its form, what is folded, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.preflight import run_preflight
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.embed_preprocess import embed_preprocess, preprocess_nodes
from edgecnn.graph.summary import count_parameters, summarize
from edgecnn.vision.preprocess import preprocess

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

RANDOM = np.random.default_rng(5)
W = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
B = RANDOM.standard_normal(4).astype(np.float32)
FRAME = RANDOM.integers(0, 256, (16, 24, 3), dtype=np.uint8)
# The frame's own size, so that nothing is resampled and the outside path is exact but for FP32: sums of 27 products of
# values up to 2.7 and weights up to 3, each rounded to 6e-8 of itself, and inside of grey levels up to 255 / 58.
EXACT = 2e-4
SPEC = Preprocess(size_hw=(16, 24))


def conv_model(graph_of: GraphOf, pads: int) -> Any:
    return graph_of(
        f"net (float[1, 3, 16, 24] x) => (float[1, 4, H, W] y) {{ y = Conv<pads = {[pads] * 4}>(x, w, b) }}",
        w=W,
        b=B,
    )


def operators(model: Any) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("frame_color", ["rgb", "bgr"])
@pytest.mark.parametrize("pads", [0, 1])
def test_everything_but_the_mean_before_padding_is_folded(
    graph_of: GraphOf, outputs_of: OutputsOf, color: Any, frame_color: Any, pads: int
) -> None:
    spec = SPEC.model_copy(update={"color": color})
    model = conv_model(graph_of, pads)
    expected = outputs_of(model, x=preprocess(FRAME, spec))["y"]

    result = embed_preprocess(model, spec, (16, 24), frame_color)

    assert operators(model) == ["Cast", "Transpose", *(["Sub"] if pads else []), "Conv"]
    assert result.counts == {"preprocessing nodes": 3 if pads else 2, "layers folded into": 1}
    assert set(model.graph.initializers) == {"preprocess.Conv.weight"} | (
        {"preprocess.mean", "b"} if pads else {"preprocess.Conv.bias"}
    )
    seen = FRAME if frame_color == "bgr" else FRAME[:, :, ::-1]
    np.testing.assert_allclose(outputs_of(model, frame=seen[None])["y"], expected, atol=EXACT)


def test_a_layer_without_bias_gets_one_only_for_an_offset(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    for mean, inputs in ((0.0, 2), (0.5, 3)):
        spec = SPEC.model_copy(update={"mean": (mean,) * 3})
        model = graph_of("net (float[1, 3, 16, 24] x) => (float[1, 4, 14, 22] y) { y = Conv(x, w) }", w=W)
        expected = outputs_of(model, x=preprocess(FRAME, spec))["y"]
        embed_preprocess(model, spec, (16, 24))
        assert len(next(node for node in model.graph if node.op_type == "Conv").inputs) == inputs
        np.testing.assert_allclose(outputs_of(model, frame=FRAME[None])["y"], expected, atol=EXACT)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("y = Relu(x)", "no convolution"),
        ("a = Conv(x, w) b = Relu(x) y = ReduceSum<keepdims=0>(a) z = ReduceSum<keepdims=0>(b)", "another consumer"),
        ("y = Conv<group = 3>(x, g)", "a group for each channel"),
        ("v = Relu(w) y = Conv(x, v)", "weights computed at run time"),
    ],
)
def test_where_nothing_can_be_folded_nodes_do_it(graph_of: GraphOf, outputs_of: OutputsOf, body: str, why: str) -> None:
    outputs = "float y, float z" if "z =" in body else "float[N, C, H, W] y"
    arrays = {
        name: array for name, array in (("w", W), ("g", W[:3, :1])) if f", {name})" in body or f"({name})" in body
    }
    model = graph_of(f"net (float[1, 3, 16, 24] x) => ({outputs}) {{ {body} }}", **arrays)
    expected = outputs_of(model, x=preprocess(FRAME, SPEC))

    result = embed_preprocess(model, SPEC, (16, 24))

    assert result.counts["layers folded into"] == 0, why
    assert operators(model)[:5] == ["Cast", "Transpose", "Gather", "Mul", "Add"]
    for name, array in outputs_of(model, frame=FRAME[None]).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=EXACT)


@pytest.mark.parametrize(
    ("frame_hw", "changes", "expected"),
    [
        ((48, 72), {}, ["AveragePool", "Round"]),
        ((32, 48), {}, ["AveragePool", "Add", "Floor"]),
        ((20, 30), {}, ["Reshape", "MatMul", "Reshape", "Reshape", "MatMul", "Reshape", "Round"]),
        ((32, 30), {}, ["AveragePool", "Reshape", "MatMul", "Reshape", "Round"]),
        ((8, 12), {}, ["Resize", "Add", "Floor"]),
        ((48, 12), {}, ["AveragePool", "Resize", "Add", "Floor"]),
        ((16, 24), {"resize": "letterbox"}, []),
        ((32, 24), {"resize": "letterbox"}, ["AveragePool", "Add", "Floor", "Pad"]),
        (
            (32, 64),
            {"resize": "shorter_side", "shorter_side": 24},
            ["Slice", *["Reshape", "MatMul", "Reshape"] * 2, "Slice", "Round"],
        ),
        (
            (32, 64),
            {"resize": "shorter_side", "shorter_side": 24, "interpolation": "linear"},
            ["Resize", "Slice", "Add", "Floor"],
        ),
        ((20, 30), {"interpolation": "cubic"}, ["Resize", "Clip", "Round"]),
    ],
)
def test_each_resize_takes_its_cheapest_form(
    graph_of: GraphOf, frame_hw: tuple[int, int], changes: dict[str, Any], expected: list[str]
) -> None:
    model = conv_model(graph_of, 0)
    embed_preprocess(model, Preprocess(**{"size_hw": (16, 24), **changes}), frame_hw)
    assert operators(model) == ["Cast", "Transpose", *expected, "Conv"]


def test_the_cheaper_axis_comes_first(graph_of: GraphOf) -> None:
    # Rows 20 -> 16 take 4 products a pixel for 5 rows each, columns 25 -> 24 take all 25.
    model = conv_model(graph_of, 0)
    embed_preprocess(model, SPEC, (20, 25))
    assert [name for name in preprocess_nodes(model) if name.endswith("product")] == [
        "preprocess.rows_product",
        "preprocess.columns_product",
    ]


def test_a_second_time_changes_nothing(graph_of: GraphOf) -> None:
    model = conv_model(graph_of, 1)
    assert embed_preprocess(model, SPEC, (20, 25)).modified
    once = ir.to_proto(model).SerializeToString(deterministic=True)
    result = embed_preprocess(model, SPEC, (20, 25))
    assert (result.modified, result.counts) == (False, {"embedded before": 1})
    assert ir.to_proto(model).SerializeToString(deterministic=True) == once


def test_its_nodes_are_known_again_in_a_file(graph_of: GraphOf) -> None:
    model = conv_model(graph_of, 1)
    embed_preprocess(model, SPEC, (20, 25))
    again = ir.from_proto(ir.to_proto(model))
    assert preprocess_nodes(again) == preprocess_nodes(model)
    assert len(preprocess_nodes(again)) == len(list(model.graph)) - 1


@pytest.mark.parametrize("fp16", [False, True])
def test_its_numbers_are_no_parameters_and_its_products_count(graph_of: GraphOf, fp16: bool) -> None:
    model = conv_model(graph_of, 1)
    parameters = count_parameters(model)
    embed_preprocess(model, SPEC, (20, 25))
    if fp16:
        cast_to_fp16(model)
    assert count_parameters(model) == parameters == W.size + B.size
    # Rows: 16 x 25 x 3 pixels of 5 products; columns: 16 x 24 x 3 of 25.
    products = {row.name.rpartition(".")[2]: row.macs for row in summarize(model) if row.op_type == "MatMul"}
    assert products == {"rows_product": 16 * 25 * 3 * 5, "columns_product": 16 * 24 * 3 * 25}


@pytest.mark.parametrize(
    ("text", "opset", "message"),
    [
        ("net (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = Relu(x) }", 17, r"\[1, 3, 16, 24\].*\[1, 3, 8, 8\]"),
        ("net (float16[1, 3, 16, 24] x) => (float16[1, 3, 16, 24] y) { y = Relu(x) }", 17, "FLOAT16"),
        (
            "net (float[1, 3, 16, 24] x, float[1] z) => (float[1, 3, 16, 24] y) { y = Add(x, z) }",
            17,
            r"one FLOAT input.*z: FLOAT \[1\]",
        ),
        ("net (float[1, 3, 16, 24] x) => (float[1, 3, 16, 24] y) { y = Relu(x) }", 11, "opset 11; 13"),
    ],
)
def test_what_the_preprocessing_does_not_make_is_refused(
    graph_of: GraphOf, text: str, opset: int, message: str
) -> None:
    model = graph_of(text, opset=opset)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(InputError, match=message):
        embed_preprocess(model, SPEC, (16, 24))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.skipif(not rtx_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("changes", [{"resize": "letterbox"}, {"interpolation": "cubic"}, {"color": "gray"}])
def test_nvidias_compiler_takes_it(graph_of: GraphOf, tmp_path: Path, changes: dict[str, Any], fp16: bool) -> None:
    one = {"mean": (0.4,), "std": (0.2,)} if "color" in changes else {}
    spec = Preprocess(**{"size_hw": (16, 24), **changes, **one})
    weight = W[:, : spec.channels]
    model = graph_of(
        f"net (float[1, {spec.channels}, 16, 24] x) => (float[1, 4, H, W] y) {{ y = Conv<pads = {[1] * 4}>(x, w) }}",
        w=weight,
    )
    embed_preprocess(model, spec, (30, 50))
    if fp16:
        cast_to_fp16(model)
    onnx.save(ir.to_proto(model), tmp_path / "model.onnx")
    found = run_preflight(tmp_path / "model.onnx", "8.7")
    assert (found.parse_errors, found.compile_error) == ((), "")
    assert found.engine_bytes
