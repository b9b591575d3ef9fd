"""Whole conversions of small detectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

import onnx

from edgecnn.backends.fake import FakeSession
from edgecnn.build.convert import convert
from edgecnn.build.frames import ort_network
from edgecnn.build.store import Store
from edgecnn.core.detector import SUPPRESSED_OUTPUTS, Detector
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import ModelPart, Recipe
from edgecnn.deploy.bundle import load_bundle
from edgecnn.errors import InputError
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.preprocess import network_input

SPEC = Preprocess(size_hw=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
# Boxes (1, 16, 4) relative to the input, and logits of two classes.
CODE = """import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))

    def forward(self, x):
        rows = self.body(x).flatten(2).transpose(1, 2)
        low = rows[..., :2].sigmoid() / 2
        return {"boxes": torch.cat([low, low + rows[..., 2:4].sigmoid() / 2], -1), "class_logits": rows[..., 4:]}
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    draw = np.random.default_rng(0)
    for number in range(6):
        noise = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), cv2.blur(noise, (5, 5)))
    return tmp_path / "pictures"


@pytest.fixture
def end_to_end(tmp_path: Path) -> Path:
    """A network with final boxes: corners, score, class; the first box's score is the picture's brightness."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    rows = np.float32([[[4, 4, 20, 20, 0, 1], [8, 8, 30, 30, 0.01, 0]]])
    light = np.zeros_like(rows)
    light[0, 0, 4] = 1
    nodes = [
        make.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        make.make_node("Mul", ["mean", "light"], ["lit"]),
        make.make_node("Add", ["lit", "rows"], ["output"]),
    ]
    graph = make.make_graph(
        nodes,
        "detector",
        [make.make_tensor_value_info("images", kind, [1, 3, 32, 32])],
        [make.make_tensor_value_info("output", kind, [1, 2, 6])],
        [onnx.numpy_helper.from_array(rows, "rows"), onnx.numpy_helper.from_array(light, "light")],
    )
    path = tmp_path / "end_to_end.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_torch_detector_becomes_a_bundle(pictures: Path, tmp_path: Path) -> None:
    recipe = two_heads(tmp_path, pictures, "none")

    conversion = convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())

    assert [stage.artifact.manifest.stage for stage in conversion.stages] == ["export", "fold", "decode", "fp16"]
    assert conversion.stages[1].artifact.manifest.detail["folded"] == 1
    bundle = load_bundle(tmp_path / "bundle")
    raw, usage = conversion.stages[1].usage, bundle.manifest.usage
    assert isinstance(raw, Detector)
    assert isinstance(usage, Detector)
    assert (raw.layout.scores, raw.layout.activation, raw.layout.box_unit) == ("class_logits", "sigmoid", "relative")
    assert (usage.layout.activation, usage.layout.box_unit, usage.labels) == ("none", "pixels", ("cat", "dog"))
    for outputs in bundle.golden_outputs():
        assert {name: array.shape for name, array in outputs.items()} == {"boxes": (1, 16, 4), "scores": (1, 16, 2)}
        assert 0 <= outputs["scores"].min() <= outputs["scores"].max() <= 1
        assert outputs["boxes"].max() <= 32


def test_final_boxes_stay_as_they_are(end_to_end: Path, pictures: Path, tmp_path: Path) -> None:
    document = {
        "name": "final",
        "task": "detection",
        "model": {"source": str(end_to_end)},
        "preprocess": SPEC,
        "data": {"calibration": str(pictures)},
        "quantize": {"precision": "fp32"},
    }
    with pytest.raises(InputError, match="do not show how many classes there are"):
        convert(Recipe.model_validate(document), tmp_path / "bundle", Store(tmp_path / "store"), Silent())
    recipe = Recipe.model_validate(document | {"labels": ["cat", "dog"]})

    conversion = convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())

    assert [stage.artifact.manifest.stage for stage in conversion.stages] == ["fold"]
    usage = conversion.bundle.manifest.usage
    assert isinstance(usage, Detector)
    assert usage.layout.kind == "end_to_end"
    assert conversion.stages[-1].accuracy is not None


def two_heads(
    tmp_path: Path, pictures: Path, nms: str, precision: str = "fp16", device: str = "orin-nano-8gb"
) -> Recipe:
    (tmp_path / "two_heads_network.py").write_text(CODE)
    return Recipe.model_validate(
        {
            "name": "two-heads",
            "task": "detection",
            "model": {"source": f"{tmp_path}/two_heads_network:Network", "weights": "random"},
            "preprocess": SPEC,
            "labels": ["cat", "dog"],
            "data": {"calibration": str(pictures)},
            "quantize": {"precision": precision},
            "gates": {"min_agreement": 0},
            "detection": {"nms": nms, "max_detections": 5, "iou_threshold": 0.3},
            "target": {"device": device},
        }
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_nms_in_the_graph_keeps_what_nms_outside_does(pictures: Path, tmp_path: Path, precision: str) -> None:
    plain, with_nms = (
        convert(two_heads(tmp_path, pictures, nms, precision), tmp_path / nms, Store(tmp_path / "store"), Silent())
        for nms in ("none", "onnx")
    )

    assert [stage.artifact.manifest.stage for stage in with_nms.stages][-1] == "nms"
    before_nms = [stage.artifact.sha256 for stage in with_nms.stages[:-1]]
    assert before_nms == [stage.artifact.sha256 for stage in plain.stages]
    parity = with_nms.stages[-1].artifact.manifest.parity
    assert parity is not None
    assert parity.snr_db > 80
    bundle = load_bundle(tmp_path / "onnx")
    assert [spec.name for spec in bundle.manifest.outputs] == list(SUPPRESSED_OUTPUTS)
    usage, before = bundle.manifest.usage, plain.bundle.manifest.usage
    assert isinstance(usage, Detector)
    assert isinstance(before, Detector)
    assert usage == replace(before, layout=usage.layout)
    found = [decode_detections(outputs, usage, (32, 32)) for outputs in bundle.golden_outputs()]
    expected = [
        decode_detections(outputs, before, (32, 32)) for outputs in load_bundle(tmp_path / "none").golden_outputs()
    ]
    assert sum(map(len, found)) > 0
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-4)
    assert (bundle.control is not None) == (precision == "int8")
    if bundle.control is not None:
        control = FakeSession(np.copy, (1,), (1,))
        control.runs_control = True
        of_control = bundle.manifest.usage_of(control)
        assert bundle.manifest.precision_of(control) == "fp16"
        assert bundle.manifest.precision_of(FakeSession(np.copy, (1,), (1,))) == "int8"
        assert isinstance(of_control, Detector)
        network = ort_network(bundle.control)
        suppressed = [network(network_input(frame, usage.preprocess)) for frame in bundle.golden_frames()]
        assert sum(len(decode_detections(outputs, of_control, (32, 32))) for outputs in suppressed) > 0
        assert min(outputs["detection_scores"].max() for outputs in suppressed) >= of_control.score_threshold
    verdict = bundle.manifest.verdict
    if verdict is not None:
        assert verdict.accepted
        assert verdict.findings[-1].rule == "compiler/known-difference"


def test_a_plugin_that_nothing_here_runs(pictures: Path, tmp_path: Path) -> None:
    conversion = convert(
        two_heads(tmp_path, pictures, "efficient_nms_trt"), tmp_path / "bundle", Store(tmp_path / "store"), Silent()
    )

    last = conversion.stages[-1]
    assert (last.artifact.manifest.stage, last.artifact.manifest.parity, last.p50_ms) == ("nms", None, None)
    model = onnx.load(str(tmp_path / "bundle" / "model.onnx"))
    (node,) = (node for node in model.graph.node if node.domain == "TRT")
    usage = conversion.bundle.manifest.usage
    assert isinstance(usage, Detector)
    limits = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert limits["score_threshold"] == pytest.approx(usage.score_threshold)
    assert limits["max_output_boxes"] == 5
    assert any("runs in TensorRT alone" in note for note in conversion.bundle.manifest.notes)
    for outputs in load_bundle(tmp_path / "bundle").golden_outputs():
        assert {name: array.shape for name, array in outputs.items()} == {
            name: spec.shape for name, spec in zip(SUPPRESSED_OUTPUTS, conversion.bundle.manifest.outputs, strict=True)
        }
        assert len(decode_detections(outputs, usage, (32, 32))) == outputs["num_detections"][0, 0]


@pytest.mark.parametrize(
    ("nms", "device", "reason"),
    [
        ("onnx", "nano-4gb", "the newest TensorRT of .* is 8.2.1, and 8.5 is wanted"),
        ("efficient_nms_trt", "onnxruntime-x86", "a plugin of TensorRT"),
    ],
)
def test_nms_that_the_target_has_not_is_refused(
    pictures: Path, tmp_path: Path, nms: str, device: str, reason: str
) -> None:
    recipe = two_heads(tmp_path, pictures, nms, "fp32", device)
    with pytest.raises(InputError, match=reason):
        convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())


def test_nms_where_it_is_already_is_refused(end_to_end: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = two_heads(tmp_path, pictures, "onnx", "fp32")
    recipe = recipe.model_copy(update={"model": ModelPart(source=str(end_to_end))})
    with pytest.raises(InputError, match="drops overlapping boxes itself"):
        convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())
