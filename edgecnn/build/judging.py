"""How good a network is on the evaluation pictures, beside the FP32 network that it was made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecnn.build.frames import ort_network
from edgecnn.build.results import StageResult
from edgecnn.build.stages import GRAPH_PACKAGES
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Detections
from edgecnn.core.progress import Progress
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.core.usage import Usage
from edgecnn.evaluate.accuracy import Predictions, accuracy_of, predict
from edgecnn.evaluate.detection import detection_accuracy_of, predict_detections, read_detections, write_detections
from edgecnn.evaluate.outputs import Reading, output_accuracy_of, predict_outputs
from edgecnn.evaluate.parity import Array
from edgecnn.evaluate.threshold import refit_threshold
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import ImageSet
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.target_set import TargetSet


def judged(work: Work, artifact: Artifact, usage: Usage, reference: Artifact) -> StageResult:
    """A stage with its accuracy, and for a detector with the score threshold that suits it.

    Args:
        work: The conversion.
        artifact: The stage's network.
        usage: How the FP32 network is used, and but for the threshold this one.
        reference: The FP32 network.
    """
    images = work.evaluation
    if images is None:
        return StageResult(artifact, usage)
    if isinstance(usage, Detector):
        assert not isinstance(images, TargetSet | MaskSet)  # open_work saw to it
        ours, theirs = (_detections(model, usage, images, work.store, work.progress) for model in (artifact, reference))
        truth = images if isinstance(images, DetectionSet) else None
        stated = usage.score_threshold
        fitted = stated if artifact is reference else refit_threshold(ours, truth, theirs, stated)
        accuracy = detection_accuracy_of(ours, truth, theirs, stated, fitted)
        return StageResult(artifact, replace(usage, score_threshold=fitted), accuracy)
    if not isinstance(usage, Classifier):
        assert not isinstance(images, DetectionSet)
        ours, theirs = (_outputs(model, usage, images, work.store, work.progress) for model in (artifact, reference))
        targets = images.targets if isinstance(images, TargetSet) else images if isinstance(images, MaskSet) else None
        return StageResult(artifact, usage, output_accuracy_of(ours, theirs, usage, targets))
    assert isinstance(images, ImageSet)
    found, expected = (
        _predictions(model, images, usage.preprocess, work.store, work.progress) for model in (artifact, reference)
    )
    return StageResult(artifact, usage, accuracy_of(found, images.labels if work.labelled else None, expected))


def _predictions(model: Artifact, images: ImageSet, spec: InputSpec, store: Store, progress: Progress) -> Predictions:
    """What a network names on the evaluation pictures."""

    def work(payload: Path) -> StageOutput:
        label = f"evaluate {model.manifest.stage}"
        found = predict(ort_network(model.path), images.places, spec, progress, label)
        payload.write_text(found.model_dump_json(), encoding="utf-8")
        return StageOutput(detail={"pictures": len(images)})

    parents = (model.sha256, images.sha256())
    stage = Stage(
        "predict", 3, "record", "predictions.json", {"preprocess": spec.model_dump()}, parents, GRAPH_PACKAGES
    )
    return Predictions.model_validate_json(store.run(stage, work).path.read_text(encoding="utf-8"))


def _outputs(
    model: Artifact, usage: Reading, images: ImageSet | TargetSet | MaskSet, store: Store, progress: Progress
) -> Array:
    """The probabilities, numbers, vectors or masks of a network for the evaluation pictures."""

    def work(payload: Path) -> StageOutput:
        label = f"evaluate {model.manifest.stage}"
        found = predict_outputs(ort_network(model.path), images.places, usage, progress, label)
        with payload.open("wb") as stream:
            np.save(stream, found)
        return StageOutput(detail={"pictures": len(images)})

    settings = {"preprocess": usage.preprocess.model_dump(), "part": usage.part.model_dump()}
    parents = (model.sha256, images.sha256())
    stage = Stage("outputs", 1, "record", "outputs.npy", settings, parents, GRAPH_PACKAGES)
    return np.load(store.run(stage, work).path, allow_pickle=False)


def _detections(
    model: Artifact, detector: Detector, images: DetectionSet | ImageSet, store: Store, progress: Progress
) -> tuple[Detections, ...]:
    """What a detector finds on the evaluation pictures, doubtful boxes included."""

    def work(payload: Path) -> StageOutput:
        pictures = images if isinstance(images, DetectionSet) else images.paths
        label = f"evaluate {model.manifest.stage}"
        write_detections(payload, predict_detections(ort_network(model.path), pictures, detector, progress, label))
        return StageOutput(detail={"pictures": len(images)})

    settings = {
        "preprocess": detector.preprocess.model_dump(),
        "layout": detector.layout.model_dump(),
        "classes": len(detector.labels),
        "tiles": detector.tiles.model_dump() if detector.tiles is not None else None,
        "keep": [detector.iou_threshold, detector.max_detections, detector.class_agnostic],
    }
    parents = (model.sha256, images.sha256())
    stage = Stage("detect", 1, "record", "detections.npz", settings, parents, GRAPH_PACKAGES)
    return read_detections(store.run(stage, work).path, detector.labels)
