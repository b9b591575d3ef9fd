"""Profiles from trtexec's files, of versions before and after its defaults changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecnn.core.layer_costs import LayerCost, LayerCosts
from edgecnn.errors import InputError
from edgecnn.profiling.compare import compare_profiles
from edgecnn.profiling.figures import figures_of
from edgecnn.profiling.from_trtexec import TrtexecFiles, profile_from_trtexec
from edgecnn.profiling.measure import Identity
from edgecnn.profiling.report.profile_page import render_profile

OPTIONS = """\
[10/21/2025-15:16:09] [I] === Inference Options ===
[10/21/2025-15:16:09] [I] Data transfers: {transfers}
[10/21/2025-15:16:09] [I] Spin-wait: Disabled
[10/21/2025-15:16:09] [I] CUDA Graph: Disabled
"""
LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v{digits}] # trtexec --onnx=model.onnx {flags}
[10/21/2025-15:15:45] [I] Selected Device: Orin
{options}[10/21/2025-15:16:56] [I] Throughput: 1099.65 qps
&&&& PASSED TensorRT.trtexec [TensorRT v{digits}] # trtexec --onnx=model.onnx {flags}
"""
TIMES = [
    {"startEnqMs": 10.0 + index, "h2dMs": 0.05, "computeMs": 0.8 + 0.01 * (index % 5), "d2hMs": 0.01, "latencyMs": 0.9}
    for index in range(200)
]
PROFILE = [
    {"count": 36},
    {"name": "conv1 + relu1", "timeMs": 3.6, "averageMs": 0.1, "percentage": 40},
    {"name": "__myl_Fc", "timeMs": 5.0, "averageMs": 0.14, "percentage": 56},
    {"name": "Reformatting CopyNode for Input Tensor 0 to conv1", "timeMs": 0.4, "averageMs": 0.01, "percentage": 4},
]
LAYERS = {"Layers": [{"Name": "__myl_Fc", "Metadata": "[ONNX Layer: fc]"}, "conv1 + relu1"], "Bindings": []}
COSTS = LayerCosts(
    layers=tuple(LayerCost(name=name, op_type="Conv", macs=10, moved_bytes=10) for name in ("conv1", "relu1", "fc")),
    nodes={name: name for name in ("conv1", "relu1", "fc")},
    tensors={},
)
IDENTITY = Identity("leaves", Path("model.onnx"), "ab" * 32, "int8", "orin-nano-8gb", 0, graph=COSTS)


def files(folder: Path, digits: str = "100300", options: str = "", flags: str = "") -> TrtexecFiles:
    folder.mkdir(exist_ok=True)
    contents = {
        "log": LOG.format(digits=digits, options=options, flags=flags),
        "times": json.dumps(TIMES),
        "profile": json.dumps(PROFILE),
        "layers": json.dumps(LAYERS),
    }
    for name, content in contents.items():
        (folder / name).write_text(content)
    return TrtexecFiles(*(folder / name for name in contents))


def test_what_it_exported_becomes_a_profile(tmp_path: Path) -> None:
    profile = profile_from_trtexec(files(tmp_path), IDENTITY)
    assert (profile.mode, profile.backend, profile.bundle) == ("trtexec", "TensorRT 10.3.0, trtexec", "leaves")
    assert profile.environment.machine == "Orin"
    assert profile.stages == ("to device", "infer", "from device")
    figures = figures_of(profile)
    assert (figures["infer_p50_ms"], figures["p50_ms"]) == (pytest.approx(0.82), pytest.approx(0.88))
    assert figures["fps"] == pytest.approx(1000, rel=0.01)
    slowest, conv, copy = profile.layers
    assert (slowest.name, slowest.layers, slowest.calls) == ("__myl_Fc", ("fc",), 36)
    assert (conv.layers, conv.mean_ns) == (("conv1", "relu1"), pytest.approx(100_000))
    assert (copy.layers, copy.op_type) == ((), "Reformatting CopyNode")
    assert sum(layer.part for layer in profile.layers) == pytest.approx(1)
    assert "Slowest layers" in render_profile(profile)


def test_without_a_bundle_layers_keep_the_engines_names(tmp_path: Path) -> None:
    profile = profile_from_trtexec(files(tmp_path), None)
    assert (profile.bundle, profile.target, profile.precision) == ("log", "Orin", "not stated")
    assert all(layer.layers == () for layer in profile.layers)


@pytest.mark.parametrize(
    ("digits", "options", "flags", "wanted"),
    [
        ("100300", "", "", (True, False, False, False)),
        ("100300", "", "--noDataTransfers --useSpinWait --useCudaGraph", (False, True, True, False)),
        ("110100", "", "", (False, True, True, False)),
        ("110100", OPTIONS.format(transfers="Enabled"), "", (True, False, False, True)),
        ("8502", OPTIONS.format(transfers="Disabled"), "", (False, False, False, True)),
    ],
)
def test_defaults_of_10_and_11_are_told_apart(
    tmp_path: Path, digits: str, options: str, flags: str, wanted: tuple[bool, ...]
) -> None:
    profile = profile_from_trtexec(files(tmp_path, digits, options, flags), None)
    found = profile.trtexec
    assert found is not None
    assert (found.transfers, found.spin_wait, found.cuda_graph, found.stated) == wanted
    assert (profile.stages == ("infer",)) is not wanted[0]
    assert f"transfers {'on' if wanted[0] else 'off'}" in profile.notes[0]


def test_figures_of_both_are_not_compared_unless_told(tmp_path: Path) -> None:
    old, new = (profile_from_trtexec(files(tmp_path / digits, digits), None) for digits in ("100300", "110100"))
    with pytest.raises(InputError) as caught:
        compare_profiles({"old": old, "new": new})
    for difference in ("transfers off and not on", "spin-wait on and not off", "CUDA graph on and not off"):
        assert difference in caught.value.message
    assert compare_profiles({"old": old, "new": new}, unlike=True).profiles[1].unlike


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"log": "hello"}, "it names no TensorRT version"),
        ({"times": "[]"}, "no inference in it"),
        ({"times": '[{"x": 1}]'}, "no times of inferences"),
        ({"times": "{"}, "times.json: not JSON"),
        ({"profile": '[{"name": "a"}]'}, "no times of layers"),
        ({"layers": "[]"}, "no list of layers"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, change: dict[str, str], told: str) -> None:
    given = files(tmp_path)
    for name, content in change.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=told):
        profile_from_trtexec(given, IDENTITY)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    given = files(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        profile_from_trtexec(TrtexecFiles(tmp_path / "none"), None)
    with pytest.raises(InputError, match="prints percentiles, and no samples"):
        profile_from_trtexec(TrtexecFiles(given.log), None)


def test_the_names_of_times_before_8_5(tmp_path: Path) -> None:
    given = files(tmp_path, "8201")
    old = [{"startInMs": 1.0 + index, "inMs": 0.2, "computeMs": 1.0, "outMs": 0.1} for index in range(20)]
    assert given.times is not None
    given.times.write_text(json.dumps(old))
    assert figures_of(profile_from_trtexec(given, None))["p50_ms"] == pytest.approx(1.3)
