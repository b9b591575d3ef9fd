"""Detectors from the files that their authors publish to boxes on a video, through the command line."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
import yaml

from edgecnn.backends.ort import OrtSession
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections, Frame
from edgecnn.core.progress import Silent
from edgecnn.deploy.bundle import load_bundle
from edgecnn.evaluate.detection import EVALUATION_THRESHOLD, average_precisions, predict_detections
from edgecnn.runtime.pipeline import run_pipeline
from edgecnn.runtime.sources.base import open_source
from edgecnn.vision.annotations import open_detection_set
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.preprocess import preprocess

Run = Any  # the fixture edgecnn of conftest.py
ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
COCO = DATA / "detection" / "coco128"
VIDEO = DATA / "videos" / "vtest.avi"
FILES = {
    "yolox": DATA / "detectors" / "yolox-nano" / "yolox_nano.onnx",
    "fastestdet": DATA / "detectors" / "fastestdet" / "fastestdet.onnx",
    "ultraface": DATA / "detectors" / "ultraface-rfb320" / "version-RFB-320.onnx",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout: nothing to convert"),
]
pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
# Measured by tests/e2e/test_detectors.py without any of the conversion; a slip costs more than the tolerance.
MAP = {"yolox": 0.333, "fastestdet": 0.204}
TOLERANCE = 0.005


@pytest.fixture(scope="module")
def conversion(edgecnn: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """YOLOX-nano in FP16, by a recipe of one's own beside the file, judged on COCO128."""
    folder = tmp_path_factory.mktemp("yolox")
    (folder / "yolox_nano.onnx").symlink_to(FILES["yolox"])
    recipe = yaml.safe_load((ROOT / "recipes" / "coco-yolox-nano.yaml").read_text())
    recipe |= {"data": {"evaluation": str(COCO)}, "quantize": {"precision": "fp16"}}
    (folder / "own.yaml").write_text(yaml.safe_dump(recipe))
    done = edgecnn("convert", folder / "own.yaml", "--out", folder / "bundle", "--json")
    assert done.code == 0, done.err
    return folder / "bundle", done.json


