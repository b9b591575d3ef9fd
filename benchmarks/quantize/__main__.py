"""``python -m benchmarks.quantize``: quantize, judge, print, keep.

The repository's root is the working folder. ``make bench-quantize`` makes the peers' environments first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.quantize.cases import CASES, Case, channels_first, model_section, write_recipe
from benchmarks.quantize.child import Finished, run_child
from benchmarks.quantize.graph_figures import int8_share, time_in_turn
from benchmarks.quantize.judge import Judge, classifier_judge, detector_judge
from benchmarks.quantize.pictures import Split, network_inputs
from benchmarks.quantize.table import print_case
from benchmarks.quantize.tools import FAMILIES, TOOLS, Job, Tool

_RESULTS = Path("benchmarks/results/quantize.json")
_PACKAGES = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
_REPORTED = ("edgecnn", "nvidia-modelopt", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "torchvision")


def main() -> None:
    """Run what the command line chose."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 140)
    bench: Path = options.bench
    bench.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"environment": _environment(bench), "cases": []}
    for case in CASES:
        if case.name not in options.only:
            continue
        split = case.pictures(options.data, bench, options.first)
        result = _run_case(case, split, options, console)
        document["cases"].append(result)
        # Written after every network, so that a run that is stopped keeps what it has.
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    console.print(f"kept in {options.out}")


def _options() -> argparse.Namespace:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantize", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of models and pictures")
    parser.add_argument("--bench", type=Path, default=Path("build/bench"), help="environments of peers, and caches")
    parser.add_argument("--only", default=",".join(names), help=f"networks, with commas between: {', '.join(names)}")
    parser.add_argument("--tools", default=",".join(FAMILIES), help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--first", type=int, default=0, help="calibrate from this picture on: 0 to 4, of COCO 0 or 1")
    parser.add_argument("--no-timing", action="store_true", help="leave out the times at one thread")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that a tool may take")
    parser.add_argument("--memory", type=float, default=14, help="GiB that a tool may take")
    parser.add_argument("--x86-device", default="onnxruntime-x86", help="edgecnn's device for ONNX Runtime on x86")
    parser.add_argument("--out", type=Path, help=f"default: {_RESULTS}, or quantize.json in --bench for a part")
    options = parser.parse_args()
    whole = options.only == ",".join(names) and options.tools == ",".join(FAMILIES) and not options.first
    options.only, options.tools = options.only.split(","), options.tools.split(",")
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"--only {unknown[0]}: known are {', '.join(names)}")
    if unknown := [name for name in options.tools if name not in FAMILIES]:
        parser.error(f"--tools {unknown[0]}: known are {', '.join(FAMILIES)}")
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such folder")
    options.bench, options.data = options.bench.resolve(), options.data.resolve()
    options.out = options.out or (_RESULTS if whole else options.bench / "quantize.json")
    return options


