"""``make bench-train``: digits in sign language from a pretrained MobileNetV2, its last layer alone and all of it.

Each recipe is trained by edgecnn and by plain torchvision code in turn, in a process of its own, on one split. Blood
cells (``bccd``) are for a detector: see ``benchmarks.train.blood``. For ``qat`` see ``benchmarks.train.qat``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.train.blood import trained_and_converted
from benchmarks.train.qat import lost_and_recovered
from edgecnn.core.recipe import Recipe
from edgecnn.core.recipe_file import load_recipe
from edgecnn.train.samples import Samples, open_samples
from edgecnn.train.split import split_samples

_ROOT = Path(__file__).resolve().parents[2]
_DATA = _ROOT.parent / "shared" / "data"
_PICTURES = _DATA / "images" / "sign-language-digits"
_WEIGHTS = _DATA / "models" / "mobilenet_v2" / "mobilenet_v2-b0353104.pth"
# How long plain code may take at most: ten times what the bar allows edgecnn, and three times.
_LIMITS_S = {"transfer-mobilenetv2": 1800.0, "finetune-mobilenetv2": 5400.0}
_REFERENCE = "-reference"
# 40 minutes are the bar.
_BLOOD, _BLOOD_RECIPE, _BLOOD_LIMIT_S = "bccd", "detect-mobilenetv2", 2400.0
_BLOOD_PICTURES = _DATA / "detection" / "bccd" / "BCCD"
_QAT = "qat"
_TINY_PICTURES, _TINY_EPOCHS = 14, 2


def main() -> None:
    """Measure, print, and write benchmarks/results/train.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    jobs = [*(name + suffix for name in _LIMITS_S for suffix in ("", _REFERENCE)), _BLOOD, _QAT]
    parser.add_argument("--only", choices=jobs, help="one of them; others keep their figures")
    parser.add_argument(
        "--limit", type=float, help="seconds after which plain torchvision code ends with its epoch, and bccd fails"
    )
    parser.add_argument("--tiny", action="store_true", help="a few pictures and epochs, to see that all works")
    parser.add_argument("--out", type=Path, default=_ROOT / "benchmarks" / "results" / "train.json")
    chosen = parser.parse_args()
    if not _PICTURES.is_dir():
        sys.exit(f"no pictures at {_PICTURES}: they are not part of the repository")
    if chosen.tiny and chosen.out == parser.get_default("out"):
        chosen.out = Path(os.devnull)  # figures of a trial are nobody's
    kept = chosen.out.is_file() and chosen.out.stat().st_size
    results: dict[str, Any] = json.loads(chosen.out.read_text()) if kept else {}
    with tempfile.TemporaryDirectory() as folder:
        pictures = _few(Path(folder)) if chosen.tiny else _PICTURES
        for name in jobs:
            if chosen.only not in (None, name):
                continue
            begun, cpu = time.monotonic(), os.times()
            if name == _QAT:
                found = lost_and_recovered(pictures, Path(folder), tiny=chosen.tiny)
            elif name == _BLOOD:
                limit_s = chosen.limit or _BLOOD_LIMIT_S
                places = (_BLOOD_PICTURES, _WEIGHTS, Path(folder))
                found = trained_and_converted(load_recipe(_BLOOD_RECIPE), *places, limit_s, tiny=chosen.tiny)
            else:
                found = _classifier(name, pictures, Path(folder), chosen.limit, tiny=chosen.tiny)
            seconds, used = time.monotonic() - begun, os.times()
            cpu_seconds = used.children_user + used.children_system - cpu.children_user - cpu.children_system
            found |= {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)}
            results[name] = found | {"load": os.getloadavg()[0]}
            print(f"{name}: {found}", file=sys.stderr, flush=True)
    for name in _LIMITS_S:
        if {name, name + _REFERENCE} <= results.keys():
            results[f"{name}: seconds to each top-1"] = _seconds_to_each(
                results[name]["epochs"], results[name + _REFERENCE]["epochs"]
            )
    results["machine"] = {"cores": os.cpu_count(), "processor": platform.machine()}
    chosen.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def _seconds_to_each(ours: list[dict[str, float]], plain: list[dict[str, float]]) -> list[dict[str, float | None]]:
    """When edgecnn and plain code were first as good as each accuracy that either reached; None for never."""
    reached = sorted({epoch["top1"] for epoch in (*ours, *plain)})
    return [{"top1": top1, "edgecnn": _first(ours, top1), "plain": _first(plain, top1)} for top1 in reached]


