"""Sounds in WAV files go the whole way: train, convert, check, evaluate, run and profile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

Run = Any  # the fixture edgecnn of conftest.py
RATE = 8000
WINDOW_S, HOP_S = 0.064, 0.032
RECIPE = """
name: sounds
model: {source: zoo:cnn1d, arguments: {widths: [8, 16], kernel: 9}}
preprocess: {sample_rate: 4000, window: 256, hop: 128, std: [0.2]}
data: {train: sounds, validation_share: 0.25}
train: {epochs: 8, batch_size: 16, learning_rate: 0.01, augment: {time_shift: 0.2, gain_db: 3, snr_db: [20, 40]}}
"""


def sound(kind: str, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Noise in which there is a low tone, a high tone, or none."""
    time = np.arange(round(seconds * RATE)) / RATE
    low, high = {"high": (800, 1200), "hiss": (0, 0), "low": (150, 300)}[kind]
    hertz, phase = random.uniform(low, high), random.uniform(0, 2 * np.pi)
    found = 0.4 * np.sin(2 * np.pi * hertz * time + phase) * (kind != "hiss") + 0.1 * random.standard_normal(len(time))
    return (found * 2**14).astype(np.int16)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signals")
    random = np.random.default_rng(0)
    for number in range(48):
        kind = ("high", "hiss", "low")[number % 3]
        path = folder / "sounds" / kind / f"{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, RATE, sound(kind, 0.4, random))
    (folder / "sounds.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def trained(edgecnn: Run, place: Path) -> Any:
    done = edgecnn("train", place / "sounds.yaml", "--out", place / "net.pt", "--json")
    assert done.code == 0, done.err
    return done.json


@pytest.fixture(scope="module")
def bundle(edgecnn: Run, place: Path, trained: Any) -> Path:
    done = edgecnn("convert", place / "net.yaml", "--out", place / "bundle")
    assert done.code == 0, done.err
    return place / "bundle"


def test_what_is_learnt_is_right_on_files_that_were_kept_back(place: Path, trained: Any) -> None:
    assert trained["top-1 on pictures kept back"] > 0.95
    learned, held_out = (
        {line.split(",")[0] for line in (place / f"net.{name}.csv").read_text().splitlines()[1:]}
        for name in ("learned", "heldout")
    )
    assert (len(learned), len(held_out)) == (36, 12)
    assert not learned & held_out
    # Of each file of 0.4 s the windows that begin every 0.032 s.
    assert (trained["pictures"], trained["kept back"]) == (36 * 11, 12 * 11)
    assert "Confusion matrix" in (place / "net.html").read_text()


def test_int8_keeps_what_fp32_names(place: Path, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["precision"] == "int8"
    assert manifest["inputs"][0]["shape"] == [1, 1, 256]
    last = manifest["stages"][-1]["accuracy"]
    assert last["images"] == 132
    assert last["top1"] > 0.95
    assert last["agreement"] > 0.98
    assert len(list((bundle / "golden").glob("*.npy"))) == 4


def test_tensorrt_computes_all_of_it_in_int8(bundle: Path, rtx_layers: Any) -> None:
    from edgecnn.graph.model import load_model

    assert rtx_layers(load_model(bundle / "model.onnx")) == dict.fromkeys(("conv1", "conv2", "fc"), ("int8", "int8"))


def test_evaluate_check_and_profile(edgecnn: Run, place: Path, bundle: Path) -> None:
    judged = edgecnn("evaluate", bundle, "--data", place / "net.heldout.csv", "--json")
    assert judged.code == 0, judged.err
    stated = json.loads((bundle / "manifest.json").read_text())["stages"][-1]["accuracy"]
    assert judged.json["images"] == 132
    assert judged.json["top1"] == pytest.approx(stated["top1"], abs=0.02)

    checked = edgecnn("check", bundle / "model.onnx", "--json")
    assert checked.code == 0, checked.out
    done = edgecnn("profile", bundle, "--out", place / "profile", "--seconds", "0.2", "--processes", "1", "--json")
    assert done.code == 0, done.err
    profile = json.loads((place / "profile" / "profile.json").read_text())
    assert (profile["input_shape"], profile["frame_hw"]) == ([1, 1, 256], None)
    assert sum(layer["macs"] for layer in profile["costs"] if layer["op_type"] == "Conv") == 8 * 9 * 256 + 128 * 9 * 128


def test_run_names_each_window_of_a_long_recording_at_its_time(edgecnn: Run, place: Path, bundle: Path) -> None:
    random = np.random.default_rng(9)
    order = ("hiss", "low", "high", "hiss", "high")
    parts = [sound(kind, 0.8, random) for kind in order]
    wavfile.write(place / "long.wav", RATE, np.stack([np.concatenate(parts)] * 2, axis=1))
    done = edgecnn("run", bundle, "--source", place / "long.wav", "--events", place / "events.jsonl", "--json")
    assert done.code == 0, done.err
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    assert len(events) == done.json["processed"] == (4 * 4000 - 256) // 128 + 1
    right: list[bool] = []
    for number, event in enumerate(events):
        begin, end = event["window"]["begin_s"], event["window"]["end_s"]
        assert event["window"]["file"] == "long.wav"
        assert (begin, end) == (pytest.approx(number * HOP_S), pytest.approx(number * HOP_S + WINDOW_S))
        if int(begin / 0.8) == int(end / 0.8):
            right.append(event["classes"][0]["label"] == order[int(begin / 0.8)])
    assert len(right) > 100
    assert np.mean(right) > 0.95


def test_run_takes_a_folder_and_a_stream(edgecnn: Run, place: Path, bundle: Path, cache: Path) -> None:
    done = edgecnn("run", bundle, "--source", place / "sounds", "--json")
    assert done.code == 0, done.err
    assert done.json["processed"] == 48 * 11

    random = np.random.default_rng(3)
    pcm = sound("low", 0.8, random)[::2].tobytes()  # a low tone needs no filter to be halved in rate
    arguments = ["run", str(bundle), "--source", "pcm://s16le", "--events", "-", "--drop", "wait", "--top", "1"]
    found = subprocess.run(
        [sys.executable, "-m", "edgecnn", *arguments], input=pcm, capture_output=True, check=True, timeout=60
    )
    events = [json.loads(line) for line in found.stdout.splitlines()]
    assert [event["window"]["begin_s"] for event in events] == pytest.approx(np.arange(24) * HOP_S)
    assert sum(event["classes"][0]["label"] == "low" for event in events) > 22


def test_what_is_wrong_is_said_in_a_sentence(edgecnn: Run, place: Path, bundle: Path) -> None:
    wavfile.write(place / "short.wav", RATE, np.zeros(100, np.int16))
    for arguments, said in (
        (("run", bundle, "--source", place / "short.wav"), "short.wav: 50 samples at 4000 a second, and a window has"),
        (("run", bundle, "--source", place / "sounds", "--page", ":0"), "takes signals"),
        (("convert", place / "net.yaml", "--out", place / "no", "--frame", "64x48"), "takes signals"),
        (("shift", bundle, "--frames", place / "sounds"), "remembers nothing of training pictures"),
    ):
        done = edgecnn(*arguments)
        assert done.code == 2, done.err
        assert said in done.err
        assert "Traceback" not in done.err
