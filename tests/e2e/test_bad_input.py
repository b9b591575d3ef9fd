"""What a user gets wrong: one clear sentence, the right exit code, nothing half-written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Run = Any  # the fixture edgecnn of conftest.py

INPUT, ENVIRONMENT = 2, 3


def assert_explained(done: Any, code: int, *words: str) -> None:
    """One error, with these words, and no traceback."""
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err
    assert done.err.count("error: ") == 1
    said = done.err[done.err.index("error: ") :]
    for word in words:
        assert word in said, said
    assert len(said.strip().splitlines()) <= 4, said


@pytest.fixture
def onnx_file(fp32: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    shutil.copy(fp32 / "model.onnx", path)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A copy of the demo's recipe, to be spoilt."""
    source = Path(__file__).parents[2] / "recipes" / "digits-lenet5.yaml"
    return Path(shutil.copy(source, tmp_path / "mine.yaml"))


def test_a_missing_file(edgecnn: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_explained(edgecnn("convert", tmp_path / "no.onnx", "--out", out), INPUT, "no.onnx", "no such file")
    assert_explained(edgecnn("convert", "no-such-recipe", "--out", out), INPUT, "no-such-recipe", "digits-lenet5")
    assert_explained(edgecnn("check", tmp_path / "no.onnx"), INPUT, "no such file")
    assert_explained(edgecnn("summary", tmp_path / "no.onnx"), INPUT, "no such file")
    assert_explained(edgecnn("run", tmp_path, "--source", "synthetic://"), INPUT, "manifest.json")
    assert not out.exists()


@pytest.mark.parametrize("command", [("convert", "--out", "out"), ("check",), ("summary",)])
def test_an_onnx_file_that_is_cut_short_or_none(
    edgecnn: Run, onnx_file: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    whole = onnx_file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:40], b"", b"this is not ONNX\n" * 50):
        onnx_file.write_bytes(content)
        done = edgecnn(command[0], onnx_file, *command[1:], cwd=tmp_path)
        assert_explained(done, INPUT, str(onnx_file), "not an ONNX file, or cut short")
    assert not (tmp_path / "out").exists()


def test_a_misspelt_key_names_line_and_neighbour(edgecnn: Run, recipe: Path, tmp_path: Path) -> None:
    text = recipe.read_text()
    recipe.write_text(text.replace("  precision: int8", "  precison: int8"))
    line = 1 + recipe.read_text()[: recipe.read_text().index("precison")].count("\n")
    done = edgecnn("convert", recipe, "--out", tmp_path / "out")
    assert_explained(done, INPUT, f"mine.yaml:{line}:", "precison", "did you mean 'precision'?")
    recipe.write_text(text.replace("precision: int8", "precision: int4"))
    assert_explained(edgecnn("convert", recipe, "--out", tmp_path / "out"), INPUT, "int4", "'fp16'")
    assert not (tmp_path / "out").exists()


def test_int8_without_pictures_is_refused(edgecnn: Run, onnx_file: Path, tmp_path: Path) -> None:
    done = edgecnn("convert", onnx_file, "--out", tmp_path / "out", "--precision", "int8")
    assert_explained(done, INPUT, "INT8 needs calibration pictures", "--calib")
    assert not (tmp_path / "out").exists()


