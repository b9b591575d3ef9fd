"""Decoding inside the graph: its numbers by hand, its form, the nodes to keep in FP32, and what it refuses."""

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
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import InputError
from edgecnn.graph.cast_fp16 import cast_to_fp16
from edgecnn.graph.decoding_nodes import decoding_nodes
from edgecnn.graph.detection_outputs import DECODED, decode_outputs
from edgecnn.graph.nms import add_nms

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

NMS_OUTPUTS = ["num_detections", "detection_boxes", "detection_scores", "detection_classes"]


def detector(size_hw: tuple[int, int] = (32, 64), classes: int = 2, **changes: Any) -> Detector:
    fields = {name: changes.pop(name) for name in tuple(changes) if name not in Layout.model_fields}
    layout = Layout(**{"kind": "yolox", "boxes": "out", **changes})
    return Detector(Preprocess(size_hw=size_hw), tuple("abcdefgh"[:classes]), layout, **fields)


def raw_model(graph_of: GraphOf, *shape: int) -> Any:
    """A network that gives out what is put in."""
    sizes = ", ".join(map(str, shape))
    return graph_of(f"net (float[{sizes}] x) => (float[{sizes}] out) {{ out = Identity(x) }}")


def test_yolox_by_hand(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    # 2 x 4 cells of stride 16, then 1 x 2 of stride 32.
    model = raw_model(graph_of, 1, 10, 7)
    raw = np.zeros((1, 10, 7), np.float32)
    raw[0, 6] = [0.5, 0.25, np.log(2), 0, 0.5, 0.25, 1]  # column 2, row 1, stride 16
    raw[0, 9] = [0, 0, 0, 100, 1, 1, 1]  # column 1, row 0, stride 32, absurdly high
    result = decode_outputs(model, detector(strides=(16, 32)))
    found = outputs_of(model, x=raw)

    assert result.modified
    assert {name: array.shape for name, array in found.items()} == {"boxes": (1, 10, 4), "scores": (1, 10, 2)}
    # Centre (40, 20), size 32 x 16.
    np.testing.assert_allclose(found["boxes"][0, 6], [24, 12, 56, 28], rtol=1e-6)
    np.testing.assert_allclose(found["scores"][0, 6], [0.125, 0.5], rtol=1e-6)
    assert np.isfinite(found["boxes"]).all()


def test_boxes_that_are_final_only_change_their_names(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    # The names of the old outputs are those of the new ones, the other way round.
    text = "net (float[1, 5, 4] x, float[1, 5, 2] y) => (float[1, 5, 4] scores, float[1, 5, 2] boxes)"
    model = graph_of(f"{text} {{ scores = Identity(x) boxes = Identity(y) }}")
    random = np.random.default_rng(1)
    x, y = random.random((1, 5, 4), np.float32), random.random((1, 5, 2), np.float32)
    decode_outputs(model, detector(kind="boxes_scores", boxes="scores", scores="boxes", box_unit="pixels"))
    found = outputs_of(model, x=x, y=y)
    np.testing.assert_array_equal(found["boxes"], x)
    np.testing.assert_array_equal(found["scores"], y)


@pytest.mark.parametrize("nms", ["none", "onnx", "efficient_nms_trt"])
def test_a_second_time_changes_nothing(graph_of: GraphOf, nms: Any) -> None:
    model = raw_model(graph_of, 1, 10, 7)
    first = decode_outputs(model, detector(strides=(16, 32)))
    assert add_nms(model, detector(), nms).modified == (nms != "none")
    once = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not add_nms(model, detector(), nms).modified
    again = decode_outputs(model, detector(strides=(16, 32)))
    assert (again.modified, again.counts) == (False, {"decoded before": 1})
    assert set(first.keep_fp32) <= set(again.keep_fp32)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == once


def test_what_comes_with_nms_stays(graph_of: GraphOf) -> None:
    model = raw_model(graph_of, 1, 10, 6)
    result = decode_outputs(model, detector(kind="end_to_end"))
    assert (result.modified, result.counts) == (False, {"end to end already": 1})


@pytest.mark.parametrize("nms", ["onnx", "efficient_nms_trt"])
def test_nms_gives_four_outputs_of_fixed_sizes(graph_of: GraphOf, nms: Any) -> None:
    model = raw_model(graph_of, 1, 10, 7)
    decode_outputs(model, detector(strides=(16, 32)))
    add_nms(model, detector(max_detections=6), nms)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [(value.name, value.dtype, list(value.shape)) for value in model.graph.outputs] == [
        ("num_detections", ir.DataType.INT32, [1, 1]),
        ("detection_boxes", ir.DataType.FLOAT, [1, 6, 4]),
        ("detection_scores", ir.DataType.FLOAT, [1, 6]),
        ("detection_classes", ir.DataType.INT32, [1, 6]),
    ]


def test_the_plugin_gets_its_parameters(graph_of: GraphOf) -> None:
    model = raw_model(graph_of, 1, 10, 7)
    limits = {"score_threshold": 0.25, "iou_threshold": 0.45, "max_detections": 300, "class_agnostic": True}
    decode_outputs(model, detector(strides=(16, 32)))
    add_nms(model, detector(**limits), "efficient_nms_trt")
    node = list(model.graph)[-1]
    assert (node.domain, node.op_type, model.opset_imports["TRT"]) == ("TRT", "EfficientNMS_TRT", 1)
    assert [list(value.shape) for value in node.inputs] == [[1, 10, 4], [1, 10, 2]]
    values = {name: attribute.value for name, attribute in node.attributes.items()}
    assert values == {
        "plugin_version": "1",
        "score_threshold": 0.25,
        "iou_threshold": pytest.approx(0.45),
        "max_output_boxes": 10,  # there are no more
        "background_class": -1,
        "score_activation": 0,
        "box_coding": 0,
        "class_agnostic": 1,
    }


def test_nms_wants_decoded_outputs(graph_of: GraphOf) -> None:
    with pytest.raises(InputError, match="boxes and scores of fixed sizes are wanted, found out"):
        add_nms(raw_model(graph_of, 1, 10, 7), detector(), "onnx")


HEAD = """net (float[1, 3, 4, 8] x) => (float[1, 6, 32] out) {
    stem = Conv(x, w) active = Relu(stem)
    sides = Conv(active, s) chances = Reshape(sides, apart) even = Softmax<axis = 1>(chances) mean = Conv(even, d)
    corners = Reshape(mean, flat) classes = Conv(active, c) likely = Sigmoid(classes) rows = Reshape(likely, pairs)
    out = Concat<axis = 1>(corners, rows)
}"""
WEIGHTS = {
    "w": np.ones((5, 3, 1, 1)),
    "s": np.random.default_rng(2).standard_normal((64, 5, 1, 1)),
    "d": np.arange(16).reshape(1, 16, 1, 1),
    "c": np.random.default_rng(3).standard_normal((2, 5, 1, 1)),
}
SHAPES = {"apart": [1, 16, 4, 32], "flat": [1, 4, 32], "pairs": [1, 2, 32]}


def head_model(graph_of: GraphOf) -> Any:
    arrays = {name: array.astype(np.float32) for name, array in WEIGHTS.items()}
    model = graph_of(HEAD, **arrays, **{name: np.array(shape) for name, shape in SHAPES.items()})
    for node in model.graph:
        node.name = f"{node.outputs[0].name}.node"
    return model


def test_the_nodes_to_keep_begin_behind_the_last_weights(graph_of: GraphOf) -> None:
    kept = decoding_nodes(head_model(graph_of))
    # The convolution over a softmax is the mean of a distribution and belongs to them.
    assert [name.removesuffix(".node") for name in kept] == [
        *("chances", "even", "mean", "corners", "likely", "rows", "out"),
    ]


def test_nodes_without_names_get_them(graph_of: GraphOf) -> None:
    model = raw_model(graph_of, 1, 10, 7)
    assert not any(node.name for node in model.graph)
    result = decode_outputs(model, detector(strides=(16, 32)))
    assert len(set(result.keep_fp32)) == len(list(model.graph))


def test_kept_nodes_stay_fp32_and_the_rest_does_not(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    model = head_model(graph_of)
    result = decode_outputs(model, detector(kind="yolov8"))
    assert set(decoding_nodes(head_model(graph_of))) < set(result.keep_fp32)
    cast_to_fp16(model, result.keep_fp32)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for node in model.graph:
        kinds = {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}
        if node.op_type != "Cast":
            assert (ir.DataType.FLOAT16 in kinds) == (node.name not in result.keep_fp32), node.name


@pytest.mark.parametrize(
    ("shape", "opset", "changes", "message"),
    [
        ((1, 10, 7), 11, {}, "opset 11; 13"),
        ((1, 7, 2, 4), 17, {}, r"yolox.*\[3\] dimensions.*out: \[1, 7, 2, 4\]"),
        ((2, 10, 7), 17, {}, r"batch of 1.*\[2, 10, 7\]"),
        ((1, 10, 7), 17, {"kind": "fastestdet"}, r"\[4\] dimensions"),
        ((1, 11, 7), 17, {"strides": (16, 32)}, "10 cells.*11 rows"),
        ((1, 10, 7), 17, {"boxes": "nowhere"}, "no output nowhere.*out"),
    ],
)
def test_outputs_of_another_form_are_refused(
    graph_of: GraphOf, shape: tuple[int, ...], opset: int, changes: dict[str, Any], message: str
) -> None:
    sizes = ", ".join(map(str, shape))
    model = graph_of(f"net (float[{sizes}] x) => (float[{sizes}] out) {{ out = Identity(x) }}", opset=opset)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    with pytest.raises(InputError, match=message):
        decode_outputs(model, detector(**changes))
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.skipif(not rtx_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
@pytest.mark.parametrize("fp16", [False, True])
def test_nvidias_compiler_takes_decoded_outputs(graph_of: GraphOf, tmp_path: Path, fp16: bool) -> None:
    model = head_model(graph_of)
    result = decode_outputs(model, detector(kind="yolov8"))
    if fp16:
        cast_to_fp16(model, result.keep_fp32)
    onnx.save(ir.to_proto(model), tmp_path / "model.onnx")
    found = run_preflight(tmp_path / "model.onnx", "8.7")
    assert (found.parse_errors, found.compile_error) == ((), "")


@pytest.mark.skipif(not rtx_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
def test_nvidias_parser_takes_onnx_nms_for_which_rtx_has_no_kernel(graph_of: GraphOf, tmp_path: Path) -> None:
    model = head_model(graph_of)
    decode_outputs(model, detector(kind="yolov8"))
    add_nms(model, detector(), "onnx")
    onnx.save(ir.to_proto(model), tmp_path / "model.onnx")
    found = run_preflight(tmp_path / "model.onnx", "8.7")
    assert found.parse_errors == ()
    assert "nms.selected" in found.compile_error


def test_the_layout_afterwards_is_stated() -> None:
    assert (DECODED.kind, DECODED.boxes, DECODED.scores) == ("boxes_scores", "boxes", "scores")
    assert (DECODED.box_format, DECODED.box_unit, DECODED.activation, DECODED.background) == (
        *("xyxy", "pixels", "none"),
        None,
    )
