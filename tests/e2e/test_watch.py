"""Objects followed and counted on frames, with the frame in tiles, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")
pytest.importorskip("edgefirst.tracker", reason="edgefirst-tracker is not installed: pip install 'edgecnn[track]'")

import onnx

Run = Any  # the fixture edgecnn of conftest.py
SIDE, LAMP = 64, 16
RECIPE = f"""name: brightest
task: detection
model: {{source: net.onnx}}
labels: [lamp]
preprocess: {{size_hw: [{SIDE}, {SIDE}], mean: [0, 0, 0], std: [1, 1, 1], interpolation: linear}}
quantize: {{precision: fp32}}
target: {{device: onnxruntime-x86}}
detection:
  layout: {{kind: end_to_end}}
  watch: {{zones: [{{name: left, points: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}}]}}
"""


@pytest.fixture(scope="module")
def bundle(edgecnn: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of one object: where the first row and column with the largest value are, as large as a lamp."""
    folder = tmp_path_factory.mktemp("brightest")
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        make.make_node("ReduceMax", ["x"], ["by_column"], axes=[1, 2], keepdims=0),
        make.make_node("ReduceMax", ["x"], ["by_row"], axes=[1, 3], keepdims=0),
        make.make_node("ReduceMax", ["by_row"], ["score"], axes=[1], keepdims=1),
    ]
    for place, values in (("left", "by_column"), ("top", "by_row")):
        nodes += [
            make.make_node("ArgMax", [values], [f"{place}_index"], axis=1, keepdims=1),
            make.make_node("Cast", [f"{place}_index"], [place], to=kind),
        ]
    nodes += [
        make.make_node("Add", ["left", "size"], ["right"]),
        make.make_node("Add", ["top", "size"], ["bottom"]),
        make.make_node("Mul", ["score", "nothing"], ["class"]),
        make.make_node("Concat", ["left", "top", "right", "bottom", "score", "class"], ["row"], axis=1),
        make.make_node("Unsqueeze", ["row", "first"], ["y"]),
    ]
    constants = {
        "size": np.float32([[LAMP]]),
        "nothing": np.float32([[0]]),
        "first": np.int64([1]),
    }
    graph = make.make_graph(
        nodes,
        "brightest",
        [make.make_tensor_value_info("x", kind, [1, 3, SIDE, SIDE])],
        [make.make_tensor_value_info("y", kind, [1, 1, 6])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    (folder / "own.yaml").write_text(RECIPE)
    done = edgecnn("convert", folder / "own.yaml", "--out", folder / "bundle")
    assert done.code == 0, done.err
    return folder / "bundle"


def film(folder: Path, places: list[tuple[int, int]], side: int = SIDE) -> Path:
    """Pictures of a square lamp at the places of its upper left corner."""
    folder.mkdir()
    for index, (left, top) in enumerate(places):
        image = np.zeros((side, side, 3), np.uint8)
        image[top : top + LAMP, left : left + LAMP] = 255
        cv2.imwrite(str(folder / f"{index:03d}.png"), image)
    return folder


def test_what_crosses_a_line_is_counted_and_drawn(edgecnn: Run, bundle: Path, tmp_path: Path) -> None:
    """Down, up and down again, on the left; the zone is the recipe's and the line the command's."""
    heights = [*range(4, 44, 2), *range(42, 4, -2), *range(6, 44, 2)]
    events, video = tmp_path / "events.jsonl", tmp_path / "out.mp4"

    done = edgecnn(
        "run",
        bundle,
        "--source",
        film(tmp_path / "film", [(10, height) for height in heights]),
        "--line",
        "door=0,0.5,1,0.5",
        "--events",
        events,
        "--save",
        video,
    )

    assert done.code == 0, done.err
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["objects"][0]["track"] for line in lines] == [1] * len(heights)
    assert lines[0]["lines"] == [{"name": "door", "in": {}, "out": {}}]
    assert lines[-1]["lines"] == [{"name": "door", "in": {"lamp": 2}, "out": {"lamp": 1}}]
    assert all(line["zones"] == [{"name": "left", "inside": {"lamp": 1}}] for line in lines)
    assert video.stat().st_size > 0


def test_an_object_is_found_in_its_tile(edgecnn: Run, bundle: Path, tmp_path: Path) -> None:
    """Of four tiles of the network's own size those without the lamp see nothing above the threshold."""
    events = tmp_path / "events.jsonl"
    source = film(tmp_path / "film", [(96, 20)], side=2 * SIDE)

    done = edgecnn("run", bundle, "--source", source, "--tiles", "2x2:0", "--events", events)

    assert done.code == 0, done.err
    (line,) = [json.loads(line) for line in events.read_text().splitlines()]
    boxes = [entry["box_xyxy"] for entry in line["objects"]]
    assert [96.0, 20.0, 112.0, 36.0] in boxes
