"""Blood cells in boxes (BCCD, Pascal VOC's layout): the shipped recipe for detectors on the data's own test list.

Training goes for the whole of the other pictures (``trainval``), for as many epochs as the recipe has: the test list is
looked at for the learning curve, and decides nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from edgecnn.core.recipe import Recipe

LISTS = ("trainval", "test")
# Points of mAP; mAP50, which the bar is about, moves less.
_MAX_DROP = 1
_TINY_PICTURES, _TINY_EPOCHS = 8, 1


def trained_and_converted(
    recipe: Recipe, pictures: Path, weights: Path, folder: Path, limit_s: float, *, tiny: bool
) -> dict[str, Any]:
    """mAP50 on the test list after training, in FP32 as converted, and in INT8; seconds of each.

    Args:
        recipe: For detectors, without data.
        pictures: Folder with Annotations, ImageSets and JPEGImages.
        weights: What the trunk begins with.
        folder: For everything that is made.
        limit_s: Training that takes longer is ended, and fails.
        tiny: A few pictures and an epoch, which are not enough for bars, and so FP32 alone.
    """
    lists = [
        _few(pictures, folder, name) if tiny else pictures / "ImageSets" / "Main" / f"{name}.txt" for name in LISTS
    ]
    document = recipe.model_dump(mode="json", exclude_unset=True)
    document["data"] = dict(zip(("train", "validation"), map(str, lists), strict=True))
    document["train"] |= {"pretrained": str(weights)} | ({"epochs": _TINY_EPOCHS, "batch_size": 4} if tiny else {})
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(document))
    begun = time.monotonic()
    learned = _edgecnn(folder, limit_s, "train", file, "--out", folder / "bccd.pt")
    ended = time.monotonic()
    precision = ("fp32",) if tiny else ("int8", "--max-drop", _MAX_DROP)
    arguments = ("convert", learned["recipe"], "--out", folder / "bccd", "--precision", *precision)
    stages = _edgecnn(folder, None, *arguments)["stages"]
    accuracies = {stage["stage"]: stage["accuracy"] for stage in stages if stage.get("accuracy")}
    return {
        "mAP50": learned["mAP50 on pictures kept back"],
        "mAP": learned["mAP on pictures kept back"],
        "kept_back": learned["kept back"],
        "epochs": learned["epochs"],
        "seed": recipe.train.seed if recipe.train is not None else None,
        "train_seconds": round(ended - begun, 1),
        "convert_seconds": round(time.monotonic() - ended, 1),
        "converted mAP50": {name: round(figures["map50"], 4) for name, figures in accuracies.items()},
    }


def _edgecnn(folder: Path, limit_s: float | None, *arguments: object) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "edgecnn", *map(str, arguments), "--json"],
            check=True,
            stdout=subprocess.PIPE,
            timeout=limit_s,
            env={**os.environ, "EDGECNN_CACHE": str(folder / "bccd-cache")},
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"edgecnn {arguments[0]}: not done after {limit_s:.0f} s, which is the bar")
    return json.loads(done.stdout)


def _few(pictures: Path, folder: Path, name: str) -> Path:
    """A list of a few of a list's pictures, in a folder of the same layout."""
    root = folder / "few-cells"
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    for part in ("Annotations", "JPEGImages"):
        if not (root / part).exists():
            (root / part).symlink_to((pictures / part).resolve())
    listed = (pictures / "ImageSets" / "Main" / f"{name}.txt").read_text().split()[:_TINY_PICTURES]
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    path.write_text("\n".join(listed) + "\n")
    return path
