"""Training as a user meets it: killed and started again, by several processes, and on pictures never seen before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.vision.boxes import iou_matrix, xyxy_from_cxcywh  # noqa: E402 - after the skip

Run = Any  # the fixture edgecnn of conftest.py
RECIPE = """
name: small
model: {{source: 'small_net:net'}}
preprocess: {{size_hw: [16, 16], mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data: {{train: pictures, validation_share: 0.25}}
train: {{epochs: {epochs}, batch_size: 16, learning_rate: 0.01, {rest}}}
quantize: {{precision: fp32}}
"""
CODE = """
import torch
def net(batch_norm=True):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2),
        torch.nn.BatchNorm2d(8) if batch_norm else torch.nn.Identity(),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2 if batch_norm else 0),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 3),
    )
"""


@pytest.fixture
def place(colours: Path) -> Path:
    """A recipe's folder with pictures of three colours."""
    (colours / "small_net.py").write_text(CODE)
    return colours


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgecnn", *map(str, arguments)]


def torchrun(*arguments: object) -> list[str]:
    """A command in two processes."""
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return [sys.executable, *two, *command(*arguments)[1:]]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "EDGECNN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def assert_a_kill_changes_nothing(recipe: Path) -> None:
    """Training in one go, and training that was killed and begun again, end with the same weights."""
    folder = recipe.parent
    whole, killed = folder / "whole.pt", folder / "killed.pt"
    subprocess.run(command("train", recipe, "--out", whole), env=environment(folder / "one"), check=True, timeout=280)
    process = subprocess.Popen(command("train", recipe, "--out", killed), env=environment(folder / "two"))
    try:
        deadline = time.monotonic() + 200
        while not list((folder / "two").glob("training/*/state.pt")):
            assert process.poll() is None and time.monotonic() < deadline  # noqa: PT018
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not killed.exists()

    done = subprocess.run(
        command("train", recipe, "--out", killed),
        env=environment(folder / "two"),
        check=True,
        capture_output=True,
        text=True,
    )

    assert "going on at epoch" in done.stderr
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert not list((folder / "two").glob("training/*/*"))


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(place: Path) -> None:
    rest = "ema: 0.9, mixup: 0.2, augment: {degrees: 20, horizontal_flip: 0.5}, patience: 100"
    (place / "small.yaml").write_text(RECIPE.format(epochs=60, rest=rest))
    assert_a_kill_changes_nothing(place / "small.yaml")


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(place: Path) -> None:
    """Without BatchNorm and dropout, whose results depend on which pictures a process sees."""
    recipe = RECIPE.format(epochs=3, rest="augment: {degrees: 20}").replace(
        "net'", "net', arguments: {batch_norm: false}"
    )
    (place / "small.yaml").write_text(recipe)
    subprocess.run(
        command("train", place / "small.yaml", "--out", place / "one.pt"), env=environment(place / "one"), check=True
    )
    subprocess.run(
        torchrun("train", place / "small.yaml", "--out", place / "two.pt"),
        env=environment(place / "two"),
        check=True,
        timeout=280,
    )

    one, two = weights(place / "one.pt"), weights(place / "two.pt")
    for name, value in one.items():
        assert torch.allclose(value, two[name], atol=1e-4), name
    assert (place / "two.html").is_file()


def test_pictures_never_seen_before_need_nothing_but_a_folder(edgecnn: Run, place: Path) -> None:
    (place / "small.yaml").write_text(RECIPE.format(epochs=12, rest="augment: {degrees: 5}"))
    shutil.move(place / "pictures", place / "other")
    shutil.move(place / "other" / "red", place / "other" / "tomato")

    done = edgecnn("train", place / "small.yaml", "--data", place / "other", "--out", place / "out.pt", "--json")

    assert done.code == 0, done.err
    assert done.json["top-1 on pictures kept back"] >= 0.9
    assert done.json["kept back"] == 30
    page = (place / "out.html").read_text()
    assert "tomato" in page
    assert "http" not in page.replace("http-equiv", "")
    converted = edgecnn("convert", done.json["recipe"], "--out", place / "bundle", "--json")
    assert converted.code == 0, converted.err
    labels = json.loads((place / "bundle" / "manifest.json").read_text())["labels"]
    assert labels == ["blue", "green", "tomato"]
    judged = edgecnn("evaluate", place / "bundle", "--data", place / "out.heldout.csv", "--json")
    assert judged.code == 0, judged.err


