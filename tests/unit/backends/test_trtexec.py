"""Commands for every generation of trtexec, and what is read from what it wrote."""

from __future__ import annotations

import json

import pytest

from edgecnn.backends.inspector import computed_in_float, read_layer_types
from edgecnn.backends.trtexec import (
    TrtexecLog,
    compose,
    read_log,
    read_times,
    require_passed,
)
from edgecnn.core.engine import BuildOptions, ShapeProfile
from edgecnn.errors import GateMissed, InputError

PRECISION_FLAGS = {"--fp16", "--int8", "--stronglyTyped"}
SAME_TIMING = {"--noDataTransfers", "--useSpinWait", "--useCudaGraph"}
LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=model.onnx
[10/21/2025-15:15:45] [I] === Model Options ===
[10/21/2025-15:15:45] [I] === Device Information ===
[10/21/2025-15:15:45] [I] Selected Device: Orin
[10/21/2025-15:15:45] [I] Compute Capability: 8.7
[10/21/2025-15:15:45] [I] TensorRT version: 8.5.2
[10/21/2025-15:16:56] [I] === Performance summary ===
[10/21/2025-15:16:56] [I] Throughput: 1099.65 qps
[10/21/2025-15:16:56] [I] Latency: min = 1.12085 ms, max = 5.30969 ms, mean = 1.21 ms, median = 1.2 ms, \
percentile(90%) = 1.3 ms, percentile(95%) = 1.4 ms, percentile(99%) = 1.5 ms
[10/21/2025-15:16:56] [I] Enqueue Time: min = 0.1 ms, max = 0.3 ms, mean = 0.2 ms, median = 0.2 ms, \
percentile(99%) = 0.3 ms
[10/21/2025-15:16:56] [I] GPU Compute Time: min = 8e-01 ms, max = 2 ms, mean = 0.9 ms, median = 0.87 ms, \
percentile(99%) = 0.95 ms, percentile(99.9%) = 0.97 ms
[10/21/2025-15:16:56] [I] Total Host Walltime: 3.00186 s
&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=model.onnx
"""


def flags_for(version: str, precision: str = "int8", **options: object) -> list[str]:
    return compose("model.onnx", version, precision, BuildOptions.model_validate(options))[1:]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "precision", "flags"),
    [
        ("8.2.1", "fp32", set()),
        ("8.2.1", "fp16", {"--fp16"}),
        ("8.5.2", "int8", {"--int8"}),
        ("10.3.0", "int8", {"--int8", "--fp16"}),
        ("10.12.0", "int8", {"--stronglyTyped"}),
        ("10.16.2", "fp16", {"--stronglyTyped"}),
        ("11.1", "int8", set()),
    ],
)
def test_precisions_are_those_of_the_network(version: str, precision: str, flags: set[str]) -> None:
    assert set(flags_for(version, precision)) & PRECISION_FLAGS == flags


@pytest.mark.parametrize(
    ("version", "flag"),
    [("8.2.1", "--workspace=256"), ("8.4.0", "--memPoolSize=workspace:256"), ("11.1", "--memPoolSize=workspace:256")],
)
def test_the_workspace_changed_its_flag(version: str, flag: str) -> None:
    assert flag in flags_for(version, workspace_bytes=256 << 20)
    assert not any("orkspace" in each for each in flags_for(version))


@pytest.mark.parametrize("version", ["8.2.1", "10.3.0", "10.16.2"])
def test_before_11_its_defaults_are_asked_for(version: str) -> None:
    """So that figures of both mean the same."""
    assert set(flags_for(version)) >= SAME_TIMING
    assert not SAME_TIMING & set(flags_for("11.4"))


def test_choices() -> None:
    shapes = ShapeProfile(min=(1, 3, 32, 32), opt=(1, 3, 64, 64), max=(4, 3, 64, 64))
    flags = flags_for(
        "10.3.0",
        optimization_level=5,
        version_compatible=True,
        hardware_compatible=True,
        sparse_weights=True,
        dla_core=1,
        shapes={"a": shapes, "b": shapes},
    )
    assert set(flags) >= {
        "--onnx=model.onnx",
        "--saveEngine=engine.plan",
        "--builderOptimizationLevel=5",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--sparsity=enable",
        "--useDLACore=1",
        "--allowGPUFallback",
        "--minShapes=a:1x3x32x32,b:1x3x32x32",
        "--optShapes=a:1x3x64x64,b:1x3x64x64",
        "--maxShapes=a:4x3x64x64,b:4x3x64x64",
    }


@pytest.mark.parametrize("option", ["optimization_level", "version_compatible", "hardware_compatible"])
def test_what_came_with_8_6(option: str) -> None:
    assert flags_for("8.6.2", **{option: 1})
    with pytest.raises(InputError, match=r"TensorRT 8\.5\.2 has neither"):
        flags_for("8.5.2", **{option: 1})


def test_a_log() -> None:
    log = read_log(LOG)
    assert (log.version, log.passed, log.errors, log.throughput_qps) == ("8.5.2", True, (), 1099.65)
    assert (log.gpu, log.compute_capability) == ("Orin", "8.7")
    assert log.figures["Latency"] == {
        "min": 1.12085, "max": 5.30969, "mean": 1.21, "median": 1.2, "p90": 1.3, "p95": 1.4, "p99": 1.5
    }  # fmt: skip
    assert log.figures["GPU Compute Time"]["min"] == 0.8
    assert log.figures["GPU Compute Time"]["p99.9"] == 0.97
    assert set(log.figures) == {"Latency", "Enqueue Time", "GPU Compute Time"}
    require_passed(log)


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec", "8.2.1"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec", "10.3.0"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b47] # trtexec", "10.16.2"),
        ("[01/01/2026-00:00:00] [I] TensorRT version: 11.4.1", "11.4.1"),
        ("nothing", ""),
    ],
)
def test_versions(banner: str, version: str) -> None:
    assert read_log(banner).version == version


def test_a_failure_in_its_words() -> None:
    log = read_log(
        "[09/23/2021-10:20:45] [E] Error[2]: no memory\n[09/23/2021-10:20:45] [E] Engine set up failed\n&&&& FAILED"
    )
    assert log.errors == ("Error[2]: no memory", "Engine set up failed")
    with pytest.raises(GateMissed, match="Engine set up failed"):
        require_passed(log)
    with pytest.raises(GateMissed, match="without a word"):
        require_passed(TrtexecLog("", False, (), {}, None))


def test_times() -> None:
    entry = {
        "startEnqMs": 0.1, "endEnqMs": 0.2, "startComputeMs": 0.2, "endComputeMs": 1.1,
        "h2dMs": 0, "computeMs": 0.873472, "d2hMs": 0, "latencyMs": 0.873472,
    }  # fmt: skip
    assert read_times(json.dumps([entry, entry])) == (0.873472, 0.873472)


def test_types_of_layers() -> None:
    value = {"Name": "x", "Location": "Device", "Dimensions": [1, 8], "Format/Datatype": "Row major Int8 format"}
    document = {
        "Layers": [{"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [value], "Outputs": []}],
        "Bindings": ["x", "y"],
    }
    assert read_layer_types(json.dumps(document)) == {"conv": ("Row major Int8 format",)}
    assert read_layer_types(json.dumps({"Layers": ["conv", "relu"], "Bindings": []})) == {}


def test_layers_that_the_engine_computes_in_float() -> None:
    types = {
        "conv1 + relu1": ("Thirty-two wide channel vectorized row major Int8 format",),
        "/block.1/conv 2 + /block.1/add": ("Row major linear FP32", "Row major Int8 format"),
        "PWN(sigmoid3, mul3)": ("Row major Int8 format",),
        "conv4 + conv44": ("Channel major FP16 format",),
        "Reformatting CopyNode for Input Tensor 0 to conv4 + conv44": ("Row major Int8 format",),
        "{ForeignNode[conv5...conv9]}": ("Row major linear FP32",),
    }
    layers = ["conv1", "/block.1/conv 2", "mul3", "conv4", "conv44", "conv7"]
    assert computed_in_float(layers, types) == ("conv4", "conv44")
    assert computed_in_float([], types) == ()


@pytest.mark.parametrize("text", ["", "{", "3", "[3]", "{}"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="write it again"):
        read_times(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}'])
def test_other_layer_files_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="write it again"):
        read_layer_types(text)
