"""A calibrated network as a folder: what a search for the layers to quantize begins with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgecnn.core.files import write_text
from edgecnn.graph.model import load_model, save_model
from edgecnn.quantize.layer_rounding import Rounding
from edgecnn.quantize.network import Calibrated
from edgecnn.quantize.ranges import Range

_MODEL, _NUMBERS, _TEXT = "model.onnx", "roundings.npz", "calibration.json"


def save_calibrated(calibrated: Calibrated, folder: Path) -> None:
    """Write all of it, in the same bytes every time; ``folder`` is made."""
    folder.mkdir()
    save_model(calibrated.model, folder / _MODEL)
    arrays = {
        f"{part}{index}": array
        for index, rounding in enumerate(calibrated.roundings.values())
        for part, array in (
            ("steps", rounding.steps),
            ("bias", rounding.bias),
            ("scales", rounding.scales),
        )
    }
    np.savez(folder / _NUMBERS, **arrays)  # pyright: ignore[reportArgumentType]
    numbers = {
        "layers": calibrated.layers,
        "total_macs": calibrated.total_macs,
        "ranges": {name: asdict(found) for name, found in calibrated.ranges.items()},
        "roundings": list(calibrated.roundings),
        "counts": calibrated.counts,
    }
    write_text(folder / _TEXT, json.dumps(numbers, indent=1))


def load_calibrated(folder: Path) -> Calibrated:
    """Read what ``save_calibrated`` wrote."""
    numbers = json.loads((folder / _TEXT).read_text(encoding="utf-8"))
    roundings: dict[str, Rounding] = {}
    with np.load(folder / _NUMBERS) as arrays:
        for index, name in enumerate(numbers["roundings"]):
            roundings[name] = Rounding(*(arrays[f"{part}{index}"] for part in ("steps", "bias", "scales")))
    return Calibrated(
        load_model(folder / _MODEL),
        numbers["layers"],
        numbers["total_macs"],
        {name: Range(**found) for name, found in numbers["ranges"].items()},
        roundings,
        numbers["counts"],
    )
