"""Bundles: whole or refused, and never half replaced."""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecnn.backends.ort import OrtSession
from edgecnn.core import files
from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.layer_costs import LayerCosts
from edgecnn.deploy.bundle import Bundle, is_bundle, load_bundle, require_bundle_path
from edgecnn.deploy.manifest import DetectorPart
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.vision.preprocess import preprocess

WRITER = Path(__file__).with_name("bundle_writer.py")
Write = Callable[..., Bundle]


@pytest.fixture(scope="session")
def write() -> Write:
    return runpy.run_path(str(WRITER))["write"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(b"stands for a model")
    return path


@pytest.fixture
def written(tmp_path: Path, write: Write, model: Path) -> Path:
    return write(tmp_path / "out", model, "digits").path


def names_in(folder: Path) -> set[str]:
    return {str(found.relative_to(folder)) for found in folder.rglob("*") if found.is_file()}


def test_what_is_written_is_loaded(written: Path, model: Path) -> None:
    loaded = load_bundle(written)
    assert loaded.manifest.name == "digits"
    assert loaded.model.read_bytes() == model.read_bytes()
    assert [int(frame[0, 0, 0]) for frame in loaded.golden_frames()] == [50, 51]
    assert [found["output"].tolist() for found in loaded.golden_outputs()] == [[[50.0] * 3]] * 2
    assert loaded.layer_costs() == LayerCosts(layers=(), nodes={}, tensors={})
    assert names_in(written) == {
        "model.onnx",
        "manifest.json",
        "report.html",
        "costs.json",
        "golden/000.png",
        "golden/001.png",
        "golden/expected.npz",
    }
    assert set(loaded.manifest.files) == names_in(written) - {"manifest.json", "report.html"}
    assert loaded.manifest.usage == Classifier(loaded.manifest.preprocess, ("red", "green", "blue"), "logits")


def test_golden_outputs_are_those_of_the_network(tmp_path: Path, write: Write, averaging_model: Path) -> None:
    session = OrtSession(averaging_model)
    written = write(tmp_path / "out", averaging_model, "averaging")
    spec = written.manifest.preprocess
    outputs = [session.run({"input": preprocess(frame, spec)}) for frame in written.golden_frames()]
    loaded = load_bundle(write(tmp_path / "out", averaging_model, "averaging", outputs=outputs).path)
    again = OrtSession(loaded.model)
    for frame, expected in zip(loaded.golden_frames(), loaded.golden_outputs(), strict=True):
        assert np.array_equal(again.run({"input": preprocess(frame, spec)})["output"], expected["output"])
        assert np.ptp(expected["output"]) > 0.1


def test_golden_outputs_keep_their_names_whatever_these_are(tmp_path: Path, write: Write, model: Path) -> None:
    outputs = [{"/head/boxes.0": np.full((1, 2, 4), 7 * number), "scores": np.ones((1, 2))} for number in range(2)]
    loaded = load_bundle(write(tmp_path / "out", model, "two outputs", outputs=outputs).path)
    for found, expected in zip(loaded.golden_outputs(), outputs, strict=True):
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)


DETECTOR = DetectorPart(
    layout=Layout(kind="yolox", boxes="output", classes=3),
    score_threshold=0.28,
    stated_threshold=0.3,
    iou_threshold=0.6,
    max_detections=20,
    class_agnostic=True,
)


def test_a_detectors_bundle_says_how_it_is_used(written: Path) -> None:
    document = json.loads((written / "manifest.json").read_text()) | {
        "task": "detection",
        "scores": None,
        "detector": DETECTOR.model_dump(mode="json"),
    }
    (written / "manifest.json").write_text(json.dumps(document))
    manifest = load_bundle(written).manifest
    assert manifest.usage == Detector(
        manifest.preprocess, ("red", "green", "blue"), DETECTOR.layout, 0.28, 0.6, 20, class_agnostic=True
    )


@pytest.mark.parametrize(
    "change",
    [
        {"task": "detection"},
        {"detector": DETECTOR.model_dump(mode="json")},
        {"scores": None},
        {"task": "detection", "detector": DETECTOR.model_dump(mode="json")},
    ],
)
def test_a_manifest_of_two_tasks_or_none_is_refused(written: Path, change: dict[str, Any]) -> None:
    document = json.loads((written / "manifest.json").read_text()) | change
    (written / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"manifest\.json is not one that this version reads"):
        load_bundle(written)