def _first(epochs: list[dict[str, float]], top1: float) -> float | None:
    return next((epoch["seconds"] for epoch in epochs if epoch["top1"] >= top1), None)


def _classifier(name: str, pictures: Path, folder: Path, limit_s: float | None, *, tiny: bool) -> dict[str, Any]:
    """One of the shipped recipes, by edgecnn or by plain torchvision code."""
    recipe = load_recipe(name.removesuffix(_REFERENCE))
    if tiny and recipe.train is not None:
        train = recipe.train.model_copy(update={"epochs": _TINY_EPOCHS, "batch_size": 16})
        recipe = recipe.model_copy(update={"train": train})
    if name.endswith(_REFERENCE):
        return _reference(recipe, pictures, limit_s or _LIMITS_S[recipe.name])
    return _trained(recipe, pictures, folder)


def _trained(recipe: Recipe, pictures: Path, folder: Path) -> dict[str, Any]:
    """One recipe in a process and a store of its own, from nothing to the checkpoint."""
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_unset=True)))
    arguments = ["--data", str(pictures), "--pretrained", str(_WEIGHTS), "--out", str(folder / f"{recipe.name}.pt")]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edgecnn", "train", str(file), *arguments, "--json"],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "EDGECNN_CACHE": str(folder / recipe.name)},
    )
    seconds, document = time.monotonic() - begun, json.loads(done.stdout)
    return {
        "top1": document["top-1 on pictures kept back"],
        "kept_back": document["kept back"],
        "epochs": _ends(document["learning curve"], seconds),
    }


def _ends(curve: list[dict[str, float]], seconds: float) -> list[dict[str, float]]:
    """Top-1 and seconds since the process began at the end of each epoch, as if all that is no epoch came first."""
    before = seconds - sum(epoch["seconds"] for epoch in curve)
    spent = itertools.accumulate(epoch["seconds"] for epoch in curve)
    return [
        {"seconds": round(before + since, 1), "top1": epoch["figure"]}
        for since, epoch in zip(spent, curve, strict=True)
    ]


def _reference(recipe: Recipe, pictures: Path, limit_s: float) -> dict[str, Any]:
    """The same in plain torchvision code, with its accuracy after each epoch."""
    assert recipe.train is not None
    begun = time.monotonic()
    samples = open_samples(str(pictures), "softmax")
    split = split_samples(samples, recipe.data.validation_share, recipe.train.seed)  # edgecnn's own pays for it too
    job = {
        "pictures": str(pictures),
        "weights": str(_WEIGHTS),
        "recipe": recipe.model_dump(mode="json"),
        "learn": _paths(samples.chosen(split.train)),
        "keep": _paths(samples.chosen(split.held_out)),
        "begun": begun,
        "limit_s": limit_s,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train.reference"],
        check=True,
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    epochs = json.loads(done.stdout)
    return {"top1": epochs[-1]["top1"], "kept_back": len(split.held_out), "epochs": epochs}


def _paths(samples: Samples) -> list[str]:
    return [str(path.resolve()) for path in samples.paths]


def _few(folder: Path) -> Path:
    """A few pictures of each class, as links."""
    for place in sorted(_PICTURES.iterdir()):
        if place.is_dir():
            (folder / "few" / place.name).mkdir(parents=True)
            for picture in sorted(place.iterdir())[:_TINY_PICTURES]:
                (folder / "few" / place.name / picture.name).symlink_to(picture.resolve())
    return folder / "few"


main()
