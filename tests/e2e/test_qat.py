"""Quantization-aware training as a user meets it: a network that train made, converted by its recipe with qat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

Run = Any  # the fixture edgecnn of conftest.py
RECIPE = """
name: small
model: {source: 'small_net:net'}
preprocess: {size_hw: [16, 16], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data: {train: pictures, validation_share: 0.25}
train: {epochs: 6, batch_size: 16, learning_rate: 0.02, augment: {degrees: 5}}
quantize: {precision: int8, qat: {when: always, epochs: 3, batch_size: 16, learning_rate: 0.001}}
gates: {min_agreement: 0.8}
"""
CODE = """
import torch
def net():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )
"""


def test_a_network_is_trained_with_its_quantization(edgecnn: Run, colours: Path) -> None:
    (colours / "small_net.py").write_text(CODE)
    (colours / "small.yaml").write_text(RECIPE)

    trained = edgecnn("train", colours / "small.yaml", "--out", colours / "out.pt")
    assert trained.code == 0, trained.err
    converted = edgecnn("convert", colours / "out.yaml", "--out", colours / "bundle", "--json")
    assert converted.code == 0, converted.err
    judged = edgecnn("evaluate", colours / "bundle", "--data", colours / "out.heldout.csv", "--json")

    document = json.loads(converted.out)
    assert document["precision"] == "int8"
    assert "trained with its quantization on 90 pictures" in document["notes"]
    last = document["stages"][-1]
    assert last["accuracy"]["top1"] >= 0.9
    assert judged.json["top1"] == pytest.approx(last["accuracy"]["top1"], abs=0.04)
    manifest = json.loads((colours / "bundle" / "manifest.json").read_text())
    int8 = manifest["stages"][-1]["manifest"]
    assert int8["config"]["qat"]["train"]["epochs"] == 3
    assert int8["config"]["qat"]["train"]["augment"]["degrees"] == 5  # as the FP32 network was trained
