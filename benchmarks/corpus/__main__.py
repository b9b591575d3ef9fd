"""``python -m benchmarks.corpus``: convert many networks, keep the figures, write docs/corpus.md.

The repository's root is the working folder. A run that was stopped goes on where it was: networks that have converted
are not tried again, unless ``--again`` says so.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import shutil
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.corpus.draw import write_pictures
from benchmarks.corpus.networks import FAMILIES, TIMM, Network, corpus
from benchmarks.corpus.one import convert_network
from benchmarks.corpus.page import page, verdict_of

_RESULTS = Path("benchmarks/results/corpus.json")
_PAGE = Path("docs/corpus.md")
# What takes seconds to import is imported once, in the process that the networks' processes are forked from.
_FORK = multiprocessing.get_context("forkserver")
_FORK.set_forkserver_preload(["torch", "torchvision", "timm", "benchmarks.corpus.one"])
_CALIBRATION, _EVALUATION = 8, 4
_PACKAGES = (
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnx-ir",
    "torch",
    "torchvision",
    "timm",
    "tensorrt-rtx-cu13-bindings",
)


def main() -> None:
    """Run what the command line chose."""
    options = _options()
    if options.check:
        if page(_load()) != _PAGE.read_text(encoding="utf-8"):
            raise SystemExit(f"{_PAGE} is not what {_RESULTS} gives: python -m benchmarks.corpus --only nothing")
        return
    networks = corpus(options.data, options.also)
    chosen = [found for found in networks if any(part in f"{found.family}: {found.name}" for part in options.only)]
    for index, network in enumerate(chosen):
        kept = _load()["rows"].get(network.name)
        if kept is not None and not options.again and not _failed(kept):
            continue
        row = _convert(network, options)
        document = _load()
        document["environment"] = _environment()
        document["corpus"] = {family: sum(found.family == family for found in networks) for family in FAMILIES}
        rows = {**document["rows"], network.name: row}
        # In the corpus's order, whatever was run first; what is not in it any more goes.
        order = [found.name for found in networks] + [name for name in rows if name.startswith("timm:")]
        document["rows"] = {name: rows[name] for name in dict.fromkeys(order) if name in rows}
        _RESULTS.parent.mkdir(parents=True, exist_ok=True)
        _RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        _PAGE.write_text(page(document), encoding="utf-8")
        print(f"{index + 1}/{len(chosen)} {network.name}: {verdict_of(row)} ({row['seconds']} s)", flush=True)
    _PAGE.write_text(page(_load()), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder with detectors")
    parser.add_argument("--bench", type=Path, default=Path("build/bench/corpus"), help="where networks are converted")
    parser.add_argument(
        "--only", default="", help=f"parts of names or families ({', '.join(FAMILIES)}), with + between"
    )
    parser.add_argument("--also", default="", help="further networks of timm, with commas between: timm:NAME,...")
    parser.add_argument("--again", action="store_true", help="those too that have converted")
    parser.add_argument("--timeout", type=float, default=2400, help="seconds that a network may take")
    parser.add_argument("--memory", type=float, default=17, help="GiB that a network may take; VGG-19: 13")
    parser.add_argument("--check", action="store_true", help=f"only see whether {_PAGE} is what {_RESULTS} gives")
    options = parser.parse_args()
    options.only = options.only.split("+")
    options.also = (*TIMM, *(name.removeprefix("timm:") for name in options.also.split(",") if name))
    options.bench, options.data = options.bench.resolve(), options.data.resolve()
    options.commit = _commit()
    return options


def _convert(network: Network, options: argparse.Namespace) -> dict[str, Any]:
    """One network's row."""
    pictures = options.bench / "pictures"
    if not pictures.is_dir():
        _write_pictures(pictures, options.data)
    work = options.bench / network.file_name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "log.txt").touch()
    begin = time.perf_counter()
    process = _FORK.Process(target=convert_network, args=(network, work, pictures, options.memory))
    process.start()
    process.join(options.timeout)
    process.kill()
    process.join()
    seconds = round(time.perf_counter() - begin)
    row: dict[str, Any] = {"family": network.family, "seconds": seconds, "commit": options.commit, "failure": None}
    try:
        row |= json.loads((work / "row.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        lines = (work / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        row["failure"] = f"ended with code {process.exitcode} after {seconds} s: {(lines or ['no word'])[-1][:400]}"
    if not _failed(row):
        shutil.rmtree(work)
    return row


def _write_pictures(folder: Path, data: Path) -> None:
    """Noise, and some of coco128 where that is there: for each some to calibrate on, and others to compare on."""
    photographs = sorted((data / "detection" / "coco128" / "images").rglob("*.jpg"))
    begin = 0
    for seed, (part, count) in enumerate((("calibration", _CALIBRATION), ("evaluation", _EVALUATION))):
        write_pictures(folder / "noise" / part, count, seed)
        (folder / "coco" / part).mkdir(parents=True)
        for path in photographs[begin : begin + count]:
            shutil.copy(path, folder / "coco" / part)
        begin += count


def _failed(row: dict[str, Any]) -> bool:
    return bool(row["failure"] or row["fp16"]["failure"] or row["int8"]["failure"])


def _load() -> dict[str, Any]:
    if not _RESULTS.is_file():
        return {"environment": {}, "corpus": {}, "rows": {}}
    return json.loads(_RESULTS.read_text(encoding="utf-8"))


def _environment() -> dict[str, Any]:
    names = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), platform.machine())
    pictures = {"calibration": _CALIBRATION, "evaluation": _EVALUATION}
    return {"cpu": cpu, "versions": {name: version(name) for name in _PACKAGES}, "pictures": pictures}


def _commit() -> str:
    """What edgecnn was; a + where it was changed since."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "edgecnn"], check=False).returncode
    return head.strip() + ("+" if changed else "")


if __name__ == "__main__":
    main()
