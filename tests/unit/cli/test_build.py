"""What edgecnn build makes of its options."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from edgecnn.cli.build import command
from edgecnn.cli.build_choices import arguments_of, options_of
from edgecnn.core.engine import BuildOptions, Control, EngineRecord, ShapeProfile
from edgecnn.deploy import remote, remote_trtexec
from edgecnn.errors import InputError

NOTHING = {
    "--workspace": None,
    "--level": None,
    "--version-compatible": False,
    "--hardware-compatible": False,
    "--sparse": False,
    "--dla-core": None,
    "--shape": None,
}


def test_nothing_is_asked_for() -> None:
    assert options_of(NOTHING) == BuildOptions()
    assert arguments_of(NOTHING) == []


def test_everything_is_asked_for_here_and_there() -> None:
    choices = {
        "--workspace": 64,
        "--level": 0,
        "--version-compatible": True,
        "--hardware-compatible": True,
        "--sparse": True,
        "--dla-core": 0,
        "--shape": ["x=1x3:2x3:4x3", "a=b=1:1:2"],
    }
    assert options_of(choices) == BuildOptions(
        workspace_bytes=64 << 20,
        optimization_level=0,
        version_compatible=True,
        hardware_compatible=True,
        sparse_weights=True,
        dla_core=0,
        shapes={
            "x": ShapeProfile(min=(1, 3), opt=(2, 3), max=(4, 3)),
            "a=b": ShapeProfile(min=(1,), opt=(1,), max=(2,)),
        },
    )
    assert " ".join(arguments_of(choices)) == (
        "--workspace 64 --level 0 --version-compatible --hardware-compatible --sparse --dla-core 0 "
        "--shape x=1x3:2x3:4x3 --shape a=b=1:1:2"
    )


@pytest.mark.parametrize("text", ["", "x", "x=", "x=1x3", "x=1:2", "x=1:2:a", "=1:2:3", "x=1:2:3:4", "x=1:²:3"])
def test_shapes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="not of the form"):
        options_of({**NOTHING, "--shape": [text]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fresh": True}, "--fresh: goes with --on"),
        ({"remote_command": "e"}, "--remote-command: goes with --on"),
        ({"ssh_config": Path("c")}, "--ssh-config: goes with --on"),
        ({"with_trtexec": "auto"}, "--with-trtexec: goes with --on"),
        ({"on": "jetson", "compiler": "tensorrt-rtx"}, "--compiler is not for a Jetson"),
        ({"on": "jetson", "hardware_compatible": True}, "--hardware-compatible is not for a Jetson"),
        ({"on": "jetson", "with_trtexec": "auto", "remote_command": "e"}, "--remote-command is for edgecnn"),
        ({"on": "jetson", "ssh_config": Path("none")}, "no such file"),
        ({"capability": "8.6"}, "TensorRT builds for the GPU that is present"),
        ({"compiler": "tensorrt-rtx", "capability": "9.9"}, r"it builds for 7\.5"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        command(tmp_path / "bundle", tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"stands for a model")
    write = runpy.run_path(str(Path(__file__).parents[1] / "deploy" / "bundle_writer.py"))["write"]
    return write(tmp_path / "bundle", tmp_path / "model.onnx", "small").path


@pytest.mark.parametrize(("asked", "given"), [(None, ["--profile"]), (True, ["--profile"]), (False, [])])
def test_on_a_device_it_is_measured_unless_told_not_to(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool | None, given: list[str]
) -> None:
    told: list[Any] = []

    def build_on(*_: object, options: list[str], **__: object) -> None:
        told.append(options)
        write_engine(tmp_path / "out")

    monkeypatch.setattr(remote, "build_on", build_on)
    command(bundle, tmp_path / "out", on="jetson", profiles=asked)
    assert told == [given]


def test_what_trtexec_measures_becomes_a_report(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build_with_trtexec(*_: object, **__: object) -> remote_trtexec.TimedThere:
        record = write_engine(tmp_path / "out")
        times = [
            {"startEnqMs": index, "h2dMs": 0, "computeMs": 4.0, "d2hMs": 0, "latencyMs": 4.0} for index in range(99)
        ]
        contents = {
            "trtexec.log": "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec\n[I] Selected Device: Tegra X1\n"
            "[I] Throughput: 250 qps\n&&&& PASSED TensorRT.trtexec [TensorRT v8201] # trtexec\n",
            "times.json": json.dumps(times),
            "profile.json": json.dumps([{"count": 2}, {"name": "conv1", "averageMs": 3.0, "percentage": 100}]),
            "layers.json": json.dumps({"Layers": ["conv1"], "Bindings": []}),
        }
        for name, content in contents.items():
            (tmp_path / "out" / name).write_text(content)
        return remote_trtexec.TimedThere(None, record, (4.0,) * 99)  # type: ignore[arg-type]

    monkeypatch.setattr(remote_trtexec, "build_with_trtexec", build_with_trtexec)
    command(bundle, tmp_path / "out", on="jetson", with_trtexec="auto")
    profile = json.loads((tmp_path / "out" / "profile" / "profile.json").read_text())
    assert (profile["bundle"], profile["precision"], profile["backend"]) == ("small", "fp32", "TensorRT 8.2.1, trtexec")
    assert [layer["name"] for layer in profile["layers"]] == ["conv1"]


def write_engine(folder: Path) -> EngineRecord:
    folder.mkdir()
    record = EngineRecord(
        compiler="tensorrt",
        version="8.2.1",
        compute_capability="5.3",
        gpu="Tegra X1",
        l4t="32.7.1",
        model_sha256="",
        plan_sha256="",
        plan_bytes=9,
        options=BuildOptions(),
        control=Control(kept="int8", reason="no control"),
    )
    (folder / "engine.json").write_text(record.model_dump_json())
    return record