def test_a_calibration_folder_with_nothing_in_it(edgecnn: Run, onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = edgecnn("convert", onnx_file, "--out", tmp_path / "out", "--calib", tmp_path / "empty")
    assert_explained(done, INPUT, "empty", "no pictures")
    done = edgecnn("convert", onnx_file, "--out", tmp_path / "out", "--calib", tmp_path / "nowhere")
    assert_explained(done, INPUT, "nowhere", "no such folder")
    assert not (tmp_path / "out").exists()


def test_a_calibration_folder_with_one_broken_picture(edgecnn: Run, held_out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(held_out / "3", folder)
    (folder / "0001.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "out", "--calib", folder)
    assert_explained(done, INPUT, "0001.png", "cannot be decoded")
    assert not (tmp_path / "out").exists()


def test_a_device_that_does_not_exist(edgecnn: Run, tmp_path: Path) -> None:
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "out", "--device", "orin-nano")
    assert_explained(done, INPUT, "orin-nano", "orin-nano-8gb")
    assert_explained(edgecnn("devices", "jetson"), INPUT, "jetson", "known devices")


def test_int8_for_a_board_that_has_none(edgecnn: Run, tmp_path: Path) -> None:
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "out", "--device", "nano-4gb")
    assert_explained(done, 1, "Jetson Nano", "--precision fp16")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_not_overwritten(edgecnn: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path)
    assert_explained(done, INPUT, "something else than a bundle")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_gate_that_is_missed_leaves_the_old_bundle(
    edgecnn: Run, digits: Path, recipe: Path, held_out: Path, tmp_path: Path
) -> None:
    """Calibrated on black pictures, INT8 is worthless: the conversion fails and the older bundle stays."""
    black = tmp_path / "black"
    black.mkdir()
    for index in range(20):
        cv2.imwrite(str(black / f"{index}.png"), np.zeros((64, 64), np.uint8))
    out = tmp_path / "bundle"
    shutil.copytree(digits, out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    done = edgecnn("convert", recipe, "--out", out, "--calib", black)
    assert_explained(done, 1, "int8", "at least 10 dB are wanted", "higher precision")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    fallback = edgecnn("convert", recipe, "--out", out, "--calib", black, "--precision", "auto", "--json")
    assert fallback.json["precision"] == "fp16"
    assert "INT8 missed its bar" in fallback.json["notes"][0]


def test_a_video_that_ends_early(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    path, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    generator = np.random.default_rng(0)
    for _ in range(100):
        writer.write(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    writer.release()
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    events = tmp_path / "events.jsonl"
    done = edgecnn("run", digits, "--source", cut, "--events", events, "--json")
    assert_explained(done, INPUT, "cut.avi", "of 100 frames")
    assert "error" in done.json
    assert 30 < len(events.read_text().splitlines()) < 70
    cut.write_bytes(b"")
    assert_explained(edgecnn("run", digits, "--source", cut), INPUT, "cut.avi", "cannot be opened")


def test_errors_are_one_json_document_where_json_was_asked_for(edgecnn: Run, tmp_path: Path) -> None:
    done = edgecnn("summary", tmp_path / "no.onnx", "--json")
    assert done.code == INPUT
    assert "no such file" in done.json["error"]["message"]


def test_debug_shows_where(edgecnn: Run, tmp_path: Path) -> None:
    done = edgecnn("--debug", "summary", tmp_path / "no.onnx")
    assert done.code != 0
    assert "Traceback" in done.err


def test_a_changed_bundle_is_refused(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(digits, copy)
    with (copy / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    assert_explained(edgecnn("run", copy, "--source", "synthetic://"), INPUT, "model.onnx is missing or was changed")


def test_backends_and_sources_that_are_not_there(edgecnn: Run, digits: Path) -> None:
    done = edgecnn("run", digits, "--source", "synthetic://", "--backend", "tensorrt")
    assert_explained(done, ENVIRONMENT, "tensorrt", "install")
    assert_explained(edgecnn("run", digits, "--source", "/dev/video77"), INPUT, "/dev/video77")
    assert_explained(edgecnn("run", digits, "--source", "ftp://x"), INPUT, "ftp://")


def test_usage_errors_have_exit_code_2(edgecnn: Run) -> None:
    assert edgecnn("convert").code == INPUT
    assert edgecnn("convrt").code == INPUT
    assert edgecnn("convert", "digits-lenet5", "--out", "x", "--precision", "int3").code == INPUT


def test_a_pickle_that_would_run_code_is_refused(edgecnn: Run, tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb()))
    done = edgecnn(
        "convert", f"torchvision:resnet18@{tmp_path / 'bomb.pth'}", "--out", tmp_path / "out", "--precision", "fp16"
    )
    assert_explained(done, INPUT, "bomb.pth")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "out").exists()


def test_a_full_disk(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    """/dev/full answers every write with: no space left on device."""
    done = edgecnn("run", digits, "--source", "synthetic://", "--max-frames", 3, "--events", "/dev/full")
    assert_explained(done, ENVIRONMENT, "no room left")


@pytest.mark.parametrize(
    "call",
    [
        ("convert",),
        ("frob",),
        ("convert", "digits-lenet5", "--out", "x", "--precision", "int3"),
        ("run", "x", "--nope"),
    ],
)
def test_usage_errors_are_json_too(edgecnn: Run, call: tuple[str, ...]) -> None:
    done = edgecnn(*call, "--json")
    assert done.code == INPUT
    assert done.json["error"]["message"]


def test_max_drop_wants_labelled_pictures(edgecnn: Run, onnx_file: Path, training: Path, tmp_path: Path) -> None:
    done = edgecnn("convert", onnx_file, "--out", tmp_path / "out", "--calib", training, "--max-drop", 0)
    assert_explained(done, INPUT, "--max-drop", "--data")


def test_a_model_that_is_quantized_already(edgecnn: Run, digits: Path, training: Path, tmp_path: Path) -> None:
    done = edgecnn("convert", digits / "model.onnx", "--out", tmp_path / "out", "--calib", training)
    assert_explained(done, INPUT, "quantized already")


def test_calibration_and_evaluation_are_kept_apart(edgecnn: Run, held_out: Path, tmp_path: Path) -> None:
    done = edgecnn("convert", "digits-lenet5", "--out", tmp_path / "out", "--calib", held_out)
    assert_explained(done, INPUT, "360 pictures are for calibration and for evaluation")


def test_a_folder_with_one_class_misspelt(edgecnn: Run, digits: Path, held_out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    shutil.copytree(held_out, folder)
    (folder / "3").rename(folder / "three")
    assert_explained(edgecnn("evaluate", digits, "--data", folder), INPUT, "'three'")
    cv2.imwrite(str(folder / "stray.png"), np.zeros((8, 8), np.uint8))
    assert_explained(edgecnn("evaluate", digits, "--data", folder), INPUT, "beside folders of pictures")


def test_a_training_that_diverges(edgecnn: Run, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(recipe.read_text().replace("learning_rate: 0.003", "learning_rate: 1e30"))
    assert_explained(edgecnn("train", recipe, "--out", tmp_path / "x.pt"), 1, "loss is not a number")
    assert not (tmp_path / "x.pt").exists()


def test_a_training_that_would_write_over_its_recipe(edgecnn: Run, recipe: Path) -> None:
    before = recipe.read_text()
    assert_explained(edgecnn("train", recipe, "--out", recipe.with_suffix(".pt")), INPUT, "take the place of")
    assert_explained(edgecnn("train", recipe, "--out", recipe), INPUT, "needs another ending")
    assert recipe.read_text() == before


def test_what_a_library_warns_of_on_the_way_is_not_shown(edgecnn: Run, tmp_path: Path) -> None:
    """ShuffleNet's splits are exported as sequences, at which a shape inference in between fails, with a traceback."""
    pytest.importorskip("torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'")
    source = "torchvision:shufflenet_v2_x0_5@random"
    done = edgecnn("convert", source, "--precision", "fp32", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
