"""From the recipe to a running network on a CPU, through the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgecnn.backends.ort import OrtSession
from edgecnn.deploy.bundle import load_bundle
from edgecnn.vision.preprocess import preprocess

Run = Any  # the fixture edgecnn of conftest.py
DEVICE = "onnxruntime-x86"


@pytest.fixture(scope="module")
def bundle(edgecnn: Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The demo's network for this device, and what its conversion printed."""
    del digits  # its training is in the store
    out = tmp_path_factory.mktemp("x86") / "bundle"
    done = edgecnn("convert", "digits-lenet5", "--device", DEVICE, "--precision", "auto", "--out", out, "--json")
    assert done.code == 0, done.err
    return out, done.json


def test_the_conversion_says_what_it_is_for_and_who_judged(bundle: tuple[Path, Any]) -> None:
    _, document = bundle
    assert document["precision"] == "int8"
    assert document["target"] == {"device": DEVICE, "compute_capability": None, "tensorrt": None}
    assert document["verdict"]["accepted"]
    assert document["verdict"]["compiler"] == f"ONNX Runtime {onnxruntime.__version__}, CPU"
    accuracy = document["stages"][-1]["accuracy"]
    assert accuracy["agreement"] >= 0.99
    assert accuracy["top1"] >= 0.97


def test_every_layer_runs_in_integers(bundle: tuple[Path, Any], tmp_path: Path) -> None:
    out, document = bundle
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(out / "model.onnx"), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    integer = operators.count("QLinearConv") + operators.count("QGemm")
    assert integer == document["stages"][-1]["detail"]["layers in INT8"] == 5
    assert not {"Conv", "FusedConv", "Gemm"} & set(operators)


def test_golden_outputs_are_those_of_the_integer_kernels(bundle: tuple[Path, Any]) -> None:
    loaded = load_bundle(bundle[0])
    session = OrtSession(loaded.model)
    for frame, expected in zip(loaded.golden_frames(), loaded.golden_outputs(), strict=True):
        found = session.run({session.inputs[0].name: preprocess(frame, loaded.manifest.preprocess)})
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    session.close()


def test_the_report_says_what_it_is(bundle: tuple[Path, Any]) -> None:
    page = (bundle[0] / "report.html").read_text(encoding="utf-8")
    assert f"{DEVICE}, ONNX Runtime on the CPU" in page
    assert f"Accepted by ONNX Runtime {onnxruntime.__version__}, CPU" in page
    assert "standing in" not in page
    assert "not the target" not in page


def test_it_runs_and_is_profiled_and_evaluated(
    edgecnn: Run, bundle: tuple[Path, Any], held_out: Path, tmp_path: Path
) -> None:
    out, document = bundle
    ran = edgecnn("run", out, "--source", "synthetic://64x64@30", "--max-frames", 5, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["processed"] == 5
    profiled = edgecnn("profile", out, "--out", tmp_path, "--seconds", 0.2, "--threads", 1, "--json")
    assert profiled.code == 0, profiled.err
    assert profiled.json["backend"].startswith("ONNX Runtime")
    evaluated = edgecnn("evaluate", out, "--data", held_out, "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["top1"] == document["stages"][-1]["accuracy"]["top1"]


def test_it_is_checked_and_listed(edgecnn: Run, bundle: tuple[Path, Any]) -> None:
    done = edgecnn("check", bundle[0], "--json")
    assert (done.code, done.json["device"], done.json["accepted"]) == (0, DEVICE, True)
    assert any(
        device["name"] == DEVICE and device["runtime"] == "onnxruntime" for device in edgecnn("devices", "--json").json
    )
    assert "ONNX Runtime on an x86-64 CPU" in edgecnn("devices", DEVICE).out


def test_there_is_no_fp16(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    del digits
    done = edgecnn("convert", "digits-lenet5", "--device", DEVICE, "--precision", "fp16", "--out", tmp_path / "bundle")
    assert done.code == 1
    assert "has no FP16" in done.err
    assert "--precision fp32" in done.err
