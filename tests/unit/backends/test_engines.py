"""Building, keeping and finding engines: real processes, with stand-ins for TensorRT and CUDA in them."""

from __future__ import annotations

import json
import os
import runpy
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecnn.backends import engines
from edgecnn.backends.engines import Machine, build_engine, fitting_plan, read_record
from edgecnn.backends.session import open_session
from edgecnn.core.engine import BuildOptions, ShapeProfile
from edgecnn.core.files import hash_file
from edgecnn.errors import EnvironmentMissing, GateMissed, InputError

pytestmark = pytest.mark.slow
BUNDLE_WRITER = Path(__file__).parents[1] / "deploy" / "bundle_writer.py"
STAND_INS = Path(__file__).parents[2] / "stand_ins"
MIB = 1 << 20
LIMIT_S = 20.0


class _Told:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[tuple[str, int | None]] = []
        self.steps = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def task(self, label: str, total: int | None = None) -> _Told:
        self.tasks.append((label, total))
        return self

    def advance(self) -> None:
        self.steps += 1

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *_: object) -> None:
        pass


Behave = Callable[..., None]


@pytest.fixture(autouse=True)
def behave(monkeypatch: pytest.MonkeyPatch) -> Behave:
    """Says how TensorRT and the GPU behave, here and in child processes."""
    monkeypatch.setenv("PYTHONPATH", f"{STAND_INS}{os.pathsep}{Path(engines.__file__).parents[2]}")
    for name in ("tensorrt", "cuda", "cuda.bindings", "cuda.bindings.runtime"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(STAND_INS))

    def say(behaviour: str = "", **variables: str) -> None:
        monkeypatch.setenv("STAND_IN", behaviour)
        for name, text in variables.items():
            monkeypatch.setenv(f"STAND_IN_{name}", text)
        for name in ("tensorrt", "cuda.bindings.runtime"):
            sys.modules.pop(name, None)

    return say


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"stands for a model")
    return path


def plan_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "engine.plan").read_bytes())


def test_an_engine_and_what_it_was_built_for(model: Path, tmp_path: Path) -> None:
    told, out = _Told(), tmp_path / "engine"

    record = build_engine(model, out, progress=told)

    assert read_record(out) == record
    assert (record.compiler, record.version, record.gpu, record.compute_capability) == (
        "tensorrt", "10.3.0", "Orin", "8.7"
    )  # fmt: skip
    assert record.model_sha256 == hash_file(model)
    assert record.plan_sha256 == hash_file(out / "engine.plan")
    assert record.timing_cache_sha256 == hash_file(out / "timing.cache")
    assert plan_of(out)["flags"] == ["INT8"]
    assert (record.int8_layers, record.computed_in_float) == (2, ("conv2",))
    assert sorted(path.name for path in out.iterdir()) == ["engine.json", "engine.plan", "layers.json", "timing.cache"]
    assert told.tasks == [("Building engine", 2)]
    assert told.steps == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "model.onnx"]


def test_choices_reach_tensorrt(model: Path, tmp_path: Path) -> None:
    options = BuildOptions(
        workspace_bytes=64 * MIB,
        optimization_level=5,
        version_compatible=True,
        hardware_compatible=True,
        sparse_weights=True,
        dla_core=0,
    )

    record = build_engine(model, tmp_path / "engine", options=options)

    assert record.options == options
    assert plan_of(tmp_path / "engine") == {
        "flags": ["INT8", "VERSION_COMPATIBLE", "SPARSE_WEIGHTS", "GPU_FALLBACK"],
        "workspace": 64 * MIB,
        "level": 5,
        "hardware": "AMPERE_PLUS",
        "device": "DLA",
        "core": 0,
        "profiles": [],
        "network": 0,
        "model": "model",
    }


def test_a_dla_that_is_not_there(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GateMissed, match="no DLA core 1 on this board"):
        build_engine(model, tmp_path / "engine", options=BuildOptions(dla_core=1))


