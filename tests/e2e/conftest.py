"""The demo's bundle, made once, and the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Run = Callable[..., Done]
_TRUNK = """
import torch
def net():
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(stage(3, 16), stage(16, 24), stage(24, 32), stage(32, 32),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 5))
"""
_SEGMENTATION = """
name: shapes
task: segmentation
model: {source: 'shapes_net:net', head: {kind: lraspp, width: 32, stride: 2}}
preprocess: {size_hw: [64, 64], resize: letterbox, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
data: {train: shapes, validation_share: 0.25}
train: {objective: segmentation, epochs: 30, batch_size: 8, learning_rate: 0.01, balance: loss, ema: 0.9,
  batch_norm_momentum: 0.3, augment: {degrees: 10, scale: [0.8, 1.25], horizontal_flip: 0.5, brightness: 0.1}}
quantize: {precision: int8}
gates: {max_drop: 5}
"""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of its own, so that nothing on the machine is used or left."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def edgecnn(cache: Path) -> Run:
    """Run ``edgecnn ARGUMENTS`` in a process."""

    def run(*arguments: object, cwd: Path | None = None, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "edgecnn", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "EDGECNN_CACHE": str(cache), "COLUMNS": "200", **environment},
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def digits(edgecnn: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the demo's recipe."""
    out = tmp_path_factory.mktemp("digits") / "bundle"
    done = edgecnn("convert", "digits-lenet5", "--out", out)
    assert done.code == 0, done.err
    return out


@pytest.fixture(scope="session")
def fp32(edgecnn: Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in FP32."""
    del digits  # its stages are in the store
    out = tmp_path_factory.mktemp("fp32") / "bundle"
    assert edgecnn("convert", "digits-lenet5", "--out", out, "--precision", "fp32").code == 0
    return out


@pytest.fixture(scope="session")
def held_out(digits: Path, cache: Path) -> Path:
    """The folder of the 360 held-out digits."""
    del digits  # converting has written them
    return next(cache.glob("*/digits/heldout"))


@pytest.fixture(scope="session")
def training(digits: Path, cache: Path) -> Path:
    """The folder of the 1,437 digits to train on."""
    del digits
    return next(cache.glob("*/digits/train"))


@pytest.fixture(scope="session")
def film(held_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], tuple[Path, list[int]]]:
    """Make a video of 60 held-out digits, of a width and a height, and say which they are."""

    def make(width: int, height: int) -> tuple[Path, list[int]]:
        path = tmp_path_factory.mktemp("camera") / "digits.avi"
        pictures = sorted(held_out.glob("*/*.png"))[::6]
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
        for picture in pictures:
            writer.write(cv2.resize(cv2.imread(str(picture)), (width, height)))
        writer.release()
        return path, [int(picture.parent.name) for picture in pictures]

    return make


def _shapes_of(random: np.random.Generator, kinds: tuple[int, ...]) -> tuple[Any, Any]:
    """A textured picture of 96 x 72 with discs and boxes of like colours, and its mask; outlines are to be ignored."""
    coarse = random.integers(40, 160, (9, 12, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC).astype(int)
    picture += random.integers(-20, 20, (72, 96, 3))
    mask = np.zeros((72, 96), np.uint8)
    for place, kind in enumerate(kinds):
        centre = (int(random.integers(20, 28)) + 48 * place, int(random.integers(24, 48)))
        radius, inside, edge = int(random.integers(14, 19)), np.zeros_like(mask), np.zeros_like(mask)
        corners = [tuple(side + sign * radius for side in centre) for sign in (-1, 1)]
        for canvas, thickness in ((inside, -1), (edge, 1)):
            if kind == 1:
                cv2.circle(canvas, centre, radius, 1, thickness)
            else:
                cv2.rectangle(canvas, *corners, 1, thickness)
        bright = random.integers(190, 240, 3)
        bright[kind] = 60
        picture[inside > 0] = bright + random.integers(-15, 15, 3)
        mask[inside > 0] = kind
        mask[edge > 0] = 255
    return picture.clip(0, 255).astype(np.uint8), mask


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder with a recipe for masks, ``shapes.yaml``, and pictures and masks side by side."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
    for number in range(56):
        picture, mask = _shapes_of(random, [(1,), (2,), (1, 2), (2, 1)][number % 4])
        cv2.imwrite(str(tmp_path / "shapes" / "images" / f"{number:02d}.png"), picture)
        cv2.imwrite(str(tmp_path / "shapes" / "masks" / f"{number:02d}.png"), mask)
    (tmp_path / "shapes" / "classes.txt").write_text("ground\ndisc\nbox\n")
    (tmp_path / "shapes_net.py").write_text(_TRUNK)
    (tmp_path / "shapes.yaml").write_text(_SEGMENTATION)
    return tmp_path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder with ``pictures`` of three colours, 40 of each, to learn from."""
    random = np.random.default_rng(0)
    for number, name in enumerate(("blue", "green", "red")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(40):
            picture = cv2.resize(random.integers(0, 160, (4, 4, 3), dtype=np.uint8), (24, 24))
            picture[:, :, number] = np.minimum(picture[:, :, number] + 90, 255)
            cv2.imwrite(str(tmp_path / "pictures" / name / f"{index:02d}.png"), picture)
    return tmp_path
