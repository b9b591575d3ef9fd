"""``edgecnn profile`` and ``edgecnn compare`` as they are called."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgecnn.profiling.compare import Comparison
from edgecnn.profiling.records import read_profile

Run = Any  # the fixture edgecnn of conftest.py

QUICK = ("--seconds", 0.2, "--processes", 1, "--threads", 1)


@pytest.fixture(scope="module")
def measured(edgecnn: Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "one"
    done = edgecnn("profile", digits, "--out", out, "--processes", 2, "--seconds", 0.2, "--csv", "--trace", "--json")
    assert done.code == 0, done.err
    return out


def test_all_its_files(measured: Path) -> None:
    profile = read_profile(measured)
    samples = len(profile.total_ns())
    with (measured / "samples.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == samples
    assert json.loads((measured / "trace.json").read_text())["otherData"]["samples_left_out"] == 0
    assert "| **total** |" in (measured / "profile.md").read_text()
    assert profile.environment.packages["edgecnn"]
    assert profile.before is not None


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        (("--mode", "fixed-rate", "--fps", 200), ("wait", "preprocess", "infer", "decode")),
        (("--mode", "offline"), ("infer",)),
        (("--mode", "cold-start", "--repeats", 2), ("start", "open", "first frame")),
        (("--mode", "sustained"), ("preprocess", "infer", "decode")),
        (("--mode", "end-to-end", "--source", "synthetic://64x64@100"), ("capture to result",)),
    ],
)
def test_modes(edgecnn: Run, digits: Path, tmp_path: Path, options: tuple[Any, ...], stages: tuple[str, ...]) -> None:
    done = edgecnn("profile", digits, "--out", tmp_path, *QUICK, *options, "--json")
    assert done.code == 0, done.err
    profile = read_profile(tmp_path)
    assert (profile.mode, profile.stages) == (options[1], stages)
    assert done.json["figures"]["p50_ms"] > 0
    assert profile.bundle in (tmp_path / "profile.html").read_text()


def test_two_bundles_in_turn(edgecnn: Run, digits: Path, fp32: Path, tmp_path: Path) -> None:
    done = edgecnn(
        "profile", digits, "--against", fp32, "--out", tmp_path, "--seconds", 0.2, "--processes", 2, "--json"
    )
    assert done.code == 0, done.err
    assert [row["name"] for row in done.json["profiles"]] == ["against", "this"]
    one, two = read_profile(tmp_path / "against"), read_profile(tmp_path)
    assert one.session == two.session
    assert (one.precision, two.precision) == ("fp32", "int8")
    comparison = Comparison.model_validate_json((tmp_path / "compare.json").read_text())
    assert comparison.profiles[1].method == "in pairs"
    again = edgecnn("compare", tmp_path / "against", tmp_path, "--json")
    assert again.json["profiles"][1]["ratios"] == done.json["profiles"][1]["ratios"]


def test_the_gate(edgecnn: Run, measured: Path, tmp_path: Path) -> None:
    other = tmp_path / "two"
    shutil.copytree(measured, other)
    passed = edgecnn("compare", measured, other, "--fail-if", "p50_ratio_low > 1.5 or top1_drop > 50")
    assert passed.code == 0, passed.err
    assert "cannot tell" in passed.out
    assert "so few processes show no difference" in passed.err
    missed = edgecnn("compare", measured, "--fail-if", "p99_ms > 0 and not p99_ms > 1000000")
    assert missed.code == 1
    assert "error: --fail-if p99_ms > 0" in missed.err
    unknown = edgecnn("compare", measured, "--fail-if", "p98_ms > 0")
    assert unknown.code == 2
    assert "has no figure p98_ms" in unknown.err
    assert "p99_ms" in unknown.err.splitlines()[-1]


def test_unlike_measurements_are_refused(edgecnn: Run, measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured, tmp_path / "two")
    path = tmp_path / "two" / "profile.json"
    document = json.loads(path.read_text())
    document["environment"]["machine"] = "another machine"
    path.write_text(json.dumps(document))
    refused = edgecnn("compare", measured, path.parent)
    assert refused.code == 2
    assert "machine another machine and not" in refused.err
    told = edgecnn("compare", measured, path, "--unlike", "--out", tmp_path / "out")
    assert told.code == 0, told.err
    assert {found.name for found in (tmp_path / "out").iterdir()} == {"compare.json", "compare.html", "compare.md"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "nothing to measure"),
        (("BUNDLE", "--mode", "fixed-rate"), "wants a rate"),
        (("BUNDLE", "--fps", 30), "means nothing to --mode single-stream"),
        (("BUNDLE", "--mode", "end-to-end"), "go together"),
        (("BUNDLE", "--source", "x"), "go together"),
        (("BUNDLE", "--against", "BUNDLE", "--mode", "offline"), "does not go with --mode offline"),
        (("BUNDLE", "--times", "x.json"), "--times goes with --from-trtexec"),
        (("--from-trtexec", "none.log"), "none.log: no such file"),
    ],
)
def test_options_that_do_not_go_together(
    edgecnn: Run, digits: Path, tmp_path: Path, options: tuple[Any, ...], told: str
) -> None:
    done = edgecnn("profile", *(digits if option == "BUNDLE" else option for option in options), "--out", tmp_path)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_what_trtexec_wrote(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    log = tmp_path / "trtexec.log"
    log.write_text("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=m.onnx --noDataTransfers\n")
    times = [{"startEnqMs": float(index), "computeMs": 0.5, "h2dMs": 0, "d2hMs": 0} for index in range(50)]
    profile = [{"count": 50}, {"name": "conv1 + relu1", "averageMs": 0.4}, {"name": "fc3", "averageMs": 0.1}]
    (tmp_path / "times.json").write_text(json.dumps(times))
    (tmp_path / "layers.json").write_text(json.dumps(profile))
    options = ("--from-trtexec", log, "--times", tmp_path / "times.json", "--profile", tmp_path / "layers.json")
    done = edgecnn("profile", digits, *options, "--out", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    assert done.json["figures"]["p50_ms"] == 0.5
    found = read_profile(tmp_path / "out")
    assert [layer.layers for layer in found.layers] == [("conv1", "relu1"), ("fc3",)]
    assert found.trtexec is not None
    assert not found.trtexec.transfers
