"""Faces named by a gallery, numbers and masks, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

import onnx

Run = Any  # the fixture edgecnn of conftest.py
RECIPE = """name: {task}
task: {task}
model: {{source: net.onnx}}
preprocess: {{size_hw: [8, 8], mean: [0.5, 0.5, 0.5], std: [1, 1, 1]}}
quantize: {{precision: fp32}}
target: {{device: onnxruntime-x86}}
{more}
"""


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two people, of whom one is red and the other blue."""
    random = np.random.default_rng(0)
    for name, colour in (("ada", (40, 60, 220)), ("bob", (220, 60, 40))):
        (tmp_path / "people" / name).mkdir(parents=True)
        for number in range(3):
            noise = random.integers(-30, 30, (24, 32, 3))
            picture = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "people" / name / f"{number}.png"), picture)
    return tmp_path / "people"


def converted(edgecnn: Run, folder: Path, task: str, node: Any, shape: list[int], more: str = "") -> Path:
    """A bundle of a network of one node."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [node],
        task,
        [make.make_tensor_value_info("x", kind, [1, 3, 8, 8])],
        [make.make_tensor_value_info("y", kind, shape)],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    (folder / "own.yaml").write_text(RECIPE.format(task=task, more=more))
    assert edgecnn("convert", folder / "own.yaml", "--out", folder / task).code == 0
    return folder / task


def events_of(edgecnn: Run, bundle: Path, source: Path, *options: object) -> list[dict[str, Any]]:
    events = bundle.parent / "events.jsonl"
    events.unlink(missing_ok=True)
    done = edgecnn("run", bundle, "--source", source, "--events", events, "--save", bundle.parent / "out.mp4", *options)
    assert done.code == 0, done.err
    return [json.loads(line) for line in events.read_text().splitlines()]


def test_faces_are_named_by_a_gallery(edgecnn: Run, people: Path, tmp_path: Path) -> None:
    node = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    bundle = converted(edgecnn, tmp_path, "embedding", node, [1, 3], "embedding: {match_above: 0.9}")
    gallery = tmp_path / "staff.npz"

    done = edgecnn("gallery", bundle, people, "--out", gallery)
    assert (done.code, "6 pictures of 2 names" in done.err) == (0, True)
    for name in ("ada", "bob"):
        found = events_of(edgecnn, bundle, people / name, "--gallery", gallery)
        assert [(event["label"], event["vector"]) for event in found] == [(name, None)] * 3
        assert all(event["similarity"] > 0.99 for event in found)
    (tmp_path / "other").mkdir()
    cv2.imwrite(str(tmp_path / "other" / "green.png"), np.full((24, 32, 3), (40, 220, 40), np.uint8))
    assert events_of(edgecnn, bundle, tmp_path / "other", "--gallery", gallery)[0]["label"] == "unknown"
    (plain, *_) = events_of(edgecnn, bundle, people / "ada")
    assert (plain["label"], len(plain["vector"])) == (None, 3)

    assert "they have no names" in edgecnn("gallery", bundle, people / "ada", "--out", gallery).err
    alone = edgecnn("evaluate", bundle, "--data", people)
    assert (alone.code, "--against BUNDLE" in alone.err) == (2, True)
    assert "cosine 1.0000" in edgecnn("evaluate", bundle, "--data", people, "--against", bundle).out
    wrong = edgecnn("run", bundle, "--source", people / "ada", "--line", "0,0,1,1")
    assert (wrong.code, "this bundle is not a detector" in wrong.err) == (2, True)


def test_numbers_with_units(edgecnn: Run, people: Path, tmp_path: Path) -> None:
    node = onnx.helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    more = "labels: [r, g, b]\nregression: {units: [lx, lx, lx], scale: [255, 255, 255], offset: [127.5, 127.5, 127.5]}"
    bundle = converted(edgecnn, tmp_path, "regression", node, [1, 3], more)

    event = events_of(edgecnn, bundle, people / "ada")[0]

    assert [value["label"] for value in event["values"]] == ["r", "g", "b"]
    assert [value["value"] for value in event["values"]] == pytest.approx([220, 60, 40], abs=10)
    assert event["values"][0]["unit"] == "lx"


def test_shares_of_a_mask(edgecnn: Run, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    more = "labels: [red, green, blue]"
    bundle = converted(edgecnn, tmp_path, "segmentation", node, [1, 3, 8, 8], more)
    (tmp_path / "flags").mkdir()
    flag = np.zeros((80, 80, 3), np.uint8)
    flag[:, :20, 2], flag[:, 20:, 1] = 255, 255
    cv2.imwrite(str(tmp_path / "flags" / "0.png"), flag)

    (event,) = events_of(edgecnn, bundle, tmp_path / "flags")

    assert event["areas"] == [
        {"class": 0, "label": "red", "share": 0.25},
        {"class": 1, "label": "green", "share": 0.75},
    ]
