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
