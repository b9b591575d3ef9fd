"""``python -m benchmarks.runtime``: the runtime's bars, each beside its peers, in turn: the machine's speed drifts.

The repository's root is the working folder. ``make bench-runtime`` makes ultralytics' environment first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runtime.ours import FAIR_CAMERAS, INFERENCE_S
from benchmarks.runtime.parts import BUILD, ROOT, RTSP_SERVER, STREET, bundle, film, free_detector, street
from edgecnn.core.percentiles import nearest_rank

_RESULTS = ROOT / "benchmarks" / "results" / "runtime.json"
_ULTRALYTICS = ROOT / "build" / "bench" / "venv-ultralytics" / "bin" / "python"
_BUSY = [sys.executable, "-m", "benchmarks.runtime.peers", "busy", str(STREET), "60"]
_NETWORKS = ("mobilenet", "yolox-nano")
_SOURCE_MS = 1000 / 60
# For what a plain loop makes of overload to be seen: its pictures grow older by the second.
_CAMERA_S = 60.0
_IMPORTS = (
    "import sys, numpy, cv2, onnxruntime as ort; ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
)


def main() -> None:
    """Run what the command line chose."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help=f"with commas between: {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=5, help="of each pair")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload; for ten minutes: 600")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"--only {unknown[0]}: known are {', '.join(PARTS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    document = json.loads(_RESULTS.read_text(encoding="utf-8")) if _RESULTS.exists() else {"parts": {}}
    for name in chosen:
        found = PARTS[name](options)
        document["parts"][name] = found | {"load_average": os.getloadavg()[0]}
        document["environment"] = _environment()
        _RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"kept in {_RESULTS.relative_to(ROOT)}")


def _environment() -> dict[str, Any]:
    packages = (
        "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    )
    wanted = ("numpy", "onnxruntime", "opencv-python", "ultralytics", "torch")
    found: dict[str, list[str]] = {}
    for name, python in (("edgecnn", sys.executable), ("ultralytics", str(_ULTRALYTICS))):
        if Path(python).exists():
            lines = subprocess.run([python, "-c", packages], capture_output=True, text=True, check=True).stdout.split()
            found[name] = sorted(line for line in lines if line.partition("==")[0] in wanted)
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": found,
    }


def _child(*command: object) -> dict[str, Any]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


def _ours(*arguments: object) -> dict[str, Any]:
    return _child(sys.executable, "-m", "benchmarks.runtime.ours", *arguments)


def _peer(*arguments: object) -> dict[str, Any]:
    return _child(sys.executable, "-m", "benchmarks.runtime.peers", *arguments)


def _edgecnn(*arguments: object) -> dict[str, Any]:
    return _child(sys.executable, "-m", "edgecnn", "run", *arguments, "--json")


def _say(text: str) -> None:
    print(text, flush=True)


def _throughput(options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second of ``run`` on a street video, as a part of those of ``session.run`` alone.

    Beside it, what another process that decodes and resizes the same film takes from ``session.run``: two cores that
    share caches and a memory bus slow each other down, whatever program runs on them.
    """
    result: dict[str, Any] = {}
    for name in _NETWORKS:
        path = bundle(name)
        bare, run, beside = [], [], []
        for _ in range(options.rounds):
            with subprocess.Popen(_BUSY, stdout=subprocess.DEVNULL, cwd=ROOT) as busy:
                time.sleep(1)
                beside.append(_peer("bare", path, 5)["fps"])
                busy.kill()
            bare.append(_peer("bare", path, 5)["fps"])
            run.append(_edgecnn(path, "--source", street(), "--threads", 1)["fps"])
        bare.append(_peer("bare", path, 5)["fps"])
        # Each run between the two beside it.
        ratios = [2 * fps / (before + after) for fps, before, after in zip(run, bare, bare[1:], strict=False)]
        loss = statistics.median(fps / other for fps, other in zip(beside, bare, strict=False))
        result[name] = {
            "bare_fps": bare, "run_fps": run, "beside_fps": beside, "ratio": statistics.median(ratios), "beside": loss
        }  # fmt: skip
        _say(
            f"throughput {name}: {100 * result[name]['ratio']:.1f}% of session.run alone (bar 97%), which beside "
            f"another process that decodes keeps {100 * loss:.1f}%"
        )
    return result


def _free(options: argparse.Namespace) -> dict[str, Any]:
    """A detector that costs nothing, on H.264 at 1280 x 720."""
    model, video, frames = free_detector(), film(), 1000
    tools: dict[str, Callable[[], dict[str, Any]]] = {
        "edgecnn": lambda: _ours("free", video, frames),
        "ultralytics": lambda: _child(_ULTRALYTICS, "benchmarks/runtime/peer_ultralytics.py", model, video, frames),
        "plain OpenCV loop": lambda: _peer("plain", model, video, frames),
        "loop with a reading thread": lambda: _peer("buffered", model, video, frames),
        "decoding alone": lambda: _peer("decode", video, frames),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in tools}
    for _ in range(options.rounds):
        for name, measure in tools.items():
            found[name].append(measure())
    result: dict[str, Any] = {}
    for name, rounds in found.items():
        result[name] = {key: [each[key] for each in rounds] for key in ("fps", "cpu_ms")}
        fps, cpu = (statistics.median(result[name][key]) for key in ("fps", "cpu_ms"))
        _say(f"free detector, {name}: {fps:.0f} fps, {cpu:.2f} ms of processor time a frame")
    pairs = zip(result["edgecnn"]["fps"], result["ultralytics"]["fps"], strict=True)
    result["ratio"] = statistics.median(ours / theirs for ours, theirs in pairs)
    _say(f"free detector: {result['ratio']:.2f} times ultralytics (bar 2)")
    return result


def _overload(options: argparse.Namespace) -> dict[str, Any]:
    """60 frames a second for a network of 10."""
    ours = _ours("overload", options.seconds)
    ages, third = ours["ages_ms"], max(len(ours["ages_ms"]) // 3, 1)
    first, last = (nearest_rank(sorted(part), 99) for part in (ages[:third], ages[-third:]))
    bar = _SOURCE_MS + 1.2 * 1000 * INFERENCE_S
    p99 = nearest_rank(sorted(ages), 99)
    _say(f"overload: frame age p99 {p99:.1f} ms (bar {bar:.1f}), first third {first:.1f}, last {last:.1f}")
    environment = {**os.environ, "RTSP_FPS": "60"}
    cameras: dict[str, dict[str, float]] = {}
    with subprocess.Popen([*RTSP_SERVER, "0"], stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address = f"rtsp://127.0.0.1:{int(server.stdout.readline())}/clock"
        for name, measure in (("edgecnn", _ours), ("plain OpenCV loop", _peer)):
            ages = measure("camera", address, min(options.seconds / 2, _CAMERA_S))["ages_ms"]
            early, late = ages[len(ages) // 4], ages[-1]
            cameras[name] = {"early_ms": early, "late_ms": late}
            _say(f"overload, RTSP, {name}: a picture's age at its result {early:.0f} ms, later {late:.0f} ms")
        server.kill()
    return {"p99_ms": p99, "first_third_ms": first, "last_third_ms": last, "bar_ms": bar, "rtsp_ages_ms": cameras}


def _cpu(options: argparse.Namespace) -> dict[str, Any]:
    """Processor time a frame outside inference and decoding, at 1280 x 720."""
    result: dict[str, Any] = {}
    for name in _NETWORKS:
        outside: list[float] = []
        for _ in range(options.rounds):
            decoding = _peer("decode", film(), 300)["cpu_ms"]
            outside.append(_ours("cpu", bundle(name), film(), 300)["outside_ms"] - decoding)
        result[name] = {"outside_ms": outside, "median_ms": statistics.median(outside)}
        _say(f"cpu {name}: {result[name]['median_ms']:.2f} ms a frame outside inference and decoding (bar 2.5)")
    return result


def _startup(options: argparse.Namespace) -> dict[str, Any]:
    """From nothing to the first result and the end of the process, beside the imports and the session."""
    path = bundle("mobilenet")
    times: dict[str, list[float]] = {"imports and session": [], "run, one frame": []}
    commands: dict[str, list[object]] = {
        "imports and session": [sys.executable, "-c", _IMPORTS, path / "model.onnx"],
        "run, one frame": [sys.executable, "-m", "edgecnn", "run", path, "--source", STREET, "--max-frames", 1],
    }
    for turn in range(2 * options.rounds + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            subprocess.run([str(part) for part in command], check=True, capture_output=True, cwd=ROOT)
            if turn:  # the first fills the caches
                times[name].append(time.perf_counter() - begin)
    more = statistics.median(run - bare for bare, run in zip(*times.values(), strict=True))
    _say(f"startup: {1000 * more:.0f} ms more than imports and session (bar 500)")
    return {**times, "difference_s": more}


def _memory(options: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001
    """Resident memory of a run, less what the model adds to a process that only opens and runs it."""
    result: dict[str, Any] = {}
    for name in _NETWORKS:
        path = bundle(name)
        model_mb = _peer("opened", path)["model_mb"]
        command = [sys.executable, "-m", "edgecnn", "run", str(path), "--source", "synthetic://1280x720@30"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT) as running:
            time.sleep(8)
            status = Path(f"/proc/{running.pid}/status").read_text(encoding="ascii")
            running.terminate()
        resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        result[name] = {"resident_mb": resident_mb, "model_mb": model_mb, "process_mb": resident_mb - model_mb}
        _say(f"memory {name}: {resident_mb - model_mb:.0f} MB without the model's {model_mb:.0f} (bar 200)")
    return result


def _fairness(options: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001
    """Four cameras of 15 frames a second for a network of 40."""
    found = _ours("fair", 20)
    share = min(found["processed"]) * FAIR_CAMERAS / sum(found["processed"])
    _say(f"fairness: the camera with the fewest results gets {100 * share:.1f}% of its share (bar 90%)")
    return {**found, "least_share": share}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "throughput": _throughput,
    "free": _free,
    "overload": _overload,
    "cpu": _cpu,
    "startup": _startup,
    "memory": _memory,
    "fairness": _fairness,
}


if __name__ == "__main__":
    main()