def test_a_pickle_bomb_is_refused_as_a_beginning(edgecnn: Run, place: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {place / 'exploded'}",)

    torch.save(Bomb(), place / "bomb.pt")
    (place / "small.yaml").write_text(RECIPE.format(epochs=1, rest="pretrained: bomb.pt"))

    done = edgecnn("train", place / "small.yaml", "--out", place / "out.pt")

    assert done.code == 2
    assert "loading it could run code" in done.err
    assert not (place / "exploded").exists()


TRUNK = """
import torch
def net():
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(stage(3, 8), stage(8, 16), stage(16, 16), stage(16, 16), stage(16, 16),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 5))
"""
DETECTOR = """
name: things
task: detection
model: {{source: 'trunk_net:net', head: {{width: 16, depth: 1}}}}
preprocess: {{size_hw: [64, 64], resize: letterbox, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
data: {{train: things, validation_share: 0.25}}
train: {{objective: detection, epochs: {epochs}, batch_size: 6, learning_rate: 0.02, ema: 0.9, batch_norm_momentum: 0.3,
  augment: {{degrees: 0, translate: 0.1, scale: [0.8, 1.2], horizontal_flip: 0.5}}}}
gates: {{max_drop: 10, min_map_kept: 0.8}}
"""
SSDLITE = "'torchvision:ssdlite320_mobilenet_v3_large', arguments: {{width_mult: 0.35}}"


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """A recipe's folder with pictures of a white or a red rectangle, labelled in YOLO's layout."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    random = np.random.default_rng(1)
    (tmp_path / "things" / "images").mkdir(parents=True)
    (tmp_path / "things" / "labels").mkdir()
    for number in range(24):
        picture = random.integers(0, 60, (64, 96, 3), dtype=np.uint8)
        width, height = (int(side) for side in random.integers(22, 36, 2))
        left, top = int(random.integers(0, 96 - width)), int(random.integers(0, 64 - height))
        picture[top : top + height, left : left + width] = (0, 0, 255) if number % 2 else (255, 255, 255)
        cv2.imwrite(str(tmp_path / "things" / "images" / f"{number:02d}.png"), picture)
        row = ((left + width / 2) / 96, (top + height / 2) / 64, width / 96, height / 64)
        label = tmp_path / "things" / "labels" / f"{number:02d}.txt"
        label.write_text(f"{number % 2} {' '.join(f'{value:.6f}' for value in row)}\n")
    (tmp_path / "things" / "classes.txt").write_text("white\nred\n")
    (tmp_path / "trunk_net.py").write_text(TRUNK)
    return tmp_path


def is_on(found: dict[str, Any], things: Path, number: int) -> bool:
    """Whether a box overlaps the object of a picture by half."""
    _, *row = map(float, (things / "things" / "labels" / f"{number:02d}.txt").read_text().split())
    truth = xyxy_from_cxcywh(np.asarray([row]) * [96, 64, 96, 64])
    return bool(iou_matrix(np.asarray([found["box_xyxy"]]), truth)[0, 0] >= 0.5)


def assert_a_detector_goes_the_whole_way(edgecnn: Run, things: Path, least: float) -> None:
    """From boxes to a board and a video."""
    done = edgecnn("train", things / "things.yaml", "--out", things / "out.pt", "--json")

    assert done.code == 0, done.err
    assert done.json["mAP50 on pictures kept back"] >= least
    page = (things / "out.html").read_text()
    assert "Worst mistakes" in page
    assert "AP50" in page
    converted = edgecnn("convert", done.json["recipe"], "--out", things / "bundle", "--precision", "int8", "--json")
    assert converted.code == 0, converted.err
    figures = [stage["accuracy"]["map50"] for stage in converted.json["stages"] if stage.get("accuracy")]
    # What convert finds in FP32 is what training said, of the same pictures.
    assert figures[0] == pytest.approx(done.json["mAP50 on pictures kept back"], abs=0.01)
    manifest = json.loads((things / "bundle" / "manifest.json").read_text())
    assert (manifest["precision"], manifest["labels"]) == ("int8", ["white", "red"])
    assert manifest["detector"]["stated_threshold"] == done.json["score_threshold"]
    judged = edgecnn("evaluate", things / "bundle", "--data", things / "out.heldout.json", "--json")
    assert judged.code == 0, judged.err
    # Of six objects: two scores in another order, as another of ONNX Runtime's kernels may round them, are 0.02.
    assert judged.json["map50"] == pytest.approx(manifest["stages"][-1]["accuracy"]["map50"], abs=0.05)

    checked = edgecnn("check", things / "bundle", "--json")
    assert checked.code in (0, 3), checked.err  # 3: the preflight is not installed
    ran = edgecnn("run", things / "bundle", "--source", things / "things" / "images", "--events", things / "seen.jsonl")
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in (things / "seen.jsonl").read_text().splitlines()]
    shown = [(line["frame"], found) for line in lines for found in line["objects"]]
    right = [found["label"] == ("white", "red")[frame % 2] and is_on(found, things, frame) for frame, found in shown]
    assert len(lines) == 24
    assert len(shown) >= 4
    assert sum(right) >= 0.8 * len(right)
    profiled = edgecnn(
        *("profile", things / "bundle", "--out", things / "profile", "--seconds", 0.2, "--processes", 1, "--json")
    )
    assert profiled.code == 0, profiled.err


@pytest.mark.slow
def test_a_detector_from_boxes_to_a_board_and_a_video(edgecnn: Run, things: Path) -> None:
    (things / "things.yaml").write_text(DETECTOR.format(epochs=40))
    assert_a_detector_goes_the_whole_way(edgecnn, things, 0.8)


@pytest.mark.slow
def test_torchvisions_ssdlite_from_boxes_to_a_board_and_a_video(edgecnn: Run, things: Path) -> None:
    recipe = DETECTOR.replace("'trunk_net:net', head: {{width: 16, depth: 1}}", SSDLITE).format(epochs=40)
    cheap = "quantize: {observer: minmax, equalize: false, rounding: nearest}\n"
    (things / "things.yaml").write_text(recipe.replace("learning_rate: 0.02", "learning_rate: 0.01") + cheap)
    assert_a_detector_goes_the_whole_way(edgecnn, things, 0.5)


@pytest.mark.slow
def test_a_recipe_that_trains_a_detector_is_converted_with_the_threshold_that_was_found(
    edgecnn: Run, things: Path
) -> None:
    (things / "things.yaml").write_text(DETECTOR.format(epochs=3))
    trained = edgecnn("train", things / "things.yaml", "--out", things / "out.pt", "--json")
    assert trained.code == 0, trained.err

    done = edgecnn("convert", things / "things.yaml", "--out", things / "bundle", "--precision", "fp32")

    assert done.code == 0, done.err
    used = json.loads((things / "bundle" / "manifest.json").read_text())["detector"]
    assert used["stated_threshold"] == used["score_threshold"] == trained.json["score_threshold"] != 0.3


@pytest.mark.slow
def test_two_processes_train_a_detector(things: Path) -> None:
    (things / "things.yaml").write_text(DETECTOR.format(epochs=2))

    subprocess.run(
        torchrun("train", things / "things.yaml", "--out", things / "two.pt"), env=environment(things), check=True
    )

    found = weights(things / "two.pt")
    assert all(bool(value.isfinite().all()) for value in found.values())
    assert {path.name for path in things.glob("two.*")} == {
        *("two.pt", "two.html", "two.yaml", "two.learned.json", "two.heldout.json")
    }


@pytest.mark.slow
def test_a_killed_training_of_a_detector_ends_with_the_same_weights(things: Path) -> None:
    (things / "things.yaml").write_text(DETECTOR.format(epochs=25))
    assert_a_kill_changes_nothing(things / "things.yaml")


@pytest.mark.slow
def test_a_killed_training_on_masks_ends_with_the_same_weights(shapes: Path) -> None:
    assert_a_kill_changes_nothing(shapes / "shapes.yaml")
