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
def place(tmp_path: Path) -> Path:
    """A recipe's folder with pictures of three colours."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("blue", "green", "red")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(40):
            picture = cv2.resize(random.integers(0, 160, (4, 4, 3), dtype=np.uint8), (24, 24))
            picture[:, :, number] = np.minimum(picture[:, :, number] + 90, 255)
            cv2.imwrite(str(tmp_path / "pictures" / name / f"{index:02d}.png"), picture)
    (tmp_path / "small_net.py").write_text(CODE)
    return tmp_path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgecnn", *map(str, arguments)]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "EDGECNN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(place: Path) -> None:
    rest = "ema: 0.9, mixup: 0.2, augment: {degrees: 20, horizontal_flip: 0.5}, patience: 100"
    (place / "small.yaml").write_text(RECIPE.format(epochs=60, rest=rest))
    whole, killed = place / "whole.pt", place / "killed.pt"
    subprocess.run(
        command("train", place / "small.yaml", "--out", whole), env=environment(place / "one"), check=True, timeout=280
    )
    process = subprocess.Popen(command("train", place / "small.yaml", "--out", killed), env=environment(place / "two"))
    try:
        deadline = time.monotonic() + 200
        while not list((place / "two").glob("training/*/state.pt")):
            assert process.poll() is None and time.monotonic() < deadline  # noqa: PT018
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not killed.exists()

    done = subprocess.run(
        command("train", place / "small.yaml", "--out", killed),
        env=environment(place / "two"),
        check=True,
        capture_output=True,
        text=True,
    )

    assert "going on at epoch" in done.stderr
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert not list((place / "two").glob("training/*/*"))


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
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *command("train", place / "small.yaml", "--out", place / "two.pt")[1:],
        ],
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
