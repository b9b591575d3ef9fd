"""One network: to FP16 and to INT8, in a process of its own, so that what it breaks or eats up ends with it."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path
from typing import Any

import onnx

from benchmarks.corpus.draw import draw_norms, draw_weights
from benchmarks.corpus.networks import Network
from edgecnn.build import convert as conversion
from edgecnn.build.results import Conversion, StageResult
from edgecnn.build.sources import recipe_from
from edgecnn.build.store import Store
from edgecnn.core.progress import Silent
from edgecnn.core.quantize_part import Precision
from edgecnn.core.recipe import DataPart, GatePart, QuantizePart, Recipe
from edgecnn.errors import EdgecnnError
from edgecnn.graph.batch_norm import batch_norms
from edgecnn.graph.fold_bn import foldable_batch_norms
from edgecnn.graph.model import load_model

# Random networks have no accuracy. What is left are the bars of parity, which no gate opens.
_OPEN = GatePart(max_drop=100.0, min_agreement=0.0, min_map_kept=None, min_map_kept_by_size=None)


def convert_network(network: Network, work: Path, pictures: Path, memory_gib: float) -> None:
    """Write ``row.json``, the network's row, and ``log.txt``.

    Args:
        network: Which.
        work: An empty folder.
        pictures: Folders of pictures: for noise and for coco one that calibrates, and one that is compared on.
        memory_gib: The process gets no more data memory than this, so that the machine lives on.
    """
    limit = int(memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with (work / "log.txt").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    conversion.timed = _untimed  # this machine's latencies take a third of the time, and change no file
    recipe = _recipe(network, work, pictures)
    row: dict[str, Any] = {"side": recipe.preprocess.size_hw[0]}
    row["fp16"] = _attempt(recipe, "fp16", work)
    # INT8 everywhere if that keeps the bar of parity, else without the few layers that disturb the output most.
    row["int8"] = _attempt(recipe, "auto", work)
    row["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
    (work / "row.json").write_text(json.dumps(row), encoding="utf-8")


def _recipe(network: Network, work: Path, pictures: Path) -> Recipe:
    """What a user would have: a network by name with a file of weights, or an ONNX file."""
    if network.family == "exporters":
        path = work / "resnet18.onnx"
        export_resnet18(network.source, path)
        recipe = recipe_from(str(path))
    elif network.side is not None:
        recipe = _torch_recipe(network, work)
    elif network.drawn:
        proto = onnx.load(network.source)
        draw_weights(proto)
        path = work / Path(network.source).name
        onnx.save(proto, str(path))
        recipe = recipe_from(str(path))
    else:
        recipe = recipe_from(network.source)
    # Trained detectors find nothing in noise.
    folder = pictures / ("coco" if network.family == "detectors" else "noise")
    data = DataPart(calibration=str(folder / "calibration"), evaluation=str(folder / "evaluation"))
    return recipe.model_copy(update={"data": data, "gates": _OPEN})


def _torch_recipe(network: Network, work: Path) -> Recipe:
    import torch

    from edgecnn.train.zoo import build_module

    recipe = recipe_from(f"{network.source}@random")
    torch.manual_seed(0)
    module = build_module(recipe.model)
    draw_norms(module)
    weights = work / "drawn.pth"
    torch.save(module.state_dict(), weights)
    side = network.side
    assert side is not None
    spec = recipe.preprocess.model_copy(update={"size_hw": (side, side), "resize": "stretch", "shorter_side": None})
    model = recipe.model.model_copy(update={"weights": str(weights)})
    return recipe.model_copy(update={"model": model, "preprocess": spec})


def export_resnet18(exporter: str, path: Path) -> None:
    """ResNet-18 as others would export it, with its BatchNorms in place."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    module = models.resnet18(weights=None).eval()
    draw_norms(module)
    example = (torch.zeros(1, 3, 224, 224),)
    if exporter == "dynamo":
        torch.onnx.export(module, example, dynamo=True, optimize=False, verbose=False).save(str(path))
        return
    torch.onnx.export(
        module,
        example,
        str(path),
        dynamo=False,
        opset_version=9 if exporter == "opset9" else 17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )


def _attempt(recipe: Recipe, precision: Precision, work: Path) -> dict[str, Any]:
    """One conversion: what came of it, or its ``failure``."""
    begin = time.perf_counter()
    found: dict[str, Any] = {"failure": None}
    asked = recipe.model_copy(update={"quantize": QuantizePart(precision=precision)})
    try:
        found |= _described(conversion.convert(asked, work / precision, Store(work / "store"), Silent()))
        if precision == "auto" and found["precision"] != "int8":
            found["failure"] = next(note for note in found["notes"] if "INT8 missed" in note)
    except Exception as error:  # whatever it is belongs in the row
        message = error.message if isinstance(error, EdgecnnError) else f"{type(error).__name__}: {error}"
        found["failure"] = " ".join(message.split())[:400]
    return {**found, "seconds": round(time.perf_counter() - begin, 1)}


def _untimed(_work: object, result: StageResult, _frames: object) -> StageResult:
    return result


def _described(done: Conversion) -> dict[str, Any]:
    manifest = done.bundle.manifest
    stages = {record.manifest.stage: record.manifest for record in manifest.stages}
    first = next(record.manifest for record in manifest.stages if record.manifest.kind == "onnx")
    last = manifest.stages[-1].manifest
    folded = next(result.artifact.path for result in done.stages if result.artifact.manifest.stage == "fold")
    final = load_model(done.bundle.model)
    verdict = manifest.verdict
    return {
        "precision": manifest.precision,
        "snr_db": {name: stage.parity.snr_db for name, stage in stages.items() if stage.parity is not None},
        "nodes": len(final.graph),
        "parameters": first.detail["parameters"],
        "folded": stages["fold"].detail.get("folded", 0) + stages["fold"].detail.get("merged", 0),
        "foldable": len(foldable_batch_norms(load_model(folded))) + len(foldable_batch_norms(final)),
        "batch_norms_left": len(list(batch_norms(final))),
        "int8_share": last.detail.get("part of the MACs in INT8"),
        "layers_left": last.detail.get("layers left out"),
        "compiler": verdict.compiler if verdict is not None else None,
        "accepted": verdict.accepted if verdict is not None else None,
        "findings": [finding.message for finding in verdict.findings] if verdict is not None else [],
        "notes": list(manifest.notes),
    }
