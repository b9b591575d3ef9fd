"""The main job from start to end on handwritten digits: what ``make demo`` runs.

Each step is a command that a user can type; this script prints it, runs it and gathers the figures into one table.
The camera is a video of moving digits that the network has never seen, written here and read like any other file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgecnn.build.sources import open_pictures
from edgecnn.build.store import Store
from edgecnn.cli.console import print_table
from edgecnn.cli.stage_table import COLUMNS, stage_cells
from edgecnn.core.frame import Image
from edgecnn.profiling.report.convert_page import StageRow
from edgecnn.vision.images import read_image

RECIPE = "digits-lenet5"
_SIDE = 288
_FPS = 30
_DIGITS = 40
_FRAMES_PER_DIGIT = 12
_PICTURE_COLUMNS, _PICTURE_ROWS = 5, 2


def edgecnn(*arguments: str) -> dict[str, Any]:
    """Run a command as a user would, with ``--json``; its document."""
    print(f"\n$ edgecnn {' '.join(arguments)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", *arguments, "--json"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)  # the command has said why
    return json.loads(done.stdout)


def write_camera(path: Path) -> list[int]:
    """Write the camera's video; the true digit of each frame."""
    pictures = open_pictures("sklearn:digits/heldout", Store())
    assert pictures.labels is not None
    generator = np.random.default_rng(1)
    chosen = generator.choice(len(pictures), _DIGITS, replace=False)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), _FPS, (_SIDE, _SIDE))
    truth: list[int] = []
    for index in chosen:
        digit = read_image(pictures.paths[index])
        for _ in range(_FRAMES_PER_DIGIT):
            writer.write(_scene(digit, len(truth) / _FPS, generator))
            truth.append(pictures.labels[index])
    writer.release()
    return truth


def _scene(digit: Image, seconds: float, generator: np.random.Generator) -> Image:
    """A digit that sways, turns and breathes, seen by a sensor with noise."""
    shift = (14 * np.sin(3.1 * seconds), 14 * np.cos(2.3 * seconds))
    zoom = _SIDE / digit.shape[0] * (0.95 + 0.06 * np.sin(1.7 * seconds))
    matrix = cv2.getRotationMatrix2D((digit.shape[1] / 2, digit.shape[0] / 2), 7 * np.sin(2.0 * seconds), zoom)
    matrix[:, 2] += (_SIDE - digit.shape[0]) / 2 + np.asarray(shift)
    scene = cv2.warpAffine(digit, matrix, (_SIDE, _SIDE), flags=cv2.INTER_CUBIC)
    noisy = scene.astype(np.float32) + generator.normal(0, 4, scene.shape).astype(np.float32)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def video_accuracy(events: Path, truth: list[int]) -> float:
    """The part of the camera's frames on which the right digit was named."""
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    if len(lines) != len(truth):
        sys.exit(f"error: {len(lines)} results for {len(truth)} frames")
    return float(np.mean([line["classes"][0]["class"] == truth[line["frame"]] for line in lines]))


def write_picture(video: Path, path: Path) -> None:
    """A sheet of frames from the video that ``run`` saved."""
    capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    tiles: list[Image] = []
    for tile in range(_PICTURE_COLUMNS * _PICTURE_ROWS):
        capture.set(cv2.CAP_PROP_POS_FRAMES, (2 * tile + 1) * count // (2 * _PICTURE_COLUMNS * _PICTURE_ROWS))
        tiles.append(capture.read()[1].astype(np.uint8, copy=False))
    capture.release()
    rows = [np.hstack(tiles[start : start + _PICTURE_COLUMNS]) for start in range(0, len(tiles), _PICTURE_COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    """Train, convert, check, run, profile, tell."""
    begin = time.monotonic()
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo")
    out.mkdir(parents=True, exist_ok=True)
    # Stages are kept beside the results, so that the demo shows its own work and not an earlier conversion's.
    os.environ.setdefault("EDGECNN_CACHE", str((out / "cache").absolute()))
    bundle, camera, saved, events = out / "bundle", out / "camera.mp4", out / "run.mp4", out / "events.jsonl"
    events.unlink(missing_ok=True)

    edgecnn("train", RECIPE, "--out", str(out / "lenet5.pt"))
    conversion = edgecnn("convert", RECIPE, "--out", str(bundle))
    verdict = edgecnn("check", str(bundle))
    truth = write_camera(camera)
    print(f"\nwrote {camera}: {len(truth)} frames of {_DIGITS} held-out digits", flush=True)
    run = edgecnn("run", str(bundle), "--source", str(camera), "--events", str(events), "--save", str(saved))
    profile = edgecnn("profile", str(bundle), "--out", str(out / "profile"))
    write_picture(saved, out / "demo.jpg")

    rows = [stage_cells(_row(stage)) for stage in conversion["stages"]]
    engine = f"{verdict['engine_bytes'] / 1000:,.1f}" if verdict["engine_bytes"] else ""
    rows.append((f"check {verdict['device']}", engine, "", f"accepted by {verdict['compiler']}", "", "", ""))
    age, total = run["frame_age"], profile["latency"]["total"]
    said = f"{run['processed']} of {run['frames_in']} frames, age at result"
    rows.append(("run on video", "", "", said, f"{video_accuracy(events, truth):.2%}", *_pair(age)))
    rows.append(("profile", "", "", f"{profile['frames']} frames, from frame to result", "", *_pair(total)))
    print()
    print_table("edgecnn demo: LeNet-5 on handwritten digits", COLUMNS, rows)
    print(f"bundle  {bundle}\nvideo   {saved}\npicture {out / 'demo.jpg'}")
    print(f"report  {out / 'profile' / 'profile.html'}\n        {bundle / 'report.html'}")
    print(f"took {time.monotonic() - begin:.0f} s; latency is of this machine, with ONNX Runtime on its CPU")


def _row(stage: dict[str, Any]) -> StageRow:
    parity, accuracy = stage["parity"], stage["accuracy"]
    text = f"{parity['snr_db']:.1f} dB" if parity else ""
    return StageRow(
        name=stage["stage"],
        detail="",
        size_bytes=stage["size_bytes"],
        parameters=stage["parameters"],
        parity_text=text + (f", {accuracy['agreement']:.1%} same class" if accuracy else ""),
        accuracy=accuracy["top1"] if accuracy else None,
        p50_ms=stage["p50_ms"],
        p99_ms=stage["p99_ms"],
    )


def _pair(percentiles: dict[str, float]) -> tuple[str, str]:
    return f"{percentiles['p50_ms']:.3f}", f"{percentiles['p99_ms']:.3f}"


if __name__ == "__main__":
    main()
