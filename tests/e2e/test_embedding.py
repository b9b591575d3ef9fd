"""Networks with the preprocessing inside, from the command line: they say what those with it outside say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from edgecnn.deploy.bundle import load_bundle
from edgecnn.profiling.records import read_profile
from edgecnn.vision.boxes import iou_matrix

Run = Any  # the fixture edgecnn of conftest.py
ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
VIDEO = DATA / "videos" / "vtest.avi"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout: nothing to convert")
# A grey level here and there is one off, and FP16 rounds on: 0.009 was seen.
SCORES = 0.02


@pytest.fixture(scope="module")
def conversion(edgecnn: Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The demo's recipe for a camera of 64 x 48; the stages before embedding are in the store."""
    del digits
    out = tmp_path_factory.mktemp("embedded") / "bundle"
    done = edgecnn("convert", "digits-lenet5", "--frame", "64x48", "--out", out, "--json")
    assert done.code == 0, done.err
    assert "train:" not in done.err
    return out, done.json


@pytest.fixture(scope="module")
def video(film: Callable[[int, int], tuple[Path, list[int]]]) -> tuple[Path, list[int]]:
    return film(64, 48)


def events_of(edgecnn: Run, bundle: Path, source: object, events: Path, *options: object) -> tuple[Any, list[Any]]:
    """A run's report, and its events."""
    done = edgecnn("run", bundle, "--source", source, "--events", events, *options, "--json")
    assert done.code == 0, done.err
    return done, [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]


def test_embedding_is_a_stage_with_its_proof(conversion: tuple[Path, Any]) -> None:
    stages = {stage["stage"]: stage for stage in conversion[1]["stages"]}
    assert list(stages) == ["train", "export", "fold", "embed", "int8"]
    embed = stages["embed"]
    assert embed["parity"]["snr_db"] > embed["detail"]["one grey level, dB"] > 30
    assert embed["parity"]["top1_agreement"] == 1
    assert embed["accuracy"]["top1"] >= stages["fold"]["accuracy"]["top1"] - 0.01
    assert stages["int8"]["accuracy"]["agreement"] >= 0.99
    assert embed["p99_ms"] >= embed["p50_ms"] > 0


def test_the_bundle_says_what_it_takes(conversion: tuple[Path, Any]) -> None:
    bundle = load_bundle(conversion[0])
    assert [str(spec) for spec in bundle.manifest.inputs] == ["frame: uint8[1, 48, 64, 3]"]
    embed = bundle.manifest.preprocess.embed
    assert embed is not None
    assert (embed.frame_hw, embed.color) == ((48, 64), "bgr")
    assert {frame.shape for frame in bundle.golden_frames()} == {(48, 64, 3)}
    assert "inside the network, which takes frames of 64 x 48, bgr" in (conversion[0] / "report.html").read_text()


def test_the_preprocessing_is_not_quantized(conversion: tuple[Path, Any]) -> None:
    graph = onnx.load(conversion[0] / "model.onnx").graph
    quantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    inside = [node for node in graph.node if node.name.startswith("preprocess.")]
    assert len(inside) >= 5
    assert not [node.name for node in inside if quantized & set(node.input)]
    assert sum(node.op_type == "Conv" and node.input[0] in quantized for node in graph.node) == 2


def test_it_runs_on_a_video_of_its_size(
    edgecnn: Run, conversion: tuple[Path, Any], digits: Path, video: tuple[Path, list[int]], tmp_path: Path
) -> None:
    path, truth = video
    done, inside = events_of(edgecnn, conversion[0], path, tmp_path / "inside.jsonl")
    outside = events_of(edgecnn, digits, path, tmp_path / "outside.jsonl")[1]
    assert (done.json["processed"], done.json["resized"]) == (len(truth), 0)
    found, expected = ([line["classes"][0]["class"] for line in lines] for lines in (inside, outside))
    assert found == expected
    assert np.mean(np.equal(found, truth)) >= 0.97


def test_pictures_of_other_sizes_are_resized_which_is_said_and_a_camera_is_refused(
    edgecnn: Run, conversion: tuple[Path, Any], held_out: Path, tmp_path: Path
) -> None:
    done, lines = events_of(edgecnn, conversion[0], held_out, tmp_path / "e.jsonl", "--max-frames", 36)
    assert done.json["resized"] == 36
    assert "36 frames were brought to 64 x 48 first" in done.err
    assert {line["classes"][0]["class"] for line in lines} == {0}  # the first of ten folders

    refused = edgecnn("run", conversion[0], "--source", "synthetic://320x240@20", "--duration", 2)
    assert refused.code == 2
    assert "its frames are 320 x 240, and this network takes 64 x 48" in refused.err
    assert "--frame 320x240" in refused.err
    taken = edgecnn("run", conversion[0], "--source", "synthetic://64x48@20", "--max-frames", 3, "--json")
    assert taken.json["processed"] == 3