@pytest.mark.parametrize("name", ["model.onnx", "costs.json", "golden/001.png", "golden/expected.npz"])
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_changed_or_missing_file_is_named(written: Path, name: str, change: str) -> None:
    if change == "missing":
        (written / name).unlink()
    else:
        data = bytearray((written / name).read_bytes())
        data[len(data) // 2] ^= 1
        (written / name).write_bytes(data)
    with pytest.raises(InputError, match=f"bundle .*/out: {name} is missing or was changed"):
        load_bundle(written)


@pytest.mark.parametrize(
    "change",
    [{"schema_version": 2}, {"kind": "engine"}, {"labels": None}, {"unknown": 1}, {"inputs": [{"name": "x"}]}],
)
def test_another_manifest_is_refused(written: Path, change: dict[str, Any]) -> None:
    document = json.loads((written / "manifest.json").read_text()) | change
    (written / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"manifest\.json is not one that this version reads"):
        load_bundle(written)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_manifest_that_is_none(written: Path, content: bytes) -> None:
    (written / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="is not one that this version reads"):
        load_bundle(written)


def test_a_manifest_that_does_not_vouch_for_the_model(written: Path) -> None:
    document = json.loads((written / "manifest.json").read_text()) | {"files": {}}
    (written / "manifest.json").write_text(json.dumps(document))
    (written / "model.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match=r"does not name model\.onnx"):
        load_bundle(written)


def test_no_bundle_there(tmp_path: Path, model: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", model):
        with pytest.raises(InputError, match=r"no manifest\.json there"):
            load_bundle(path)
        assert not is_bundle(path)


def test_an_older_bundle_is_replaced_whole(written: Path, write: Write, model: Path) -> None:
    model.write_bytes(b"another model")
    write(written, model, "second", level=90)
    assert load_bundle(written).manifest.name == "second"
    assert {found.name for found in written.parent.iterdir()} == {"out", "network.onnx"}


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json"])
def test_a_folder_with_other_things_is_never_overwritten(tmp_path: Path, write: Write, model: Path, name: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("mine")
    with pytest.raises(InputError, match="holds something else than a bundle"):
        write(tmp_path / "mine", model, "digits")
    assert names_in(tmp_path / "mine") == {name}
    with pytest.raises(InputError, match="holds something else than a bundle"):
        write(model, model, "digits")
    assert model.read_bytes() == b"stands for a model"


def test_an_empty_folder_is_taken(tmp_path: Path, write: Write, model: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert load_bundle(write(tmp_path / "empty", model, "digits").path).manifest.name == "digits"


def test_behind_a_symbolic_link_the_folder_is_replaced(written: Path, write: Write, model: Path) -> None:
    link = written.with_name("current")
    link.symlink_to(written)
    write(link, model, "second")
    assert link.is_symlink()
    assert load_bundle(link).manifest.name == load_bundle(written).manifest.name == "second"
    assert {found.name for found in written.parent.iterdir()} == {"out", "current", "network.onnx"}


def test_a_failure_leaves_the_old_bundle_and_nothing_else(written: Path, write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(written, tmp_path / "no-model.onnx", "second")
    assert load_bundle(written).manifest.name == "digits"
    assert {found.name for found in tmp_path.iterdir()} == {"out", "network.onnx"}


def test_a_picture_that_cannot_be_written_is_no_bundle(
    written: Path, write: Write, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imwrite", lambda name, image: False)
    with pytest.raises(EnvironmentMissing, match=r"000\.png cannot be written"):
        write(written, model, "second")
    assert load_bundle(written).manifest.name == "digits"


def ended_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["out", "out[1]"])
def test_what_killed_runs_left_goes_with_the_next_write(tmp_path: Path, write: Write, model: Path, name: str) -> None:
    folder, ended = tmp_path / "bundles", ended_process()
    stays = {f".{name}.{os.getpid()}-ab12.part", f".{name}.mine.part", f".{name}.other.{ended}-ab12.part"}
    for left in (*stays, f".{name}.{ended}-ab12.part"):
        (folder / left / "golden").mkdir(parents=True)
    write(folder / name, model, "digits")
    assert {found.name for found in folder.iterdir()} == {name, *stays}


def test_an_old_bundle_that_a_kill_hid_outlives_a_write_that_fails(
    written: Path, write: Write, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file system without an exchange in one step, and a kill between its two renames.
    hidden = written.with_name(f".out.{ended_process()}-ab12.part")
    written.rename(hidden)
    with pytest.raises(FileNotFoundError):
        write(written, model.with_name("no-model.onnx"), "second")
    assert load_bundle(hidden).manifest.name == "digits"
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    write(written, model, "second")
    assert load_bundle(written).manifest.name == "second"
    assert not hidden.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer forks")
def test_a_kill_at_any_moment_leaves_the_one_bundle_or_the_other(tmp_path: Path, write: Write) -> None:
    models = [tmp_path / "0.onnx", tmp_path / "1.onnx"]
    for number, path in enumerate(models):
        path.write_bytes(bytes([number]) * 300_000)
    folder = tmp_path / "bundles"
    target = write(folder / "out", models[0], "number 0", level=0).path
    moments, survivors, left_over = random.Random(5), set(), 0
    command = [sys.executable, str(WRITER), str(target), *map(str, models)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        for _ in range(30):
            writer.stdin.write("\n")
            writer.stdin.flush()
            child = int(writer.stdout.readline())
            time.sleep(moments.uniform(0.01, 0.15))
            os.kill(child, signal.SIGKILL)
            assert writer.stdout.readline() == "gone\n"
            loaded = load_bundle(target)
            number = int(loaded.manifest.name.removeprefix("number "))
            assert loaded.model.read_bytes() == models[number].read_bytes()
            assert [int(frame[0, 0, 0]) for frame in loaded.golden_frames()] == [100 * number, 100 * number + 1]
            survivors.add(number)
            left_over = max(left_over, len(list(folder.iterdir())) - 1)
        writer.stdin.close()
    assert survivors == {0, 1}
    assert left_over > 0  # kills did come in the middle
    write(target, models[0], "last")
    assert [found.name for found in folder.iterdir()] == ["out"]
    assert load_bundle(target).manifest.name == "last"


def test_a_bundle_with_a_thesis_in_it_is_not_replaced(written: Path) -> None:
    (written / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="something else"):
        require_bundle_path(written)
