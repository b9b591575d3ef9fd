"""Torchvision's detectors as graphs: nothing in them depends on a picture, and INT8 keeps their boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.build.convert import convert
from edgecnn.build.store import Store
from edgecnn.core.detector import Detector
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import Recipe
from edgecnn.graph.decoding_nodes import decoding_nodes
from edgecnn.graph.model import load_model

# One head for two levels, as theirs have for five.
CODE = """
from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD

from edgecnn.train.detection.torchvision_detector import TorchvisionDetector


class Maps(nn.Module):
    def __init__(self, out_channels):
        super().__init__()
        self.out_channels = out_channels
        self.features = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.BatchNorm2d(32), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())

    def forward(self, x):
        fine = self.features(x)
        return OrderedDict([("0", fine), ("1", self.deeper(fine))])


def net(family):
    torch.manual_seed(1)
    if family == "ssd":
        network = SSD(Maps([32, 32]), DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.4, 0.8]), (64, 64), 3)
    elif family == "fcos":
        network = FCOS(Maps(32), 3, anchor_generator=AnchorGenerator(((8,), (16,)), ((1.0,),) * 2))
    else:
        network = RetinaNet(Maps(32), 3, anchor_generator=AnchorGenerator(((16,), (40,)), ((0.5, 1.0, 2.0),) * 2))
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.normal_(0, 0.08)
    return TorchvisionDetector(network)
"""
DEPENDS_ON_THE_PICTURE = {
    *("NonZero", "TopK", "NonMaxSuppression", "Where", "Gather", "GatherND", "Shape", "If", "Loop", "Range"),
    *("ScatterND", "ScatterElements", "SequenceConstruct", "SequenceAt"),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(8):
        picture = cv2.resize(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 64))
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ssd", "retinanet", "fcos"])
def test_int8_keeps_the_boxes_of_a_graph_of_fixed_shapes(family: str, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / f"small_{family}.py").write_text(CODE)
    recipe = Recipe.model_validate(
        {
            "name": "small",
            "task": "detection",
            "model": {"source": f"{tmp_path}/small_{family}:net", "arguments": {"family": family}, "weights": "random"},
            "preprocess": {"size_hw": [64, 64], "resize": "letterbox"},
            "labels": ["cat", "dog"],
            "data": {"calibration": str(pictures)},
            "quantize": {"precision": "int8"},
            "gates": {"min_agreement": 0.5},
            "detection": {"score_threshold": 0.4},
        }
    )

    made = convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())

    assert [stage.artifact.manifest.stage for stage in made.stages] == ["export", "fold", "decode", "int8"]
    raw, final = made.stages[0], made.stages[-1]
    assert isinstance(raw.usage, Detector)
    assert (raw.usage.layout.kind, raw.usage.layout.box_unit) == ("boxes_scores", "pixels")
    for stage in made.stages:
        model = load_model(stage.artifact.path)
        assert not {node.op_type for node in model.graph} & DEPENDS_ON_THE_PICTURE
        for output in stage.artifact.manifest.outputs:
            assert all(isinstance(size, int) for size in output.shape)
    model = load_model(final.artifact.path)
    quantized = {node.name for node in model.graph if node.op_type == "QuantizeLinear"}
    assert len(quantized) >= 3
    # Coordinates in pixels and probabilities are computed from the last convolutions in FP32.
    assert not quantized & set(decoding_nodes(model))
    assert final.accuracy is not None
