"""``python -m benchmarks.checks``: verdicts on the corpus and on graphs that TensorRT refuses, with their time.

The repository's root is the working folder. Each tool is run as a user runs it, a process for each file. trtcheck runs
in an environment of its own, ``--trtcheck`` (``make bench-check`` makes it).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.checks.refused import write_refused
from benchmarks.corpus.draw import draw_norms, draw_weights
from benchmarks.corpus.networks import Network, corpus
from benchmarks.corpus.one import export_resnet18

_RESULTS = Path("benchmarks/results/checks.json")
_DEVICE, _TENSORRT = "orin-nano-8gb", "10.3"


def main() -> None:
    """Check, print, keep."""
    options = _options()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, rule, path in chain(write_refused(folder), _corpus_files(options, folder)):
            row = {"name": title, "expected": rule, "edgecnn": _edgecnn(path), "trtcheck": _trtcheck(path, options)}
            row["as_expected"] = _as_expected(row)
            rows.append(row)
            print(f"{title}: {row['edgecnn']['verdict']} in {row['edgecnn']['seconds']} s", flush=True)
            path.unlink()
            options.out.write_text(json.dumps({"target": [_DEVICE, _TENSORRT], "rows": rows}, indent=1) + "\n")
    _print(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of pretrained detectors")
    parser.add_argument("--only", default="", help="parts of names or families of the corpus, with + between")
    parser.add_argument("--trtcheck", type=Path, default=Path("build/bench/venv-trtcheck/bin/trtcheck"))
    parser.add_argument("--out", type=Path, default=_RESULTS)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return options


def _corpus_files(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, Path]]:
    for network in corpus(options.data):
        if any(part in f"{network.family}: {network.name}" for part in options.only.split("+")):
            yield network.name, "", _written(network, folder / f"{network.file_name}.onnx")


def _written(network: Network, path: Path) -> Path:
    """The network as its exporter writes it, before any of edgecnn's passes; the weights are random."""
    import onnx

    if network.family == "exporters":
        export_resnet18(network.source, path)
    elif network.side is not None:
        import torch

        from edgecnn.build.sources import recipe_from
        from edgecnn.export.torch_onnx import export_module
        from edgecnn.graph.model import save_model
        from edgecnn.train.zoo import build_module

        torch.manual_seed(0)
        module = build_module(recipe_from(f"{network.source}@random").model)
        draw_norms(module)
        save_model(export_module(module, (1, 3, network.side, network.side)), path)
    else:
        proto = onnx.load(network.source)
        if network.drawn:
            draw_weights(proto)
        onnx.save(proto, str(path))
    return path


def _edgecnn(path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "edgecnn", "check", str(path), "--device", _DEVICE, "--trt", _TENSORRT, "--json"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - begin, 1)
    document = json.loads(done.stdout)
    if "error" in document:
        return {"verdict": "failed", "seconds": seconds, "compiler": None, "rules": [document["error"]["message"]]}
    rules = {found["rule"]: found["severity"] for found in document["findings"]}
    compiled = document["engine_bytes"] is not None or "compiler/known-difference" in rules
    return {
        "verdict": "accepted" if document["accepted"] else "refused",
        "seconds": seconds,
        "compiler": "accepted" if compiled else "refused",
        "rules": sorted(rule for rule, severity in rules.items() if severity == "error"),
    }


def _trtcheck(path: Path, options: argparse.Namespace) -> dict[str, Any] | None:
    if not options.trtcheck.is_file():
        return None
    command = [str(options.trtcheck), str(path), "--target-trt", _TENSORRT, "--format", "json"]
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = round(time.perf_counter() - begin, 1)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return {"verdict": "failed", "seconds": seconds, "rules": done.stderr.strip().splitlines()[-1:]}
    rules = sorted({issue["rule_id"] for issue in document["issues"] if issue["severity"] == "critical"})
    return {"verdict": "refused" if rules else "accepted", "seconds": seconds, "rules": rules}


def _as_expected(row: dict[str, Any]) -> bool:
    """Refused by the rule that it was made for; of the corpus, as the compiler says."""
    found = row["edgecnn"]
    return row["expected"] in found["rules"] if row["expected"] else found["verdict"] == found["compiler"]


def _print(rows: list[dict[str, Any]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table("file", "edgecnn", "s", "NVIDIA's compiler", "trtcheck", "s")
    for row in rows:
        peer = row["trtcheck"] or {"verdict": "not run", "seconds": "", "rules": ()}
        if row["expected"] or not row["as_expected"] or peer["verdict"] != row["edgecnn"]["verdict"]:
            table.add_row(
                row["name"],
                f"{row['edgecnn']['verdict']} {', '.join(row['edgecnn']['rules'])}",
                str(row["edgecnn"]["seconds"]),
                str(row["edgecnn"]["compiler"]),
                f"{peer['verdict']} {', '.join(peer['rules'])}",
                str(peer["seconds"]),
            )
    console.print(table)
    seconds = [row["edgecnn"]["seconds"] for row in rows]
    agreed = sum(row["as_expected"] for row in rows)
    console.print(
        f"{len(rows)} files, {agreed} as expected; "
        f"edgecnn: median {statistics.median(seconds)} s, at most {max(seconds)} s"
    )


if __name__ == "__main__":
    main()