def test_evaluate_and_profile(
    edgecnn: Run, conversion: tuple[Path, Any], digits: Path, held_out: Path, tmp_path: Path
) -> None:
    document = edgecnn("evaluate", conversion[0], "--data", held_out, "--against", digits, "--json").json
    assert document["top1"] >= 0.97
    assert document["agreement"] >= 0.99
    assert edgecnn("profile", conversion[0], "--out", tmp_path, "--seconds", 0.2, "--processes", 1).code == 0
    profile = read_profile(tmp_path)
    assert (profile.frame_hw, profile.input_shape) == ((48, 64), (1, 48, 64, 3))


def test_a_recipe_says_it_too_and_no_pictures_are_needed(edgecnn: Run, fp32: Path, tmp_path: Path) -> None:
    """In RGB: a run swaps what the sources deliver."""
    (tmp_path / "digits.onnx").write_bytes((fp32 / "model.onnx").read_bytes())
    recipe = yaml.safe_load((ROOT / "recipes" / "digits-lenet5.yaml").read_text())
    recipe["preprocess"]["embed"] = {"frame_hw": [48, 64], "color": "rgb"}
    recipe |= {"model": {"source": "digits.onnx"}, "data": {}, "quantize": {"precision": "fp16"}}
    del recipe["train"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    done = edgecnn("convert", tmp_path / "own.yaml", "--out", tmp_path / "b", "--json")
    assert done.code == 0, done.err
    assert [stage["stage"] for stage in done.json["stages"]] == ["fold", "embed", "fp16"]
    assert done.json["stages"][1]["parity"]["inputs"] == "synthetic"
    assert edgecnn("run", tmp_path / "b", "--source", "synthetic://64x48@20", "--max-frames", 3).code == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--frame", "64"), 2, "--frame 64: not of the form WIDTHxHEIGHT"),
        (("--frame", "0x48"), 2, "--frame 0x48: not of the form"),
        (("--frame", "64x48", "--device", "nano-4gb", "--precision", "fp16"), 1, "uint8 frames want 8.5"),
    ],
)
def test_what_cannot_be_is_said(edgecnn: Run, tmp_path: Path, options: tuple[str, ...], code: int, words: str) -> None:
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "b", *options)
    assert done.code == code
    assert words in done.err
    assert not (tmp_path / "b").exists()


def converted(edgecnn: Run, source: object, pictures: Path, folder: Path) -> list[Path]:
    """Bundles in FP16 with the preprocessing outside and, for the video's 768 x 576, inside; compared on pictures."""
    bundles = [folder / "outside", folder / "inside"]
    for bundle, options in zip(bundles, ((), ("--frame", "768x576")), strict=True):
        done = edgecnn("convert", source, "--precision", "fp16", "--calib", pictures, "--out", bundle, *options)
        assert done.code == 0, done.err
    return bundles


@pytest.mark.slow
@needs_data
def test_mobilenet_names_the_same_classes(edgecnn: Run, tmp_path: Path) -> None:
    weights = DATA / "models" / "mobilenet_v2" / "mobilenet_v2-b0353104.pth"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in sorted((DATA / "images" / "imagenet-samples").glob("*.jpg"))[::25]:
        (pictures / path.name).symlink_to(path)
    bundles = converted(edgecnn, f"torchvision:mobilenet_v2@{weights}", pictures, tmp_path)
    outside, inside = (
        events_of(edgecnn, bundle, VIDEO, tmp_path / f"{bundle.name}.jsonl", "--max-frames", 40)[1]
        for bundle in bundles
    )
    for one, other in zip(outside, inside, strict=True):
        expected, found = ({row["class"]: row["probability"] for row in line["classes"]} for line in (one, other))
        for kind in expected.keys() & found.keys():
            assert found[kind] == pytest.approx(expected[kind], abs=SCORES)
        # A street is none of ImageNet's classes, and the best two are often as probable.
        best = max(expected, key=lambda kind: expected[kind])
        assert max(found.values()) - found.get(best, 0) < SCORES


@pytest.mark.slow
@needs_data
def test_yolox_finds_the_same_boxes(edgecnn: Run, tmp_path: Path) -> None:
    (tmp_path / "yolox_nano.onnx").symlink_to(DATA / "detectors" / "yolox-nano" / "yolox_nano.onnx")
    (tmp_path / "own.yaml").write_text((ROOT / "recipes" / "coco-yolox-nano.yaml").read_text())
    pictures = DATA / "detection" / "coco128" / "images" / "train2017"
    outside, inside = (
        events_of(edgecnn, bundle, VIDEO, tmp_path / f"{bundle.name}.jsonl", "--max-frames", 40)[1]
        for bundle in converted(edgecnn, tmp_path / "own.yaml", pictures, tmp_path)
    )
    compared = 0
    for one, other in zip(outside, inside, strict=True):
        boxes, candidates = (
            np.float32([found["box_xyxy"] for found in line["objects"]]).reshape(-1, 4) for line in (one, other)
        )
        ious = iou_matrix(boxes, candidates)
        for number, expected in enumerate(one["objects"]):
            if expected["score"] < 0.3 + SCORES:  # the threshold may be between the two
                continue
            found = other["objects"][int(ious[number].argmax())]
            assert ious[number].max() > 0.9
            assert found["label"] == expected["label"]
            assert found["score"] == pytest.approx(expected["score"], abs=SCORES)
            compared += 1
    assert compared > 200