def test_open_sizes_want_shapes(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave(SHAPE="[1, 3, -1, 8]")
    shapes = ShapeProfile(min=(1, 3, 4, 8), opt=(1, 3, 8, 8), max=(1, 3, 16, 8))

    with pytest.raises(GateMissed, match=r"input leaves sizes open, \(1, 3, -1, 8\)"):
        build_engine(model, tmp_path / "engine")
    with pytest.raises(GateMissed, match="shapes are given for other"):
        build_engine(model, tmp_path / "engine", options=BuildOptions(shapes={"input": shapes, "other": shapes}))
    build_engine(model, tmp_path / "engine", options=BuildOptions(shapes={"input": shapes}))

    assert plan_of(tmp_path / "engine")["profiles"] == [{"input": [[1, 3, 4, 8], [1, 3, 8, 8], [1, 3, 16, 8]]}]


@pytest.mark.parametrize("short", ["error", "kill"])
def test_where_memory_runs_out_less_is_taken(model: Path, tmp_path: Path, behave: Behave, short: str) -> None:
    behave(f"needs={300 * MIB};short={short}")
    told = _Told()

    record = build_engine(model, tmp_path / "engine", progress=told)

    assert (record.options.workspace_bytes, record.options.optimization_level) == (256 * MIB, 0)
    assert plan_of(tmp_path / "engine")["level"] == 0
    assert told.notes == [
        "memory ran out with the default workspace: once more with a workspace of 1024 MiB",
        "memory ran out with a workspace of 1024 MiB: once more with a workspace of 256 MiB and few kernels tried",
    ]


def test_there_is_a_last_word_on_memory(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave("needs=1;short=kill")
    with pytest.raises(
        GateMissed, match=r"memory ran out in each of 4 builds, .* 64 MiB and few kernels tried\n.*swap"
    ):
        build_engine(model, tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


def test_a_small_workspace_is_not_made_smaller(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave("needs=1;short=error")
    told = _Told()
    with pytest.raises(GateMissed, match=r"in each of 2 builds, .* 8 MiB and few kernels"):
        build_engine(model, tmp_path / "engine", options=BuildOptions(workspace_bytes=8 * MIB), progress=told)
    behave("needs=1;text=no tactics due to insufficient workspace")
    with pytest.raises(GateMissed, match=r"insufficient workspace\ngive it more with --workspace"):
        build_engine(model, tmp_path / "engine")


def test_on_a_jetson_the_workspace_is_a_part_of_what_is_free(model: Path, tmp_path: Path) -> None:
    system = tmp_path / "system"
    (system / "etc").mkdir(parents=True)
    (system / "proc").mkdir()
    (system / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    (system / "proc/meminfo").write_text("MemTotal:  7990000 kB\nMemAvailable:  2097152 kB\n")

    record = build_engine(model, tmp_path / "engine", system=system)

    assert record.l4t == "36.4.3"
    with pytest.raises(InputError, match="no such engine for a Jetson"):
        build_engine(model, tmp_path / "other", options=BuildOptions(hardware_compatible=True), system=system)
    assert record.options.workspace_bytes == 1024 * MIB


def test_elsewhere_it_is_a_part_of_what_the_gpu_has_free(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave(FREE=str(1000 * MIB))
    assert build_engine(model, tmp_path / "engine").options.workspace_bytes == 800 * MIB


@pytest.fixture
def control(tmp_path: Path) -> Path:
    path = tmp_path / "control.onnx"
    path.write_bytes(b"stands for the same in FP16")
    return path


@pytest.mark.parametrize(("fp16_ms", "kept"), [("6", "int8"), ("1", "fp16")])
def test_int8_is_kept_only_where_it_is_faster_than_its_control(
    model: Path, control: Path, tmp_path: Path, behave: Behave, fp16_ms: str, kept: str
) -> None:
    behave(MS_model="3", MS_control=fp16_ms)
    out, told = tmp_path / "engine", _Told()

    record = build_engine(model, out, progress=told, control=control)

    assert read_record(out) == record
    assert record.control is not None
    assert record.control.kept == kept
    assert record.control.int8_ms == pytest.approx(3, rel=0.5), record.control.reason
    assert record.control.fp16_ms == pytest.approx(float(fp16_ms), rel=0.5)
    assert plan_of(out)["model"] == ("model" if kept == "int8" else "control")
    assert record.model_sha256 == hash_file(model if kept == "int8" else control)
    assert record.plan_sha256 == hash_file(out / "engine.plan")
    assert record.timing_cache_sha256 == hash_file(out / "timing.cache")
    assert sorted(path.name for path in out.iterdir()) == ["engine.json", "engine.plan", "layers.json", "timing.cache"]
    assert told.notes[-1].endswith("is kept")
    # It serves the bundle again, whichever it is.
    assert fitting_plan(model, out, "refuse", control=control) == out / "engine.plan"
    session = open_session(model, "tensorrt", engine=out, on_misfit="refuse", control=control)
    assert session.runs_control == (kept == "fp16")
    session.close()
    control.write_bytes(b"another")
    if kept == "fp16":
        with pytest.raises(GateMissed, match="built from another model"):
            fitting_plan(model, out, "refuse", control=control)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("refuse=an Add of two types;refuses=control", "an Add of two types"), ("no_context", "no memory to run")],
)
def test_what_cannot_be_timed_keeps_int8_and_says_why(
    model: Path, control: Path, tmp_path: Path, behave: Behave, behaviour: str, reason: str
) -> None:
    behave(behaviour)
    told = _Told()
    record = build_engine(model, tmp_path / "engine", progress=told, control=control)
    assert record.control is not None
    assert (record.control.kept, record.control.int8_ms) == ("int8", None)
    assert reason in record.control.reason
    assert reason in told.notes[-1]
    assert plan_of(tmp_path / "engine")["model"] == "model"
    assert not (tmp_path / "engine" / "control").exists()


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("refuse=no plugin", r"does not take node conv1 \(Conv\): no plugin\n.*edgecnn check"),
        ("needs=1;text=no kernel for conv1", "builds no engine: no kernel for conv1"),
        ("crash", "builds no engine: the compiler crashed with SIGSEGV"),
    ],
)
def test_a_refusal_leaves_what_was_there(
    model: Path, tmp_path: Path, behave: Behave, behaviour: str, message: str
) -> None:
    out = tmp_path / "engine"
    build_engine(model, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    behave(behaviour)

    with pytest.raises(GateMissed, match=message):
        build_engine(model, out)

    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "model.onnx"]


def test_timings_of_the_build_before_are_used_again(model: Path, tmp_path: Path, behave: Behave) -> None:
    out = tmp_path / "engine"
    build_engine(model, out)
    assert (out / "timing.cache").read_bytes() == b"timed by 10.3.0 "
    build_engine(model, out)
    assert (out / "timing.cache").read_bytes() == b"timed by 10.3.0 timed by 10.3.0 "
    behave(VERSION="10.7.0")  # which does not take those of another
    record = build_engine(model, out)
    assert (out / "timing.cache").read_bytes() == b"timed by 10.7.0 "
    assert record.timing_cache_sha256 == hash_file(out / "timing.cache")


def test_a_refusal_by_tensorrt_8_has_the_nodes_number(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave("refuse=no plugin", VERSION="8.6.2")
    with pytest.raises(GateMissed, match="does not take node number 7: no plugin"):
        build_engine(model, tmp_path / "engine")


def test_a_plan_that_cannot_be_written(model: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from edgecnn.backends.engines import build_engine;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50));"
        "build_engine(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(model), str(tmp_path / "engine")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "EnvironmentMissing" in done.stderr
    assert "engine.plan" in done.stderr
    assert "is there room?" in done.stderr


def test_a_link_stays_and_what_killed_builds_left_goes(model: Path, tmp_path: Path) -> None:
    build_engine(model, tmp_path / "engine")
    (tmp_path / "link").symlink_to(tmp_path / "engine")
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f".engine.{ended.pid}-abcd.part").mkdir()

    build_engine(model, tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine", "link", "model.onnx"]


def test_a_compiler_that_does_not_load(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(engines.__file__).parents[2]))
    with pytest.raises(EnvironmentMissing, match=r"TensorRT does not load here: .*No module named 'tensorrt'"):
        build_engine(model, tmp_path / "engine")


def test_other_folders_are_not_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else than an engine"):
        build_engine(model, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_an_engine_is_built_once(model: Path, tmp_path: Path) -> None:
    told = _Told()
    first = fitting_plan(model, tmp_path / "engine", progress=told)
    before = first.stat().st_mtime_ns
    assert fitting_plan(model, tmp_path / "engine", progress=told).stat().st_mtime_ns == before
    assert told.notes == []


@pytest.mark.parametrize("change", ["model", "version", "gpu", "plan"])
def test_one_for_something_else_is_built_again_or_refused(
    model: Path, tmp_path: Path, behave: Behave, change: str
) -> None:
    out, told = tmp_path / "engine", _Told()
    fitting_plan(model, out)
    reason = {
        "model": "it was built from another model",
        "version": "it was built with TensorRT 10.3.0, and 10.16.2 is here",
        "gpu": "it is for compute capability 8.7, and the GPU here is Orin of 11.0",
        "plan": "its plan is missing or was changed",
    }[change]
    if change == "model":
        model.write_bytes(b"another")
    elif change == "plan":
        (out / "engine.plan").write_bytes(b"")
    else:
        behave(**({"VERSION": "10.16.2"} if change == "version" else {"GPU": "11.0"}))

    with pytest.raises(GateMissed, match=f"engine {out}: {reason}"):
        fitting_plan(model, out, "refuse")
    fitting_plan(model, out, "rebuild", told)

    assert told.notes == [f"the engine is built again: {reason}"]
    assert fitting_plan(model, out, "refuse") == out / "engine.plan"


def test_a_build_with_its_profile(model: Path, tmp_path: Path, behave: Behave) -> None:
    behave(MS_model="2")
    runpy.run_path(str(BUNDLE_WRITER))["write"](tmp_path / "bundle", model, "small")

    subprocess.run(
        [sys.executable, "-m", "edgecnn", "build", tmp_path / "bundle", "--out", tmp_path / "out", "--profile"],
        check=True,
    )

    profile = json.loads((tmp_path / "out" / "profile" / "profile.json").read_text())
    samples = [sample for taken in profile["rounds"] for sample in taken["samples_ns"]["infer"]]
    assert statistics.median(samples) / 1e6 == pytest.approx(2, rel=0.5)
    assert "TensorRT 10.3.0" in (tmp_path / "out" / "profile" / "profile.html").read_text()
    assert plan_of(tmp_path / "out")["model"] == "model"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_build_and_leaves_nothing(model: Path, tmp_path: Path, number: int) -> None:
    gate = tmp_path / "gate"
    build = subprocess.Popen(
        [sys.executable, "-m", "edgecnn", "build", str(model), "--out", str(tmp_path / "engine")],
        env={**os.environ, "STAND_IN": f"wait={gate}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(lambda: list(tmp_path.glob(".engine.*")))
    build.send_signal(number)
    assert build.wait(LIMIT_S) == (130 if number == signal.SIGINT else 143)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_signal_at_the_very_start_ends_the_builder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its errors begin to be read."""
    monkeypatch.setenv("STAND_IN", f"wait={tmp_path / 'gate'}")
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if not isinstance(thread, threading.Timer):
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(model, tmp_path / "engine")
    assert not children_of(os.getpid())


def test_without_a_folder_it_is_in_the_cache(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_CACHE", str(tmp_path / "cache"))
    plan = fitting_plan(model)
    assert plan == tmp_path / "cache" / "engines" / f"{hash_file(model)[:32]}-tensorrt" / "engine.plan"
    assert fitting_plan(model, on_misfit="refuse") == plan


def test_kill_9_leaves_no_engine_and_no_builder(model: Path, tmp_path: Path) -> None:
    """Nor anything that the next build trips over."""
    out, gate = tmp_path / "engine", tmp_path / "gate"
    code = (
        "import sys; from pathlib import Path; from edgecnn.backends.engines import build_engine;"
        "build_engine(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    build = subprocess.Popen(
        [sys.executable, "-c", code, str(model), str(out)], env={**os.environ, "STAND_IN": f"wait={gate}"}
    )
    child = wait_for(lambda: children_of(build.pid))[0]
    wait_for(lambda: list(tmp_path.glob(".engine.*")))

    build.send_signal(signal.SIGKILL)
    build.wait()

    wait_for(lambda: not Path(f"/proc/{child}").exists())
    assert not out.exists()
    gate.touch()
    assert build_engine(model, out) == read_record(out)


def children_of(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(number) for number in text.split()]


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_tensorrt_rtx_builds_for_real(averaging_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code, NVIDIA's parts, no GPU."""
    from edgecnn.backends.compiler_module import rtx_is_installed

    if not rtx_is_installed():
        pytest.skip("TensorRT-RTX is not installed: pip install 'edgecnn[preflight]'")
    monkeypatch.setenv("PYTHONPATH", str(Path(engines.__file__).parents[2]))
    machine = Machine("tensorrt_rtx", "8.6")

    first = build_engine(averaging_model, tmp_path / "first", machine)
    second = build_engine(averaging_model, tmp_path / "second", machine)

    assert (first.compute_capability, first.gpu) == ("8.6", "")
    assert first.plan_bytes > 1000
    assert (first.int8_layers, first.computed_in_float) == (0, None)
    assert first.plan_sha256 == second.plan_sha256
