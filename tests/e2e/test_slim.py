"""A network that a larger one has taught, that was pruned and made sparse, goes the whole way to a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.graph.prepare import load_named  # noqa: E402 - after the skip
from edgecnn.graph.sparse_weights import sparsity_of  # noqa: E402

Run = Any  # the fixture edgecnn of conftest.py
RECIPE = """
name: {name}
model: {{source: 'wide_net:net', arguments: {{width: {width}}}}}
preprocess: {{size_hw: [16, 16], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data: {{train: pictures, validation_share: 0.25}}
train: {{epochs: 8, batch_size: 16, learning_rate: 0.01, {rest}}}
"""
CODE = """
import torch
def net(width):
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(
        stage(3, width), stage(width, width),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 3),
    )
"""


@pytest.fixture
def place(colours: Path) -> Path:
    """A recipe's folder with pictures of three colours."""
    (colours / "wide_net.py").write_text(CODE)
    return colours


def test_a_taught_pruned_and_sparse_network_goes_to_a_board(edgecnn: Run, place: Path) -> None:
    teacher = "teacher: {source: 'wide_net:net', arguments: {width: 32}, weights: teacher.pt}"
    prune = "prune: {epochs: 2, step: 0.5, least_macs: 0.3, max_drop: 10, multiple: 16}, sparsity: 2:4"
    (place / "big.yaml").write_text(RECIPE.format(name="big", width=32, rest="seed: 1"))
    (place / "small.yaml").write_text(RECIPE.format(name="small", width=32, rest=f"{teacher}, {prune}"))

    def done(*arguments: object) -> Any:
        found = edgecnn(*arguments)
        assert found.code == 0, f"{arguments}: {found.err}"
        return found

    done("train", place / "big.yaml", "--out", place / "teacher.pt")
    trained = done("train", place / "small.yaml", "--out", place / "out.pt", "--json").json

    whole, kept = trained["pruning"][0], trained["pruning"][trained["kept step"]]
    assert trained["kept step"] > 0
    assert (trained["macs"], trained["parameters"]) == (kept["macs"], kept["parameters"])
    assert kept["macs"] < 0.6 * whole["macs"]
    assert kept["figure"] >= whole["figure"] - 0.1
    assert trained["top-1 without 2:4 sparsity"] == kept["figure"]
    assert trained["top-1 on pictures kept back"] >= whole["figure"] - 0.1
    assert trained["2:4 sparse layers"] == 1
    assert trained["top-1 of the teacher on these"] >= 0.9
    page = (place / "out.html").read_text()
    assert "wide_net:net, top-1 on pictures kept back" in page
    assert "Pruning" in page
    assert "2:4 sparsity" in page
    assert f"{whole['macs']:,}" in page

    summary = done("summary", place / "out.yaml", "--json").json
    assert summary["parameters"] == kept["parameters"]
    assert sum(layer["macs"] for layer in summary["layers"] if layer["op_type"] in ("Conv", "Gemm")) == kept["macs"]
    done("convert", place / "out.yaml", "--out", place / "bundle", "--precision", "int8")
    manifest = json.loads((place / "bundle" / "manifest.json").read_text())
    assert manifest["stages"][0]["manifest"]["detail"]["parameters"] == kept["parameters"]
    judged = done("evaluate", place / "bundle", "--data", place / "out.heldout.csv", "--json").json
    assert judged["top1"] >= trained["top-1 on pictures kept back"] - 0.05
    # Through export, folding and INT8 the weights have stayed sparse.
    assert any("are 2:4 sparse" in note for note in manifest["notes"])
    sparse = sparsity_of(load_named(place / "bundle" / "model.onnx"))
    assert len(sparse.layers) == 1
    assert 0 < sparse.share < 1
    done("run", place / "bundle", "--source", place / "pictures" / "red", "--events", place / "seen.jsonl")
    lines = [json.loads(line) for line in (place / "seen.jsonl").read_text().splitlines()]
    named = [line["classes"][0]["label"] for line in lines]
    assert named.count("red") >= 0.9 * len(named) == 36
    # From its recipe that trains, in one command, it is the same network.
    done("convert", place / "small.yaml", "--out", place / "again", "--precision", "fp32")
    again = json.loads((place / "again" / "manifest.json").read_text())
    assert again["stages"][1]["manifest"]["detail"]["parameters"] == kept["parameters"]