def test_stages_and_their_accuracy(conversion: tuple[Path, Any]) -> None:
    bundle, document = conversion
    stages = {stage["stage"]: stage for stage in document["stages"]}
    assert list(stages) == ["fold", "decode", "fp16"]
    assert stages["decode"]["parity"]["outputs_snr_db"].keys() == {"boxes", "scores"}
    assert stages["decode"]["parity"]["snr_db"] > 100
    assert stages["decode"]["accuracy"]["map"] == pytest.approx(MAP["yolox"], abs=TOLERANCE)
    fp32, fp16 = stages["decode"]["accuracy"], stages["fp16"]["accuracy"]
    assert fp16["map"] >= 0.99 * fp32["map"]
    assert all(fp16[f"map_{size}"] >= 0.99 * fp32[f"map_{size}"] for size in ("small", "medium", "large"))
    assert fp16["box_agreement"] > 0.98

    manifest = load_bundle(bundle).manifest
    assert manifest.detector is not None
    assert manifest.labels[0] == "person"
    assert (manifest.detector.stated_threshold, manifest.detector.layout.kind) == (0.3, "boxes_scores")
    assert manifest.detector.score_threshold == fp16["score_threshold"] == pytest.approx(0.3, abs=0.02)
    rules = json.loads((ROOT / "docs" / "schemas" / "bundle.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads((bundle / "manifest.json").read_text(encoding="utf-8")), rules)


def test_golden_outputs_are_boxes_and_scores(conversion: tuple[Path, Any]) -> None:
    bundle = load_bundle(conversion[0])
    session, usage = OrtSession(bundle.model), bundle.manifest.usage
    assert isinstance(usage, Detector)
    for frame, expected in zip(bundle.golden_frames(), bundle.golden_outputs(), strict=True):
        found = session.run({session.inputs[0].name: preprocess(frame, usage.preprocess)})
        assert found.keys() == expected.keys() == {"boxes", "scores"}
        # The golden outputs have every rounding to FP16, which this run has not: half a pixel, and 1 in 100.
        ours, golden = (decode_detections(one, usage, frame.shape[:2]).above(0.5) for one in (found, expected))
        assert np.abs(ours.boxes_xyxy - golden.boxes_xyxy).max(initial=0) < 2
        assert np.abs(ours.scores - golden.scores).max(initial=0) < 0.02


def test_tiles_find_small_objects(edgecnn: Run, conversion: tuple[Path, Any]) -> None:
    once, tiled = (
        edgecnn("evaluate", conversion[0], "--data", COCO, *options, "--json").json
        for options in ((), ("--tiles", "2x2:0.25"))
    )
    assert tiled["map_small"] > once["map_small"] + 0.03
    assert tiled["map"] > once["map"] + 0.01


def test_people_in_a_street_keep_their_numbers(edgecnn: Run, conversion: tuple[Path, Any], tmp_path: Path) -> None:
    events = tmp_path / "e.jsonl"
    done = edgecnn("run", conversion[0], "--source", VIDEO, "--max-frames", 100, "--events", events, "--track")
    assert done.code == 0, done.err
    seen: dict[int, int] = {}
    for line in events.read_text(encoding="utf-8").splitlines():
        for found in json.loads(line)["objects"]:
            if found["label"] == "person":
                seen[found["track"]] = seen.get(found["track"], 0) + 1
    # 6 to 9 people are in a frame, and some come and go in these ten seconds.
    assert sum(count >= 20 for count in seen.values()) >= 6
    assert len(seen) < 30


def test_it_runs_on_a_real_video(edgecnn: Run, conversion: tuple[Path, Any], tmp_path: Path) -> None:
    events, video = tmp_path / "e.jsonl", tmp_path / "v.mp4"
    done = edgecnn(
        *("run", conversion[0], "--source", VIDEO, "--max-frames", 40, "--events", events, "--save", video, "--json")
    )
    assert done.code == 0, done.err
    assert (done.json["processed"], done.json["dropped"]) == (40, 0)
    rules = json.loads((ROOT / "docs" / "schemas" / "event.schema.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    people = []
    for line in lines:
        jsonschema.validate(line, rules)
        for found in line["objects"]:
            left, top, right, bottom = found["box_xyxy"]
            assert 0 <= left < right <= 768
            assert 0 <= top < bottom <= 576
        people.append(sum(found["label"] == "person" for found in line["objects"]))
    assert len(lines) == 40
    assert 4 < np.mean(people) < 10  # there are 6 to 9 in these frames

    # A box's colour is in the saved frame where the box is, and not in the source.
    saved, source = (_first_frame(path) for path in (video, VIDEO))
    left, top, right, bottom = (round(edge) for edge in lines[0]["objects"][0]["box_xyxy"])
    assert saved.shape[0] > source.shape[0]
    edge = np.s_[top + 2 : bottom - 2, left]
    assert np.abs(saved[edge].astype(int) - source[edge]).mean() > 40
    inside = np.s_[top + 8 : bottom - 8, left + 6 : right - 6]
    assert np.abs(saved[inside].astype(int) - source[inside]).mean() < 15


def _first_frame(path: Path) -> np.ndarray:
    capture = cv2.VideoCapture(str(path))
    frame = capture.read()[1]
    capture.release()
    return frame


def test_evaluate_gives_what_the_conversion_gave(edgecnn: Run, conversion: tuple[Path, Any]) -> None:
    bundle, document = conversion
    done = edgecnn("evaluate", bundle, "--data", COCO, "--against", bundle, "--json")
    assert done.code == 0, done.err
    recorded = document["stages"][-1]["accuracy"]
    assert done.json["map"] == pytest.approx(recorded["map"], abs=TOLERANCE)  # without the roundings to FP16
    assert (done.json["box_agreement"], done.json["box_support"], done.json["images"]) == (1.0, 1.0, 128)
    text = edgecnn("evaluate", bundle, "--data", COCO / "annotations" / "instances_train2017.json").out
    assert f"mAP {done.json['map']:.2%} (small {done.json['map_small']:.2%}, " in text


def test_run_finds_what_evaluate_does(edgecnn: Run, conversion: tuple[Path, Any], tmp_path: Path) -> None:
    """All 128 pictures: the boxes of each, and mAP by the reference evaluation."""
    pycocotools = pytest.importorskip(
        "pycocotools.coco", reason="pycocotools is not installed: pip install pycocotools"
    )
    from pycocotools.cocoeval import COCOeval

    bundle = load_bundle(conversion[0])
    usage = bundle.manifest.usage
    assert isinstance(usage, Detector)
    truth = open_detection_set(str(COCO)).labelled_for(usage.labels)
    session = OrtSession(bundle.model)
    expected = predict_detections(
        lambda feed: session.run({session.inputs[0].name: feed}), truth, usage, Silent(), "boxes"
    )
    by_name = dict(zip((path.name for path in truth.paths), expected, strict=True))
    in_order = [by_name[name] for name in sorted(by_name)]

    class Kept(list[Detections]):
        def put(self, frame: Frame, result: Any, age_ns: int) -> None:
            self.append(result)

    kept = Kept()
    doubtful = replace(usage, score_threshold=EVALUATION_THRESHOLD)
    pictures = str(truth.paths[0].parent)
    run_pipeline([open_source(pictures)], session, doubtful, [kept], threading.Event())
    assert len(kept) == 128
    for ours, evaluated in zip(kept, in_order, strict=True):
        np.testing.assert_array_equal(ours.boxes_xyxy, evaluated.boxes_xyxy)
        np.testing.assert_array_equal(ours.scores, evaluated.scores)
        np.testing.assert_array_equal(ours.classes, evaluated.classes)

    events = tmp_path / "e.jsonl"
    assert edgecnn("run", conversion[0], "--source", pictures, "--events", events).code == 0
    for line, evaluated in zip(events.read_text(encoding="utf-8").splitlines(), in_order, strict=True):
        boxes = np.asarray([found["box_xyxy"] for found in json.loads(line)["objects"]]).reshape(-1, 4)
        sure = evaluated.boxes_xyxy[evaluated.scores >= usage.score_threshold]
        np.testing.assert_allclose(boxes, sure, atol=0.1)  # one decimal is written

    figures = average_precisions(expected, truth)
    coco = pycocotools.COCO(str(next(COCO.glob("annotations/*.json"))))
    numbers = {category["name"]: category["id"] for category in coco.dataset["categories"]}
    ids = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
    rows = [
        [ids[name], left, top, right - left, bottom - top, score, numbers[label]]
        for name, found in zip(sorted(by_name), kept, strict=True)
        for (left, top, right, bottom), score, label in zip(found.boxes_xyxy, found.scores, found.labels, strict=True)
    ]
    judge = COCOeval(coco, coco.loadRes(np.asarray(rows)), "bbox")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    assert figures["map"] == pytest.approx(judge.stats[0], abs=1e-4)
    assert figures["map50"] == pytest.approx(judge.stats[1], abs=1e-4)


def test_profile_times_the_boxes_too(edgecnn: Run, conversion: tuple[Path, Any], tmp_path: Path) -> None:
    done = edgecnn("profile", conversion[0], "--out", tmp_path, "--seconds", 0.5, "--json")
    assert done.code == 0, done.err
    assert set(done.json["latency"]) == {"preprocess", "infer", "decode", "total"}


def test_the_report_shows_map_by_size(conversion: tuple[Path, Any]) -> None:
    page = (conversion[0] / "report.html").read_text(encoding="utf-8")
    small = 100 * conversion[1]["stages"][-1]["accuracy"]["map_small"]
    assert f">{small:.1f}</td>" in page[page.index("Boxes by stage") :]
    assert "in place of 0.3" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yolox", "letterbox (top_left, padded with 114) to 416 x 416, bgr"),
        ("fastestdet", "stretch to 352 x 352, bgr"),
        ("ultraface", "stretch to 320 x 240, rgb"),
    ],
)
def test_a_bare_file_is_taken_for_a_detector(edgecnn: Run, tmp_path: Path, name: str, said: str) -> None:
    labelled = name in MAP
    done = edgecnn(
        "convert",
        FILES[name],
        "--out",
        tmp_path / "b",
        "--precision",
        "fp16",
        "--data" if labelled else "--calib",
        COCO,
    )
    assert done.code == 0, done.err
    assert "taken for a detector" in done.err
    assert said in done.err
    manifest = load_bundle(tmp_path / "b").manifest
    accuracy = manifest.stages[-1].accuracy
    assert manifest.task == "detection"
    if labelled:
        assert accuracy.map == pytest.approx(MAP[name], abs=TOLERANCE)
        assert manifest.labels[0] == "person"  # as the labelled pictures name it
    else:
        assert accuracy.map is None
        assert accuracy.box_agreement >= 0.98
        assert "no labelled pictures" in done.err


def test_what_loses_too_much_is_refused(edgecnn: Run, tmp_path: Path) -> None:
    """In FP16, FastestDet keeps some 98% of its boxes."""
    recipe = {
        "name": "strict",
        "task": "detection",
        "model": {"source": str(FILES["fastestdet"])},
        "preprocess": {
            "size_hw": [352, 352], "color": "bgr", "interpolation": "linear", "mean": [0, 0, 0], "std": [1, 1, 1],
        },
        "labels": "coco-80",
        "data": {"calibration": str(COCO)},
        "quantize": {"precision": "fp16"},
        "gates": {"min_agreement": 1.0},
    }  # fmt: skip
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(recipe))
    done = edgecnn("convert", tmp_path / "strict.yaml", "--out", tmp_path / "b")
    assert done.code == 1
    assert "of FP32's boxes on 128 pictures" in done.err
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"labels": ["face", "hand"]}, (), "2 labels for a network of 80 classes"),
        ({"task": "classification"}, (), "for a detector write a recipe with task: detection"),
        ({}, ("--max-drop", 1), "--max-drop is about accuracy, and there are no labelled pictures"),
        (
            {"data": {"evaluation": str(COCO / "images" / "train2017")}},
            ("--max-drop", 1),
            "the pictures of .* have no labels",
        ),
        (
            {"data": {"evaluation": str(DATA / "detection" / "bccd" / "BCCD")}},
            (),
            "is none of the network's 80 classes",
        ),
        ({"preprocess": {"size_hw": [320, 320]}}, (), "its input is 416 x 416"),
        ({"detection": {"layout": {"kind": "boxes_scores"}}}, (), "name the output with the boxes"),
    ],
    ids=["labels", "task", "no pictures", "no labels", "other classes", "size", "layout"],
)
def test_what_is_wrong_is_said(
    edgecnn: Run, tmp_path: Path, changes: dict[str, Any], options: tuple[Any, ...], words: str
) -> None:
    recipe = yaml.safe_load((ROOT / "recipes" / "coco-yolox-nano.yaml").read_text())
    recipe |= {"model": {"source": str(FILES["yolox"])}, "quantize": {"precision": "fp16"}}
    if changes.get("task") == "classification":
        del recipe["detection"]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe | changes))

    done = edgecnn("convert", tmp_path / "own.yaml", "--out", tmp_path / "b", *options)

    assert done.code == 2, done.err
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    assert re.search(words, done.err[done.err.index("error: ") :]), done.err
    assert not (tmp_path / "b").exists()
