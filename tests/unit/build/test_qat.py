"""Quantization-aware training in a conversion: when it is done, what of it is kept, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.build import precision
from edgecnn.build.convert import convert
from edgecnn.build.results import Conversion
from edgecnn.build.store import Store
from edgecnn.core.head_part import HeadPart
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import Recipe
from edgecnn.errors import GateMissed, InputError
from edgecnn.graph.model import load_model, save_model

GraphOf = Callable[..., Any]
TEXT = """net (float[1, 3, 8, 8] input) => (float[1, 2] y) {
    [first] a = Conv<pads = [1, 1, 1, 1]>(input, w)
    b = Relu(a)
    [second] c = Conv(b, v, u)
    d = GlobalAveragePool(c)
    y = Flatten(d)
}"""
QAT = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "augment": {"degrees": 0}}


class Maker:
    """Conversions of one small network that share a store."""

    def __init__(self, graph_of: GraphOf, root: Path) -> None:
        self.root = root
        random = np.random.default_rng(0)
        draw = random.standard_normal
        arrays = {"w": draw((8, 3, 3, 3)) / 3, "v": draw((2, 8, 3, 3)) / 5, "u": draw(2)}
        model = graph_of(TEXT, **{name: np.float32(array) for name, array in arrays.items()})
        save_model(model, root / "net.onnx")
        for part, count in (("learn", 8), ("judge", 12)):
            for name, level in (("dark", 60), ("bright", 180)):
                (root / part / name).mkdir(parents=True)
                for index in range(count):
                    picture = random.normal(level, 30, (8, 8, 3)).clip(0, 255).astype(np.uint8)
                    cv2.imwrite(str(root / part / name / f"{index}.png"), picture)

    def converted(self, qat: dict[str, Any], **parts: Any) -> Conversion:
        """Convert the network by a recipe with these changes."""
        data = {"train": "learn", "calibration": "learn", "evaluation": "judge"} | parts.pop("data", {})
        document: dict[str, Any] = {
            "name": "small",
            "model": {"source": str(self.root / "net.onnx")},
            "preprocess": {"size_hw": [8, 8], "mean": [0.5] * 3, "std": [0.3] * 3},
            "labels": ["dark", "bright"],
            "data": {key: str(self.root / value) if value else None for key, value in data.items()},
            "quantize": {"precision": "int8", "qat": qat},
            "gates": {"max_drop": 100, "min_agreement": 0.2, "check_preprocess": False},
        }
        recipe = Recipe.model_validate(document | parts)
        return convert(recipe, self.root / "bundle", Store(self.root / "store"), Silent())

    def trainings(self) -> int:
        """How many were done and kept."""
        return len(list((self.root / "store").glob("*/trained")))


@pytest.fixture
def maker(graph_of: GraphOf, tmp_path: Path, torch_as_before: None) -> Maker:
    return Maker(graph_of, tmp_path)


def weights(conversion: Conversion) -> list[np.ndarray]:
    model = load_model(conversion.stages[-1].artifact.path)
    stored = [value.const_value.numpy() for value in model.graph.initializers.values() if value.const_value is not None]
    return [array for array in stored if array.dtype == np.int8 and array.ndim == 4]


def test_a_network_is_trained_where_calibration_misses_a_gate(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = maker.converted(QAT)
    assert maker.trainings() == 0  # calibration was good enough
    asked: list[Any] = []

    def missed_once(*arguments: Any) -> None:
        asked.append(arguments)
        if len(asked) == 1:
            raise GateMissed("too far")

    monkeypatch.setattr(precision, "require_kept", missed_once)
    trained = maker.converted(QAT)

    assert maker.trainings() == 1
    # With labels, what was trained is judged by them, and not by what FP32 said.
    assert [arguments[3].min_agreement for arguments in asked[:2]] == [0.2, 0]
    assert "trained with its quantization on 16 pictures" in trained.bundle.manifest.notes
    assert trained.bundle.manifest.precision == "int8"
    assert any(not np.array_equal(one, two) for one, two in zip(weights(kept), weights(trained), strict=True))
    # It is kept: the same conversion trains no more.
    asked.clear()
    again = maker.converted(QAT)
    assert again.stages[-1].artifact.sha256 == trained.stages[-1].artifact.sha256
    assert maker.trainings() == 1
    assert not list((maker.root / "store" / "training").glob("*"))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"data": {"train": None}}, "data.train is missing"),
        ({"data": {"train": "judge"}}, "24 pictures are for training with quantization and for evaluation"),
        ({"preprocess": {"size_hw": [8, 8], "embed": {"frame_hw": [8, 8]}}}, "the camera's frames"),
        ({"task": "segmentation", "labels": None}, "task: segmentation"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(maker: Maker, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        maker.converted(QAT, **parts)
    assert not list((maker.root / "store").glob("*/model.onnx"))


TRUNK = """
import torch
def net():
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(stage(3, 4), stage(4, 8), stage(8, 8), stage(8, 8), stage(8, 8),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5))
"""


def test_a_detector_learns_before_its_boxes_are_decoded(tmp_path: Path, torch_as_before: None) -> None:
    """What was trained is compared with what is written, and the loss falls."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    random = np.random.default_rng(1)
    for part in ("learn", "judge"):
        for folder in ("images", "labels"):
            (tmp_path / part / folder).mkdir(parents=True)
        (tmp_path / part / "classes.txt").write_text("white\nred\n")
        for number in range(8):
            picture = random.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            left, top = (int(place) for place in random.integers(0, 32, 2))
            picture[top : top + 32, left : left + 32] = (0, 0, 255) if number % 2 else (255, 255, 255)
            cv2.imwrite(str(tmp_path / part / "images" / f"{number}.png"), picture)
            row = f"{number % 2} {(left + 16) / 64:.6f} {(top + 16) / 64:.6f} 0.5 0.5\n"
            (tmp_path / part / "labels" / f"{number}.txt").write_text(row)
    (tmp_path / "trunk_net.py").write_text(TRUNK)
    head = HeadPart(width=8, depth=1)
    recipe = Recipe.model_validate(
        {
            "name": "things",
            "task": "detection",
            "model": {"source": f"{tmp_path}/trunk_net:net", "weights": "random", "num_classes": 2, "head": head},
            "preprocess": {"size_hw": [64, 64], "mean": [0.5] * 3, "std": [0.25] * 3},
            "labels": ["white", "red"],
            "detection": {"layout": head.layout(2).model_dump(exclude_unset=True)},
            "data": {
                "train": f"{tmp_path}/learn",
                "calibration": f"{tmp_path}/learn",
                "evaluation": f"{tmp_path}/judge",
            },
            "quantize": {
                "precision": "int8",
                "qat": {"when": "always", "epochs": 10, "batch_size": 4, "learning_rate": 0.3},
            },
            "gates": {"max_drop": 100, "min_map_kept": None, "min_map_kept_by_size": None},
        }
    )

    made = convert(recipe, tmp_path / "bundle", Store(tmp_path / "store"), Silent())

    manifest = json.loads(next((tmp_path / "store").glob("*/trained")).with_name("manifest.json").read_text())
    losses = manifest["detail"]["loss of each epoch"]
    assert losses[-1] < losses[0]  # from random weights, by 20 steps
    assert manifest["parity"]["snr_db"] >= 30
    assert made.stages[-1].artifact.manifest.detail["pictures trained on"] == 8
