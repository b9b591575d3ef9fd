"""Calibration as a stage: made once for a network, its pictures and a method, whatever is then made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import onnx_ir as ir

from edgecnn.build.stages import GRAPH_PACKAGES
from edgecnn.build.store import Stage, StageOutput
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.files import write_text
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.core.tensors import Arrays
from edgecnn.evaluate.accuracy import frames_of
from edgecnn.graph.decoding_nodes import decoding_nodes
from edgecnn.graph.embed_preprocess import preprocess_nodes
from edgecnn.graph.model import input_specs
from edgecnn.graph.prepare import load_named
from edgecnn.quantize.calibration_file import load_calibrated, save_calibrated
from edgecnn.quantize.network import calibrate_network
from edgecnn.quantize.schemes import Scheme
from edgecnn.quantize.sensitivity import measure_sensitivities
from edgecnn.vision.images import ImageSet

# Each layer is run alone on so many pictures: that orders the layers, and the gates judge what comes of it.
_SENSITIVITY_FRAMES = 8
# What a scheme says of the way in which a calibrated network is written down.
_WRITING = ("weights_as_int8", "rest")


def feeds_of(model: ir.Model, pictures: ImageSet, preprocess: InputSpec) -> Iterator[Arrays]:
    """Pictures as a network takes them, one by one."""
    name = input_specs(model)[0].name
    return ({name: frame} for frame in frames_of(pictures.places, preprocess))


def calibrate(work: Work, parent: Artifact, scheme: Scheme) -> Artifact:
    """Equalize, observe and round; see ``calibrate_network``.

    Kept by the network's weights, the pictures, their preprocessing and the method. Gates, the search, and how a
    version of TensorRT wants the result written are no part of that, so another conversion goes on from it.

    Args:
        work: The conversion; it has calibration pictures.
        parent: The FP32 network, folded and, for a detector, decoded.
        scheme: The target's rules.

    Returns:
        A folder, for ``load_calibrated``.

    Raises:
        GateMissed: No layer can be quantized.
    """
    assert work.calibration is not None
    pictures, recipe = work.calibration, work.recipe
    made = False

    def make(payload: Path) -> StageOutput:
        nonlocal made
        made = True
        model = load_named(parent.path)

        def feeds(purpose: str, most: int | None = None) -> Iterable[Arrays]:
            used = pictures.spread(most) if most else pictures
            with work.progress.task(purpose, len(used)) as task:
                for feed in feeds_of(model, used, recipe.preprocess):
                    yield feed
                    task.advance()

        # Grey levels and coordinates in pixels have more digits than INT8.
        exclude = (*preprocess_nodes(model), *(decoding_nodes(model) if work.frames.task == "detection" else ()))
        calibrated = calibrate_network(model, feeds, recipe.quantize, exclude, scheme, work.progress)
        save_calibrated(calibrated, payload)
        return StageOutput(detail={**calibrated.counts, "calibration pictures": len(pictures)})

    observes = {"percentile"} if recipe.quantize.observer in ("percentile", "auto") else set[str]()
    settings = {
        "method": recipe.quantize.model_dump(include={"observer", "equalize", "rounding"} | observes),
        "preprocess": recipe.preprocess.model_dump(),
        "scheme": {name: value for name, value in asdict(scheme).items() if name not in _WRITING},
        "task": work.frames.task,
    }
    parents = (parent.sha256, replace(pictures, labels=None).sha256())
    kept = work.store.run(Stage("calibrate", 8, "record", "calibrated", settings, parents, GRAPH_PACKAGES), make)
    if not made:
        work.progress.note("calibrated before with these weights, pictures and settings")
    return kept


def sensitivities(work: Work, calibration: Artifact, scheme: Scheme) -> dict[str, float]:
    """What INT8 in each layer does to the outputs, on a few of the calibration pictures; see ``measure_sensitivities``.

    Args:
        work: The conversion; it has calibration pictures.
        calibration: What ``calibrate`` gave.
        scheme: The target's rules.
    """
    assert work.calibration is not None
    pictures = replace(work.calibration.spread(_SENSITIVITY_FRAMES), labels=None)

    def make(payload: Path) -> StageOutput:
        calibrated = load_calibrated(calibration.path)
        frames = list(feeds_of(calibrated.model, pictures, work.recipe.preprocess))
        with work.progress.task("try each layer", len(calibrated.layers)) as task:
            found = measure_sensitivities(calibrated, scheme, frames, task.advance)
        write_text(payload, json.dumps(found, indent=1))
        return StageOutput()

    settings = {"preprocess": work.recipe.preprocess.model_dump(), "scheme": asdict(scheme)}
    parents = (calibration.sha256, pictures.sha256())
    stage = Stage("sensitivities", 3, "record", "sensitivities.json", settings, parents, GRAPH_PACKAGES)
    return json.loads(work.store.run(stage, make).path.read_text(encoding="utf-8"))
