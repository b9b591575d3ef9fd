"""The corpus tool: which networks, how they are drawn, and the page that its results give."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

from onnx import numpy_helper  # noqa: E402

from benchmarks.corpus.draw import draw_norms, draw_weights, write_pictures  # noqa: E402
from benchmarks.corpus.page import page, verdict_of  # noqa: E402
from edgecnn.backends.ort import OrtSession  # noqa: E402

ROOT = Path(__file__).parents[3]
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
HALF: dict[str, Any] = {
    "failure": None,
    "precision": "fp16",
    "snr_db": {"fold": 131.2, "fp16": 60.04},
    "nodes": 49,
    "parameters": 11_689_512,
    "folded": 20,
    "foldable": 0,
    "batch_norms_left": 0,
    "int8_share": None,
    "compiler": "TensorRT-RTX 1.7 for SM86",
    "accepted": True,
    "findings": [],
    "notes": [],
}
WHOLE = HALF | {"precision": "int8", "snr_db": {"fold": 131.2, "int8": 35.5}, "nodes": 110, "int8_share": 0.984}
ROW = {"family": "exporters", "failure": None, "seconds": 93, "side": 224, "fp16": HALF, "int8": WHOLE}


def document(**rows: Any) -> dict[str, Any]:
    environment = {"cpu": "a processor", "pictures": {"calibration": 16, "evaluation": 8}}
    return {"environment": environment, "corpus": {"exporters": 3}, "rows": rows}


def test_the_page_is_what_the_results_give() -> None:
    results = json.loads((ROOT / "benchmarks/results/corpus.json").read_text(encoding="utf-8"))

    assert page(results) == (ROOT / "docs/corpus.md").read_text(encoding="utf-8")


def test_a_network_is_a_line_and_counts_in_the_summary() -> None:
    text = page(document(resnet18=ROW))

    assert "| resnet18 | 224 | 11.7 | 110 | 20 | 131 | 60.0 | 35.5 | 98.4% | yes | 93 |  |" in text
    assert "| exporters | 1 of 3 | 1 | 1 | 0 | 35.5 | 1 |" in text
    assert "What did not convert" not in text


def test_what_failed_is_said_with_its_reason() -> None:
    missed = copy.deepcopy(ROW)
    missed["int8"] = HALF | {"failure": "auto: INT8 missed its bar, so FP16 (int8: 7.1 dB)"}
    refused = copy.deepcopy(ROW)
    refused["fp16"] = {"failure": "check: node a: no importer", "seconds": 3.0}
    killed = {"family": "exporters", "seconds": 1800, "failure": "stopped after 1800 s"}

    text = page(document(missed=missed, refused=refused, killed=killed))

    assert "- **missed**: INT8: auto: INT8 missed its bar, so FP16 (int8: 7.1 dB)" in text
    assert "- **refused**: FP16: check: node a: no importer" in text
    assert "- **killed**: stopped after 1800 s" in text
    assert "| exporters | 3 of 3 | 1 | 1 | 0 | 35.5 | 0 |" in text
    assert verdict_of(killed) == "stopped after 1800 s"


def test_foldable_batch_norms_are_counted() -> None:
    text = page(document(resnet18=ROW | {"int8": WHOLE | {"foldable": 2, "batch_norms_left": 3}}))

    assert "all networks together: **2**" in text
    assert "| 20 / 3 |" in text


def test_the_corpus_has_convolutional_networks_only() -> None:
    pytest.importorskip("torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'")
    from benchmarks.corpus.networks import corpus

    names = [network.name for network in corpus(Path("nowhere"))]

    assert len(names) == len(set(names))
    assert {"torchvision:resnet18", "torchvision:convnext_base", "torchvision:mnasnet0_5"} <= set(names)
    assert not [name for name in names if "vit" in name or "swin" in name]
    assert "torchvision:vgg16" not in names  # 138 million parameters
    assert sum(name.endswith("as it is") for name in names) == len(list(LIGHT.glob("*.onnx")))


def test_norms_are_drawn_so_that_folding_them_matters() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    norm = torch.nn.BatchNorm2d(64)

    draw_norms(torch.nn.Sequential(torch.nn.Conv2d(3, 64, 1), norm))

    for drawn in (norm.weight.detach(), norm.running_var):
        assert 0.5 <= float(drawn.min()) < 0.7 < 1.3 < float(drawn.max()) <= 1.5
    for drawn in (norm.bias.detach(), norm.running_mean):
        assert 0.05 < float(drawn.std()) < 0.2


def test_weights_of_one_number_are_drawn() -> None:
    proto = onnx.load(LIGHT / "light_resnet50.onnx")

    draw_weights(proto)

    assert not [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]
    stored = {value.name: numpy_helper.to_array(value) for value in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Conv":
            assert stored[node.input[1]].std() > 0
        if node.op_type == "BatchNormalization":
            gain, _, mean, variance = (stored[name] for name in node.input[1:5])
            assert 0.5 <= min(gain.min(), variance.min()) < max(gain.max(), variance.max()) <= 1.5
            assert np.abs(mean).max() < 1
    noise = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    (scores,) = OrtSession(proto.SerializeToString()).run({"gpu_0/data_0": noise}).values()
    assert scores.max() < 0.1  # of 1,000 classes, behind a Softmax


def test_pictures_differ_from_each_other_and_are_the_same_next_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_pictures(tmp_path / folder, 2, seed=3)

    contents = [(tmp_path / folder / name).read_bytes() for folder in ("one", "two") for name in ("000.png", "001.png")]
    assert contents[0] != contents[1]
    assert contents[:2] == contents[2:]
