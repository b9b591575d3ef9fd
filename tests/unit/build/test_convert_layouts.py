"""Detectors of more layouts, from the file to boxes of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

import torch

from edgecnn.build.convert import convert
from edgecnn.build.sources import recipe_from
from edgecnn.build.store import Store
from edgecnn.core.detector import Detector
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import ModelPart, Recipe
from edgecnn.deploy.bundle import load_bundle
from edgecnn.errors import InputError
from edgecnn.vision.decode_detections import decode_detections

# Nothing is compiled for it.
QUICK: dict[str, Any] = {"quantize": {"precision": "fp32"}, "target": {"device": "onnxruntime-x86"}}
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def converted(recipe: Recipe, folder: Path) -> Detector:
    """The bundle's detector; its golden outputs hold boxes."""
    convert(recipe, folder / "bundle", Store(folder / "store"), Silent())
    bundle = load_bundle(folder / "bundle")
    usage = bundle.manifest.usage
    assert isinstance(usage, Detector)
    for outputs in bundle.golden_outputs():
        found = decode_detections(outputs, usage, (64, 64))
        assert np.isfinite(found.boxes_xyxy).all()
    return usage


def exported(module: Any, path: Path, names: list[str], size: int) -> Path:
    torch.onnx.export(
        module.eval(),
        (torch.rand(1, 3, size, size),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=names,
    )
    return path


# Rows of numbers from a picture: two convolutions, and a linear layer that makes as many columns as are asked for.
CODE = """import torch
from torch import nn


class Rows(nn.Module):
    def __init__(self, kind, columns):
        super().__init__()
        self.kind = kind
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, columns, 1))

    def forward(self, x):
        rows = self.body(x).flatten(2).transpose(1, 2)
        if self.kind == "rtdetr":
            return {"logits": rows[:, :100, 4:] * 4, "pred_boxes": rows[:, :100, :4].sigmoid()}
        rows = rows[:, :85]
        return torch.cat([rows[..., :-32].sigmoid(), rows[..., -32:] * 3], dim=2)
"""


def recipe_of(folder: Path, kind: str, columns: int, **fields: Any) -> Recipe:
    (folder / "rows.py").write_text(CODE)
    return Recipe(
        name=kind,
        task="detection",
        model=ModelPart(
            source=f"{folder / 'rows'}:Rows", weights="random", arguments={"kind": kind, "columns": columns}
        ),
        preprocess=Preprocess(size_hw=(64, 64), **PLAIN),
        **fields,
    )


@pytest.mark.filterwarnings("ignore")
def test_nanodet_is_recognized_by_its_values(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "nanodet", 35, **QUICK)

    usage = converted(recipe, tmp_path)

    # 85 rows are the cells of four strides; the boxes are decoded in the graph.
    assert (usage.layout.kind, usage.layout.classes, usage.iou_threshold) == ("boxes_scores", 3, 0.5)
    assert recipe.preprocess.size_hw == (64, 64)


@pytest.mark.filterwarnings("ignore")
def test_what_names_each_object_once_is_not_suppressed_unless_stated(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "rtdetr", 11, **QUICK)
    assert converted(recipe, tmp_path).iou_threshold == 1.0

    stated = recipe.model_copy(update={"detection": recipe.detection.model_copy(update={"iou_threshold": 0.6})})
    assert converted(stated, tmp_path).iou_threshold == 0.6


@pytest.fixture(scope="module")
def ssd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SSD of torchvision's with its postprocess, as torch exports it."""
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    from torch import nn
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, 8, 1), nn.Conv2d(8, 8, 3, 2, 1)

        def forward(self, x: Any) -> dict[str, Any]:
            found = self.first(x).relu()
            return {"0": found, "1": self.second(found)}

    torch.manual_seed(0)
    generator = DefaultBoxGenerator([[2], [2]], scales=[0.2, 0.5, 0.9])
    backbone = Backbone()
    backbone.out_channels = [8, 8]
    model = SSD(backbone, generator, (64, 64), 4, score_thresh=0.25, detections_per_img=20)
    path = tmp_path_factory.mktemp("ssd") / "ssd.onnx"
    return exported(model, path, ["boxes", "scores", "labels"], 64)


@pytest.mark.filterwarnings("ignore")
def test_torchvisions_postprocess_runs_as_it_is(ssd: Path, tmp_path: Path) -> None:
    assumed = recipe_from(str(ssd))
    assert (assumed.task, assumed.preprocess.resize, assumed.preprocess.mean) == ("detection", "stretch", (0, 0, 0))
    recipe = assumed.model_copy(
        update={
            "labels": ("one", "two", "three"),
            "quantize": assumed.quantize.model_copy(update={"precision": "fp32"}),
            "target": assumed.target.model_copy(update={"device": "onnxruntime-x86"}),
        }
    )

    usage = converted(recipe, tmp_path)

    assert (usage.layout.kind, usage.layout.classes, usage.layout.numbers) == ("torchvision", 3, "labels")
    with pytest.raises(InputError, match="no two precisions can be compared"):
        convert(
            recipe.model_copy(
                update={"quantize": recipe.quantize.model_copy(update={"precision": "fp16"}), "target": assumed.target}
            ),
            tmp_path / "other",
            Store(tmp_path / "store"),
            Silent(),
        )


def test_anchors_lie_beside_the_recipe_and_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ntask: detection\nmodel: {source: m.onnx}\npreprocess: {size_hw: [32, 32]}\n"
        "detection: {layout: {kind: anchors, anchors: anchors.npy, anchor_weights: [1, 1, 1, 1]}}\n"
    )
    layout = recipe_from(str(tmp_path / "own.yaml")).detection.layout

    assert layout.anchors == str(tmp_path / "anchors.npy")
    assert layout.stated()["anchor_weights"] == (1, 1, 1, 1)
