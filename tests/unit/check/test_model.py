"""What a check makes of the compiler's words, with the compiler's part played here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgecnn.backends.preflight import Preflight
from edgecnn.check import model as check
from edgecnn.core.device import load_device
from edgecnn.graph.model import save_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A graph with NonMaxSuppression and an open batch before it."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Relu", ["x"], ["boxes"]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores"], ["kept"], name="nms"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind.FLOAT, ["N", 5, 4])],
        [helper.make_tensor_value_info("kept", kind.INT64, ["kept", 3])],
        [onnx.numpy_helper.from_array(np.ones((1, 1, 5), np.float32), "scores")],
    )
    path = tmp_path / "nms.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def verdict_for(model: Path, answer: Preflight, monkeypatch: pytest.MonkeyPatch, device: str = "orin-nano-8gb"):
    monkeypatch.setattr(check, "run_preflight", lambda _model, _capability: answer)
    return check.check_model(model, load_device(device))


def test_a_known_difference_is_no_refusal_and_no_silence(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = verdict_for(model, Preflight("rtx", None, (), "INMSLayer nms: no kernel"), monkeypatch)
    assert verdict.accepted
    assert {found.rule for found in verdict.findings} == {
        "compiler/known-difference",
        "model/open-batch",
        "operator/data-dependent",
    }


def test_a_compiler_that_broke_down_excuses_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = verdict_for(model, Preflight("rtx", None, (), "no end after 300 s", broke_down=True), monkeypatch)
    assert not verdict.accepted
    assert "compiler/build" in {found.rule for found in verdict.findings}


def test_the_parser_s_complaint_names_the_node_and_a_remedy(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = ("conv1", "DequantizeLinear", "input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8")
    verdict = verdict_for(model, Preflight("rtx", None, (complaint,), ""), monkeypatch)
    assert not verdict.accepted
    refusal = next(found for found in verdict.findings if found.severity == "error")
    assert refusal.node == "conv1 (DequantizeLinear)"
    assert "biases in float" in refusal.remedy


def test_a_plugin_that_rtx_has_not_is_no_refusal(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = ("nms", "EfficientNMS_TRT", "Plugin not found, are the plugin name, version, and namespace correct?")
    verdict = verdict_for(model, Preflight("rtx", None, (complaint,), ""), monkeypatch)
    assert verdict.accepted
    assert "compiler/known-difference" in {found.rule for found in verdict.findings}


def test_an_open_batch_is_checked_as_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def look(path: Path, _capability: str) -> Preflight:
        seen.append(onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim[0].dim_value)
        return Preflight("rtx", 1000, (), "")

    monkeypatch.setattr(check, "run_preflight", look)
    assert check.check_model(model, load_device("orin-nano-8gb")).accepted
    assert seen == [1]


def test_rules_of_int8_come_with_their_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the compiler takes the model: it does not say that it computes a layer in float."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="to"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="from"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="layer"),
    ]
    arrays = {"scale": np.float32(0.1), "zero": np.int8(7), "w": np.ones((4, 4, 1, 1), np.float32)}
    ends = [helper.make_tensor_value_info(name, kind.FLOAT, [1, 4, 2, 2]) for name in "xy"]
    weights = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "int8.onnx"))

    verdict = verdict_for(tmp_path / "int8.onnx", Preflight("rtx", 1000, (), ""), monkeypatch)

    assert not verdict.accepted
    assert [(found.rule, found.severity, found.node) for found in verdict.findings] == [
        ("quantization/zero-point", "error", "to"),
        ("quantization/zero-point", "error", "from"),
        ("quantization/half", "info", "layer"),
    ]
    without = verdict_for(tmp_path / "int8.onnx", Preflight("rtx", 1000, (), ""), monkeypatch, "nano-4gb")
    assert [found.rule for found in without.findings] == ["board/int8"]


def test_the_estimate_knows_what_is_behind_padding_that_the_graph_computes(
    graph_of: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 8 x 8 to 11 x 11, by the size of the input; ONNX itself infers no shape behind it."""
    numbers = {"rows": [2], "eleven": [11], "none": [0]}
    graph = graph_of(
        """net (float[1, 3, 8, 8] x) => (float[n, c, h, w] y) {
        shape = Shape (x)
        height = Gather (shape, rows)
        missing = Sub (eleven, height)
        more = Max (missing, none)
        pads = Concat <axis = 0> (none, none, none, none, none, none, more, more)
        padded = Pad (x, pads)
        y = Conv (padded, weight)
        }""",
        weight=np.ones((4, 3, 1, 1), np.float32),
        **{name: np.array(value, np.int64) for name, value in numbers.items()},
    )
    save_model(graph, tmp_path / "same.onnx")
    verdict = verdict_for(tmp_path / "same.onnx", Preflight("rtx", 1000, (), ""), monkeypatch)
    assert verdict.estimate is not None
    assert verdict.estimate.macs == 11 * 11 * 4 * 3
    assert "estimate" in verdict.estimate.line()
    assert verdict.least_memory_bytes is not None
