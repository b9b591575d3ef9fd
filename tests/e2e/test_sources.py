"""Pretrained networks that a user's own Python builds, from their checkpoints to bundles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from edgecnn.backends.ort import OrtSession
from edgecnn.core.recipe_file import load_recipe
from edgecnn.vision.images import read_image
from edgecnn.vision.preprocess import preprocess

Run = Any  # the fixture edgecnn of conftest.py
ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PICTURES = DATA / "images" / "imagenet-samples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout: nothing to convert"),
]
# Some fifty layers of float32 sums in another order, as a part of the largest output: seen at 2e-6.
SAME = 1e-4

RESNET20 = """
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride = outputs // inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        room = (y.shape[1] - x.shape[1]) // 2
        return functional.relu(y + functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, room, room)))


class ResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))
"""


def assert_same_as_torch(bundle: Path, recipe_path: Path) -> np.ndarray:
    """The bundle's network gives what the torch module gives, on pictures; its outputs."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    from edgecnn.train.zoo import build_module, load_weights

    recipe = load_recipe(str(recipe_path))
    module = build_module(recipe.model)
    load_weights(module, recipe.model)
    module.eval()
    session = OrtSession(bundle / "model.onnx")
    outputs = []
    for path in sorted(PICTURES.glob("*.jpg"))[:: 1000 // 50]:
        frame = preprocess(read_image(path), recipe.preprocess)
        found = session.run({session.inputs[0].name: frame})[session.outputs[0].name]
        with torch.no_grad():
            expected = module(torch.from_numpy(frame)).numpy()
        np.testing.assert_allclose(found, expected, atol=SAME * np.abs(expected).max())
        outputs.append(found[0])
    return np.array(outputs)


def test_a_network_of_an_installed_package(edgecnn: Run, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    recipe = Path(shutil.copy(ROOT / "recipes" / "imagenet-efficientnet-lite0.yaml", tmp_path))
    shutil.copy(next((DATA / "models" / "efficientnet-lite0").glob("*.pth")), tmp_path / "efficientnet-lite0.pth")

    done = edgecnn("convert", recipe, "--out", tmp_path / "bundle", "--precision", "fp32", "--json")

    assert done.code == 0, done.err
    stages = {stage["stage"]: stage for stage in done.json["stages"]}
    assert stages["export"]["parameters"] == 4_652_008  # as the paper's authors count
    outputs = assert_same_as_torch(tmp_path / "bundle", recipe)
    # Every 20th class: the network knows most of these pictures, which it would not with other weights.
    assert (outputs.argmax(1) == np.arange(0, 1000, 20)).mean() > 0.8


def test_a_network_of_a_module_beside_the_recipe(edgecnn: Run, tmp_path: Path) -> None:
    (tmp_path / "cifar_networks.py").write_text(RESNET20)
    shutil.copy(next((DATA / "models" / "cifar10-resnet20").glob("*.th")), tmp_path / "resnet20.th")
    document = {
        "name": "cifar10-resnet20",
        "model": {"source": "cifar_networks:ResNet20", "weights": "resnet20.th", "arguments": {"classes": 10}},
        "preprocess": {"size_hw": [32, 32]},
        "quantize": {"precision": "fp32"},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(document))

    done = edgecnn("convert", tmp_path / "own.yaml", "--out", tmp_path / "bundle", "--json")

    assert done.code == 0, done.err
    stages = {stage["stage"]: stage for stage in done.json["stages"]}
    # Folding leaves one of a BatchNorm's two parameters a channel, as the convolution's bias.
    assert stages["export"]["parameters"] == 269_722
    assert stages["fold"]["parameters"] == 269_722 - (7 * 16 + 6 * 32 + 6 * 64)
    assert_same_as_torch(tmp_path / "bundle", tmp_path / "own.yaml")


def test_a_network_of_timm(edgecnn: Run, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")

    done = edgecnn(
        "convert", "timm:mobilenetv3_small_050@random", "--out", tmp_path / "b", "--precision", "fp32", "--json"
    )

    assert done.code == 0, done.err
    assert done.json["name"] == "mobilenetv3_small_050"


def test_a_callable_without_a_recipe_says_what_is_missing(edgecnn: Run, tmp_path: Path) -> None:
    done = edgecnn("convert", "cifar_networks:ResNet20", "--out", tmp_path / "bundle")

    assert done.code == 2
    assert "nobody has stated its preprocessing" in done.err
    assert "edgecnn recipes imagenet-efficientnet-lite0" in done.err
