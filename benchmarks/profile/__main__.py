"""``python -m benchmarks.profile``: the profiler against what is known.

The repository's root is the working folder. Percentiles of a known distribution; a sleep of 5 ms; what timing adds to a
frame; 20 pairs of measurements of one network, and 20 with one that does exactly 5% more; the report of a million
samples. Some 35 minutes, most of it pairs: ``--only in_turn`` takes 17, ``--only run_against_run`` 14.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from benchmarks.profile.report import time_report
from benchmarks.profile.simulate import simulate
from benchmarks.profile.subjects import SLOWER, USUAL, subject, write_model
from edgecnn.core.progress import Silent
from edgecnn.profiling.bench import time_steps
from edgecnn.profiling.differences import Method, Ratio, latency_ratios, machine_drift, verdict_of
from edgecnn.profiling.intervals import PERCENTS, Stretch, percentile_estimates
from edgecnn.profiling.measure import Identity, measure, measure_in_turn
from edgecnn.profiling.modes import Plan
from edgecnn.profiling.records import Profile
from edgecnn.profiling.subject import Subject

_RESULTS = Path("benchmarks/results/profile.json")
_PAIRS = 20


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--pairs", type=int, default=_PAIRS)
    parser.add_argument("--seconds", type=float, default=5.0, help="of sampling in each measurement")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    parser.add_argument("--only", default="", help="a part by its name; the others stay in the file as they are")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "machine": _processor(),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 1),
        "seconds": options.seconds,
    }

    if options.only and options.out.exists():
        found = json.loads(options.out.read_text())

    def keep(name: str, make: Callable[[], Any]) -> None:
        if options.only not in ("", name):
            return
        found[name] = value = make()
        print(f"{name}: {json.dumps(value)}", flush=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")

    keep("percentiles", _percentiles)
    keep("sleep_5_ms", _sleep)
    keep("simulated", simulate)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        write_model(model)
        keep("overhead", lambda: _overhead(model))
        keep("report", lambda: time_report(Path(folder)))
        keep("in_turn", lambda: _in_turn(model, options.pairs, options.seconds))
        keep("run_against_run", lambda: _run_against_run(model, options.pairs, options.seconds))


def _percentiles() -> dict[str, float]:
    """Largest error of a percentile of a million samples, in percent; and how often intervals hold the true one."""
    draw = np.random.default_rng(1)
    errors: list[float] = []
    held: list[bool] = []
    true = {percent: 5 * np.exp(0.2 * NormalDist().inv_cdf(percent / 100)) for percent in PERCENTS}
    for percent, estimate in percentile_estimates([Stretch(0, draw.lognormal(np.log(5), 0.2, 1_000_000))]).items():
        errors.append(100 * abs(estimate.value / true[percent] - 1))
    for _ in range(200):
        estimates = percentile_estimates([Stretch(0, draw.lognormal(np.log(5), 0.2, 5000))])
        for percent, each in estimates.items():
            low, high = each.low or 0.0, np.inf if each.high is None else each.high
            held.append(bool(low <= true[percent] <= high))
    return {
        "largest_error_percent": round(max(errors), 3),
        "intervals_that_hold_percent": round(100 * np.mean(held), 1),
    }


def _sleep() -> dict[str, float]:
    """Read by the profiler, and by a clock around each sleep."""
    slept: list[int] = []

    def sleep() -> None:
        begin = time.monotonic_ns()
        time.sleep(0.005)
        slept.append(time.monotonic_ns() - begin)

    read = time_steps({"sleep": sleep}, 2.0).samples_ns["sleep"]
    return {"read_ms": statistics.median(read) / 1e6, "slept_ms": statistics.median(slept) / 1e6}


def _overhead(model: Path) -> dict[str, float]:
    """Frames timed and frames run without a clock, in turn: what timing adds, in time of this thread on a processor."""
    measured = subject(model, 5)
    session = measured.open_session()
    steps = measured.frame_steps(session)
    chain, frames, added, plain_ms = list(steps.values()), 100, [], []
    for turn in range(61):
        spans = {}
        for kind in ("timed", "plain") if turn % 2 else ("plain", "timed"):
            begin = time.thread_time_ns()  # what others do on the machine does not count
            if kind == "timed":
                time_steps(steps, 0.0, least=frames)
            else:
                for _ in range(frames):
                    for step in chain:
                        step()
            spans[kind] = (time.thread_time_ns() - begin) / frames
        if turn:
            added.append(spans["timed"] / spans["plain"] - 1)
            plain_ms.append(spans["plain"] / 1e6)
    session.close()
    return {
        "frame_ms": round(statistics.median(plain_ms), 3),
        "added_percent": round(100 * statistics.median(added), 3),
        "clock_us_a_frame": round(_clock_us(), 3),
    }


def _clock_us() -> float:
    """What the marks of a frame of three steps cost by themselves, microseconds."""
    steps = {str(number): int for number in range(3)}
    begin = time.perf_counter()
    time_steps(steps, 0.0, least=100_000)
    return (time.perf_counter() - begin) / 100_000 * 1e6


def _identity(model: Path) -> Identity:
    return Identity("small", model, "", "fp32", "x86-64", 1)


def _in_turn(model: Path, pairs: int, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, times in (("same", USUAL), ("slower", SLOWER)):
        ratios: list[dict[float, Ratio]] = []
        processes: list[int] = []
        for _ in range(pairs):
            one, two = measure_in_turn(
                (_identity(model), _identity(model)),
                (subject(model, USUAL), subject(model, times)),
                Plan("single-stream", seconds),
                Silent(),
            )
            ratios.append(latency_ratios(one, two))
            processes.append(len({each.process for each in one.rounds}))
            print(name, len(ratios), processes[-1], _line(ratios[-1]), flush=True)
        found[name] = {**_told(ratios, "in pairs"), "processes": processes}
        print(name, found[name], flush=True)
    return found


def _run_against_run(model: Path, pairs: int, seconds: float) -> dict[str, Any]:
    """Alternating runs: each against the one after it of its own kind, and against that of the other kind beside it."""
    plan = Plan("single-stream", seconds)

    def run(subject_: Subject) -> Profile:
        return measure(_identity(model), subject_, plan, Silent())

    def medians(profile: Profile) -> float:
        return float(np.median(profile.total_ns())) / 1e6

    usual, slower = [], []
    for _ in range(pairs + 1):
        usual.append(run(subject(model, USUAL)))
        slower.append(run(subject(model, SLOWER)))
        print("runs", len(usual), f"{medians(usual[-1]):.4f} {medians(slower[-1]):.4f} ms", flush=True)
    same = [latency_ratios(one, two) for one, two in pairwise(usual)]
    other = [latency_ratios(one, two) for one, two in zip(usual, slower, strict=True)][:pairs]
    drifts = [round(100 * (machine_drift(one, two) or 0.0), 2) for one, two in pairwise(usual)]
    return {
        "same": {**_told(same, "run against run"), "machine_drift_percent": drifts},
        "slower": _told(other, "run against run"),
    }


def _line(ratios: dict[float, Ratio]) -> str:
    ratio = ratios[10.0]
    return f"{ratio.verdict} {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high}] {ratio.detectable_percent}"


def _told(pairs: list[dict[float, Ratio]], method: Method) -> dict[str, Any]:
    decisive = [ratios[10.0] for ratios in pairs]
    told = [ratio.detectable_percent for ratio in decisive if ratio.detectable_percent is not None]
    return {
        "pairs": len(pairs),
        "verdicts": dict(Counter(verdict_of(ratios, method)[1] for ratios in pairs)),
        "p10_ratios": [round(ratio.value, 4) for ratio in decisive],
        "p50_ratios": [round(ratios[50.0].value, 4) for ratios in pairs],
        "detectable_percent": {
            "median": round(statistics.median(told), 2),
            "largest": round(max(told), 2),
        },
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(names)} cores"


if __name__ == "__main__":
    main()
