"""Killed at any moment: the old bundle or the new one, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgecnn.deploy.bundle import load_bundle

Run = Any  # the fixture edgecnn of conftest.py
KILLS = 6


def start(cache: Path, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgecnn", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env={**os.environ, "EDGECNN_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A runner in the background of a shell ignores SIGINT, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_a_killed_conversion_leaves_a_whole_bundle_and_resumes(digits: Path, cache: Path, tmp_path: Path) -> None:
    """Two recipes' bundles take turns in one place, killed at moments spread over a whole conversion."""
    out = tmp_path / "bundle"
    arguments = ("convert", "digits-lenet5", "--out", out, "--precision")
    begin = time.monotonic()
    assert start(cache, *arguments, "fp32").wait() == 0
    whole = time.monotonic() - begin
    known = {load_bundle(out).manifest.files["model.onnx"]}
    assert start(cache, *arguments, "int8").wait() == 0
    known.add(load_bundle(out).manifest.files["model.onnx"])
    assert len(known) == 2
    for turn in range(KILLS):
        running = start(cache, *arguments, ("fp32", "int8")[turn % 2])
        # Most of the moments near the end, where the bundle is written.
        time.sleep(whole * (0.5 + 0.6 * (turn + 1) / KILLS))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        assert load_bundle(out).manifest.files["model.onnx"] in known
    assert start(cache, *arguments, "fp32").wait() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.slow
def test_a_killed_conversion_goes_on_from_the_last_stage(tmp_path: Path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "bundle"
    running = start(cache, "convert", "digits-lenet5", "--out", out)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(b"fold BatchNorm"):  # training and export are behind
            break
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not out.exists()
    again = start(cache, "convert", "digits-lenet5", "--out", out)
    assert b"train:" not in again.communicate()[1]
    assert again.returncode == 0
    assert load_bundle(out).manifest.precision == "int8"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_on_a_signal(digits: Path, cache: Path, tmp_path: Path, number: int) -> None:
    events, saved = tmp_path / "events.jsonl", tmp_path / "saved.mp4"
    running = start(cache, "run", digits, "--source", "synthetic://", "--events", events, "--save", saved)
    deadline = time.monotonic() + 30
    while not (events.exists() and events.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(10) == 0
    assert saved.stat().st_size > 0
    assert events.read_text().endswith("}\n")


def test_ctrl_c_in_a_conversion_is_one_line(cache: Path, tmp_path: Path) -> None:
    running = start(tmp_path / "cache", "convert", "digits-lenet5", "--out", tmp_path / "out")
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(b"train:"):
            break
    running.send_signal(signal.SIGINT)
    rest = running.communicate()[1].decode()
    assert running.returncode == 130
    assert "Traceback" not in rest
    assert "interrupted" in rest
    assert not (tmp_path / "out").exists()
