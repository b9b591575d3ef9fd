"""Regression, embedding and segmentation, from a Torch network to a bundle and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.build.convert import convert
from edgecnn.build.store import Store
from edgecnn.core.artifact import OutputAccuracy
from edgecnn.core.frame import Embedding, Measurements, Segmentation, Tags
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import ModelPart, Recipe
from edgecnn.deploy.bundle import Bundle, load_bundle
from edgecnn.errors import GateMissed, InputError
from edgecnn.vision.results import decode_result

CODE = """import torch
from torch import nn


class Network(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.task = task
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.numbers = nn.Linear(8, 2 if task in ("regression", "multilabel") else 16)
        self.planes = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        found = self.body(x)
        if self.task == "segmentation":
            larger = nn.functional.interpolate(self.planes(found), scale_factor=4.0, mode="bilinear")
            return {"out": larger, "aux": found}
        numbers = self.numbers(found.mean(dim=(2, 3)))
        return numbers.sigmoid() if self.task == "multilabel" else numbers
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, level in (("ada", 60), ("bob", 190)):
        (tmp_path / "people" / name).mkdir(parents=True)
        for number in range(4):
            noise = draw.normal(level, 20 + 10 * number, (36, 48, 3)).clip(0, 255).astype(np.uint8)
            noise[:, :24] = noise[:, :24] // (number + 1)
            cv2.imwrite(str(tmp_path / "people" / name / f"{number}.png"), noise)
    return tmp_path / "people"


def recipe_of(folder: Path, task: str, pictures: Path, **fields: Any) -> Recipe:
    (folder / "own.py").write_text(CODE)
    data = {"calibration": str(pictures)}
    return Recipe(
        name=task,
        task=task,
        model=ModelPart(source=f"{folder / 'own'}:Network", weights="random", arguments={"task": task}),
        preprocess=Preprocess(size_hw=(32, 32)),
        data=data,
        **{"quantize": {"precision": "int8"}, "target": {"device": "onnxruntime-x86"}, **fields},
    )


def converted(recipe: Recipe, folder: Path) -> Bundle:
    return convert(recipe, folder / "bundle", Store(folder / "store"), Silent()).bundle


def last_accuracy(bundle: Bundle) -> OutputAccuracy:
    accuracy = bundle.manifest.stages[-1].accuracy
    assert isinstance(accuracy, OutputAccuracy)
    return accuracy


def said(bundle: Bundle) -> Any:
    usage = load_bundle(bundle.path).manifest.usage
    frame = bundle.golden_frames()[0]
    return decode_result(bundle.golden_outputs()[0], usage, (frame.shape[0], frame.shape[1]))


def test_regression(tmp_path: Path, pictures: Path) -> None:
    recipe = recipe_of(
        tmp_path,
        "regression",
        pictures,
        labels=("depth", "heat"),
        regression={"units": ("m", "K"), "scale": (2, 1)},
        gates={"max_relative_error": 0.2},
    )

    bundle = converted(recipe, tmp_path)

    found = said(bundle)
    assert isinstance(found, Measurements)
    assert (found.labels, found.units) == (("depth", "heat"), ("m", "K"))
    error = last_accuracy(bundle).relative_error
    assert error is not None
    assert 0 < error < 0.2
    assert bundle.manifest.precision == "int8"


def test_segmentation_of_the_output_with_the_planes(tmp_path: Path, pictures: Path) -> None:
    recipe = recipe_of(
        tmp_path, "segmentation", pictures, labels=("a", "b", "c"), quantize={"precision": "fp16"}, target={}
    )

    bundle = converted(recipe, tmp_path)

    found = said(bundle)
    assert isinstance(found, Segmentation)
    assert found.mask.shape == bundle.golden_frames()[0].shape[:2]
    assert set(np.unique(found.mask)) <= {0, 1, 2}
    assert bundle.manifest.segmentation is not None
    assert bundle.manifest.segmentation.output == "out"
    accuracy = last_accuracy(bundle)
    assert accuracy.mask_agreement is not None
    assert accuracy.mask_agreement > 0.95


def test_a_bar_that_is_missed_is_named(tmp_path: Path, pictures: Path) -> None:
    recipe = recipe_of(tmp_path, "embedding", pictures, gates={"min_cosine": 1.0})
    with pytest.raises(GateMissed, match=r"int8: the mean cosine with FP32's vectors is .* at least 1 is wanted"):
        converted(recipe, tmp_path)
    strict = recipe_of(tmp_path, "regression", pictures, gates={"max_relative_error": 0.0})
    with pytest.raises(GateMissed, match="a value differs from FP32's by"):
        converted(strict, tmp_path)


@pytest.mark.parametrize(
    ("task", "fields", "complaint"),
    [
        ("regression", {"labels": ("x",)}, "1 labels for a network of 2"),
        ("regression", {"regression": {"units": ("m",)}}, "regression.units has 1 entries, and the network 2 values"),
        ("multilabel", {"labels": ("x",)}, "1 labels for a network of 2"),
        ("multilabel", {"multilabel": {"thresholds": {"x": 0.2}}}, "multilabel.thresholds names 'x', which is no"),
        ("embedding", {"labels": ("x",)}, "labels for task: embedding"),
        ("segmentation", {"segmentation": {"output": "other"}}, "wants an output of"),
        ("segmentation", {"labels": ("x",)}, "1 labels for a network of 3 classes"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(
    tmp_path: Path, pictures: Path, task: str, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        converted(recipe_of(tmp_path, task, pictures, **fields), tmp_path)


def test_a_mask_is_no_regression(tmp_path: Path, pictures: Path) -> None:
    recipe = recipe_of(tmp_path, "segmentation", pictures)
    wrong = recipe.model_copy(update={"task": "regression"})
    with pytest.raises(InputError, match="task regression wants one output"):
        converted(wrong, tmp_path)


def test_an_embedding(tmp_path: Path, pictures: Path) -> None:
    bundle = converted(recipe_of(tmp_path, "embedding", pictures, embedding={"match_above": 0.9}), tmp_path)

    found = said(bundle)
    assert isinstance(found, Embedding)
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-6)
    assert bundle.manifest.labels == ()
    assert bundle.manifest.embedding is not None
    assert bundle.manifest.embedding.match_above == 0.9
    cosine = last_accuracy(bundle).cosine
    assert cosine is not None
    assert cosine > 0.98


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_several_labels_after_a_sigmoid(tmp_path: Path, pictures: Path, precision: str) -> None:
    rows = [f"{path},{'warm' if path.parent.name == 'ada' else 'warm|old'}" for path in sorted(pictures.glob("*/*"))]
    (tmp_path / "tags.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "others").mkdir()
    for index, path in enumerate(sorted(pictures.glob("*/*"))):
        cv2.imwrite(str(tmp_path / "others" / f"{index}.png"), cv2.flip(cv2.imread(str(path)), 1))
    recipe = recipe_of(
        tmp_path,
        "multilabel",
        pictures,
        labels=("warm", "old"),
        multilabel={"threshold": 0.3},
        quantize={"precision": precision},
        target={},
        gates={"max_drop": 100},  # of a network that has learnt nothing
    )
    data = recipe.data.model_copy(
        update={"calibration": str(tmp_path / "others"), "evaluation": str(tmp_path / "tags.csv")}
    )

    bundle = converted(recipe.model_copy(update={"data": data}), tmp_path)

    assert bundle.manifest.multilabel is not None
    assert (bundle.manifest.multilabel.scores, bundle.manifest.precision) == ("probabilities", precision)
    found = said(bundle)
    assert isinstance(found, Tags)
    (output,) = bundle.golden_outputs()[0].values()
    np.testing.assert_allclose(found.distribution, output[0], rtol=1e-6)
    accuracy = last_accuracy(bundle)
    assert accuracy.average_precision is not None
    assert accuracy.average_precision["warm"] == 1  # all pictures have it
    assert accuracy.tag_agreement is not None
    assert accuracy.tag_agreement >= 0.9
