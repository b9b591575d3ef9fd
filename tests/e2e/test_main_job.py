"""The main job on digits, through the command line, as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.backends.compiler_module import rtx_is_installed
from edgecnn.backends.ort import OrtSession
from edgecnn.build.frames import ort_network
from edgecnn.deploy.bundle import load_bundle
from edgecnn.profiling.records import read_profile
from edgecnn.vision.preprocess import preprocess

Run = Any  # the fixture edgecnn of conftest.py

needs_preflight = pytest.mark.skipif(
    not rtx_is_installed(), reason="TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'"
)


@pytest.fixture(scope="module")
def conversion(edgecnn: Run, digits: Path) -> Any:
    """The document of a second conversion, whose stages come from the store."""
    done = edgecnn("convert", "digits-lenet5", "--out", digits, "--json")
    assert done.code == 0, done.err
    return done.json


def test_stages_and_their_parameters(conversion: Any) -> None:
    parameters = {stage["stage"]: stage["parameters"] for stage in conversion["stages"]}
    assert parameters == {"train": 61750, "export": 61750, "fold": 61706, "int8": 61706}


def test_every_stage_is_proven(conversion: Any) -> None:
    by_name = {stage["stage"]: stage for stage in conversion["stages"]}
    for name, least_db in (("export", 80), ("fold", 80), ("int8", 20)):
        parity = by_name[name]["parity"]
        assert parity["inputs"] == "images"
        assert parity["snr_db"] >= least_db
        assert by_name[name]["p99_ms"] >= by_name[name]["p50_ms"] > 0
    assert by_name["int8"]["size_bytes"] < by_name["fold"]["size_bytes"] / 3


def test_int8_agrees_with_fp32_on_the_held_out_digits(conversion: Any) -> None:
    int8 = conversion["stages"][-1]
    assert int8["accuracy"]["images"] == 360
    assert int8["accuracy"]["agreement"] >= 0.99
    # What a linear classifier reaches on these digits; the network must be well above it.
    assert int8["accuracy"]["top1"] >= 0.97


def test_summary_of_the_folded_network(edgecnn: Run, digits: Path) -> None:
    done = edgecnn("summary", digits, "--json")
    rows = [row for row in done.json["layers"] if row["parameters"]]
    assert [row["parameters"] for row in rows] == [156, 2416, 48120, 10164, 850]
    assert done.json["parameters"] == 61706
    assert "61,706" in edgecnn("summary", digits).out


def test_the_bundle_is_whole(digits: Path) -> None:
    bundle = load_bundle(digits)
    manifest = bundle.manifest
    assert {path.name for path in digits.iterdir()} == {
        "model.onnx", "control.onnx", "costs.json", "manifest.json", "golden", "report.html"
    }  # fmt: skip
    assert manifest.precision == "int8"
    assert manifest.labels == tuple("0123456789")
    assert [record.manifest.stage for record in manifest.stages] == ["train", "export", "fold", "int8"]
    # The lineage is a chain of hashes.
    hashes = [record.manifest.sha256 for record in manifest.stages]
    for parent, record in zip(hashes, manifest.stages[1:], strict=False):
        assert parent in record.manifest.parents
    assert manifest.files["model.onnx"] == hashes[-1]


def test_the_control_is_the_same_network_in_fp16(digits: Path) -> None:
    bundle = load_bundle(digits)
    assert bundle.control is not None
    part = bundle.manifest.control
    assert part is not None
    assert part.stage.manifest.sha256 == bundle.manifest.files["control.onnx"]
    assert part.stage.manifest.parents == bundle.manifest.stages[-1].manifest.parents[:1]
    network = ort_network(bundle.control)
    for frame, expected in zip(bundle.golden_frames(), bundle.golden_outputs(), strict=True):
        found = network(preprocess(frame, bundle.manifest.preprocess))["output"]
        # The golden outputs are of INT8, some 44 dB from FP32.
        assert np.linalg.norm(found - expected["output"]) < 0.03 * np.linalg.norm(found)


def test_golden_frames_give_the_golden_outputs(digits: Path) -> None:
    bundle = load_bundle(digits)
    network = ort_network(bundle.model)  # with the roundings to FP16 that ONNX Runtime leaves out
    session = OrtSession(bundle.model, optimize=False)
    frames, outputs = bundle.golden_frames(), bundle.golden_outputs()
    assert len(frames) == len(outputs) == 4
    for frame, expected in zip(frames, outputs, strict=True):
        picture = preprocess(frame, bundle.manifest.preprocess)
        # One machine, one library, one graph: what differs at most is the order of sums over threads.
        np.testing.assert_allclose(network(picture)["output"], expected["output"], rtol=1e-4, atol=1e-4)
        # Outputs up to some 20, each of five layers rounded to FP16's 2**-11 or not, and a few INT8 steps moved by it.
        np.testing.assert_allclose(session.run({"input": picture})["output"], expected["output"], atol=0.2)


def test_a_second_conversion_takes_every_stage_from_the_store(edgecnn: Run, digits: Path, cache: Path) -> None:
    manifests = {path: path.stat().st_mtime_ns for path in cache.glob("*/manifest.json")}
    model = (digits / "model.onnx").read_bytes()
    done = edgecnn("convert", "digits-lenet5", "--out", digits)
    assert done.code == 0
    assert "train:" not in done.err
    assert {path: path.stat().st_mtime_ns for path in cache.glob("*/manifest.json")} == manifests
    assert (digits / "model.onnx").read_bytes() == model


@needs_preflight
def test_check_accepts_it_for_orin_and_not_for_nano(edgecnn: Run, digits: Path) -> None:
    done = edgecnn("check", digits, "--json")
    assert done.code == 0
    assert done.json["accepted"] is True
    assert done.json["engine_bytes"] > 10_000
    assert "TensorRT-RTX" in done.json["compiler"]
    refused = edgecnn("check", digits, "--device", "nano-4gb", "--json")
    assert refused.code == 1
    assert [found["rule"] for found in refused.json["findings"] if found["severity"] == "error"] == ["board/int8"]


@pytest.fixture(scope="module")
def camera(film: Callable[[int, int], tuple[Path, list[int]]]) -> tuple[Path, list[int]]:
    return film(128, 128)


def test_run_on_a_video(edgecnn: Run, digits: Path, camera: tuple[Path, list[int]], tmp_path: Path) -> None:
    video, truth = camera
    events, saved = tmp_path / "events.jsonl", tmp_path / "out" / "saved.mp4"
    done = edgecnn("run", digits, "--source", video, "--events", events, "--save", saved, "--json")
    assert done.code == 0, done.err
    report = done.json
    assert (report["frames_in"], report["processed"], report["dropped"]) == (len(truth), len(truth), 0)
    assert set(report["stages"]) == {"preprocess", "infer", "decode", "sinks"}
    assert report["frame_age"]["p99_ms"] >= report["stages"]["infer"]["p50_ms"] > 0
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(len(truth)))
    right = sum(line["classes"][0]["class"] == digit for line, digit in zip(lines, truth, strict=True))
    assert right / len(truth) >= 0.97
    reader = cv2.VideoCapture(str(saved))
    assert int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) == len(truth)
    assert [path.name for path in saved.parent.iterdir()] == ["saved.mp4"]


def test_run_stops_after_so_many_frames_and_seconds(edgecnn: Run, digits: Path) -> None:
    assert edgecnn("run", digits, "--source", "synthetic://", "--max-frames", 7, "--json").json["processed"] == 7
    timed = edgecnn("run", digits, "--source", "synthetic://64x64@20", "--duration", 1, "--json").json
    assert 1.0 <= timed["seconds"] < 2.5
    assert timed["processed"] >= 10


def test_profile_writes_its_files(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    done = edgecnn("profile", digits, "--out", tmp_path / "profile", "--seconds", 0.5, "--json")
    assert done.code == 0, done.err
    profile = read_profile(tmp_path / "profile")
    assert profile.bundle == "digits-lenet5"
    assert len(profile.stage_ns("infer")) == done.json["frames"] >= 100
    # More processes than asked for at first on a machine that is not quiet.
    assert 12 <= len({each.process for each in profile.rounds}) <= 30
    assert profile.accuracy["top1"] > 95
    named = {name for layer in profile.layers for name in layer.layers}
    assert {"conv1", "conv2", "fc1", "fc2", "fc3"} <= named <= {cost.name for cost in profile.costs}
    assert any(layer.op_type.endswith(("Conv", "ConvInteger")) for layer in profile.layers)
    assert abs(sum(layer.part for layer in profile.layers) - 1) < 1e-6
    assert done.json["latency"]["total"]["p50_ms"] >= done.json["latency"]["infer"]["p50_ms"]


def test_reports_open_in_a_browser(edgecnn: Run, digits: Path, tmp_path: Path, browser: Any) -> None:
    document = edgecnn("profile", digits, "--out", tmp_path, "--seconds", 0.2, "--processes", 1, "--json").json
    browser.get((tmp_path / "profile.html").as_uri())
    text = browser.find_element("tag name", "body").text
    assert "digits-lenet5" in text
    assert f"{document['latency']['total']['p50_ms']:.3g}" in text
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('canvas')].map(c => {"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n / (d.length / 4); })"
    )
    assert len(drawn) >= 4  # histogram, distribution, timeline, roofline, and what sensors there are
    assert min(drawn) > 0.01
    browser.get((digits / "report.html").as_uri())
    text = browser.find_element("tag name", "body").text
    for expected in ("61,750", "61,706", "int8", "Accepted", "orin-nano-8gb"):
        assert expected in text
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_evaluate_and_against(edgecnn: Run, digits: Path, held_out: Path, tmp_path: Path) -> None:
    fp16 = tmp_path / "fp16"
    assert edgecnn("convert", "digits-lenet5", "--out", fp16, "--precision", "fp16").code == 0
    document = edgecnn("evaluate", digits, "--data", held_out, "--against", fp16, "--json").json
    assert document["images"] == 360
    assert document["top1"] >= 0.97
    assert document["agreement"] >= 0.99


def test_train_alone_gives_the_checkpoint(edgecnn: Run, training: Path, tmp_path: Path) -> None:
    out = tmp_path / "lenet5.pt"
    done = edgecnn("train", "digits-lenet5", "--out", out, "--json")
    assert done.code == 0, done.err
    assert done.json["parameters"] == 61750
    assert out.stat().st_size > 200_000
    assert training.is_dir()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
def test_other_precisions(edgecnn: Run, tmp_path: Path, precision: str, digits: Path) -> None:
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "b", "--precision", precision, "--json")
    assert done.code == 0, done.err
    assert done.json["precision"] == {"fp32": "fp32", "fp16": "fp16", "auto": "int8"}[precision]


def test_auto_falls_back_where_the_board_or_the_bar_wants_it(edgecnn: Run, tmp_path: Path, digits: Path) -> None:
    nano = edgecnn(
        "convert", "digits-lenet5", "--out", tmp_path / "a", "--precision", "auto", "--device", "nano-4gb", "--json"
    )
    assert nano.json["precision"] == "fp16"
    assert "no INT8" in nano.json["notes"][0]


def test_a_bare_onnx_file(edgecnn: Run, fp32: Path, held_out: Path, training: Path, tmp_path: Path) -> None:
    model = tmp_path / "digits.onnx"
    model.write_bytes((fp32 / "model.onnx").read_bytes())
    done = edgecnn(
        "convert", model, "--out", tmp_path / "b", "--calib", training, "--data", held_out, "--max-drop", 2, "--json"
    )
    assert done.code == 0, done.err
    assert "preprocessing assumed" in done.err
    assert load_bundle(tmp_path / "b").manifest.preprocess_assumed
    assert [stage["stage"] for stage in done.json["stages"]] == ["fold", "int8"]