def _run_case(case: Case, split: Split, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    work = options.bench / case.name
    work.mkdir(exist_ok=True)
    console.print(f"{case.name}: FP32")
    fp32 = _fp32(case, work, options)
    judge, reference = (
        classifier_judge(fp32, case, split, options.bench)
        if case.task == "classification"
        else detector_judge(fp32, case, split)
    )
    frames = np.concatenate(list(network_inputs(split.calibration, case.preprocess, options.bench)))
    calibration = work / "calibration.npy"
    np.save(calibration, frames)
    rows: list[dict[str, Any]] = []
    for tool in TOOLS:
        if tool.family not in options.tools or tool.scheme not in case.schemes:
            continue
        if (tool.needs_labels and not case.labelled) or (tool.needs_same and case.same_asked is None):
            continue
        console.print(f"{case.name}: {tool.name}")
        folder = work / "".join(letter if letter.isalnum() else "-" for letter in tool.name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        job = Job(case, fp32, calibration, split, folder, options.bench, options.x86_device)
        rows.append(_run_tool(tool, job, judge, frames[:1], options))
    result = {
        "case": case.name,
        "task": case.task,
        "pictures": split.description,
        "fp32": reference.document(),
        "rows": rows,
    }
    print_case(result, console)
    return result


def _fp32(case: Case, work: Path, options: argparse.Namespace) -> Path:
    """The graph that every tool gets: a file as it is, or what edgecnn exports and folds."""
    site = options.bench / "site"
    if isinstance(case.source, str):
        path = Path(case.source.format(data=options.data, site=site))
        if path.name != "open-nsfw.onnx":
            return path
        fp32 = work / "fp32.onnx"
        channels_first(path, fp32)
        return fp32
    recipe = work / "recipe.yaml"
    write_recipe(recipe, case, model_section(case, options.data, site), "fp32", None)
    bundle = work / "fp32"
    done = run_child(
        [sys.executable, "-m", "edgecnn", "convert", recipe, "--out", bundle, "--json"],
        work,
        timeout_s=options.timeout,
        memory_gib=options.memory,
        # Its cache is kept: random weights then stay the same from run to run.
        environment={"EDGECNN_CACHE": str(options.bench / "store"), "PYTHONPATH": str(site)},
    )
    if done.code:
        raise SystemExit(f"{case.name}: no FP32 graph: {done.reason}\nsee {work / 'log.txt'}")
    return bundle / "model.onnx"


def _run_tool(tool: Tool, job: Job, judge: Judge, frame: np.ndarray, options: argparse.Namespace) -> dict[str, Any]:
    """One row; what goes wrong is its ``failure``."""
    row: dict[str, Any] = {"tool": tool.name, "scheme": tool.scheme, "failure": None, "accuracy": None, "same": None}
    row |= {"snr_db": None, "int8_share": None, "seconds": None, "peak_mb": None, "speed": None, "own_report": None}
    command, made = tool.command(job)
    try:
        done = run_child(
            command,
            job.folder,
            timeout_s=options.timeout,
            memory_gib=options.memory,
            # An empty cache: the conversion's time is that of a first one.
            environment={"EDGECNN_CACHE": str(job.folder / "store")},
        )
    except OSError as error:
        return {**row, "failure": f"{error}: make bench-quantize installs it"}
    row |= {"seconds": round(done.seconds, 1), "peak_mb": round(done.peak_mb)}
    if done.code:
        return {**row, "failure": done.reason}
    if tool.family == "edgecnn":
        row["own_report"] = _own_report(done)
    try:
        row |= judge(made).document()
        row["int8_share"] = int8_share(made, frame)
        if tool.scheme == "x86" and not options.no_timing:
            row["speed"] = asdict(time_in_turn(job.fp32, made, frame))
    except Exception as error:  # whatever a tool's file does to the evaluator belongs in its row
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return {**row, "failure": f"its file cannot be judged: {first[:300]}"}
    return row


def _own_report(done: Finished) -> dict[str, Any]:
    """What edgecnn's own JSON says of its last stage."""
    document = json.loads(done.out)
    last = document["stages"][-1]
    return {"precision": document["precision"], "notes": document["notes"], "accuracy": last["accuracy"]}


def _environment(bench: Path) -> dict[str, Any]:
    names = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), platform.machine())
    versions: dict[str, dict[str, str]] = {}
    for label, python in (
        ("edgecnn and the judge", Path(sys.executable)),
        ("onnxruntime", bench / "venv-onnxruntime" / "bin" / "python"),
        ("ModelOpt", bench / "venv-modelopt" / "bin" / "python"),
    ):
        if python.exists():
            listed = subprocess.run([python, "-c", _PACKAGES], capture_output=True, text=True, check=True).stdout
            found = dict(line.partition("==")[::2] for line in listed.split("\n") if "==" in line)
            versions[label] = {name: found[name] for name in _REPORTED if name in found}
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "versions": versions}


if __name__ == "__main__":
    main()
