"""Training as a stage: from the pictures that a recipe names to a checkpoint with a report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.build.sources import code_of
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.build.training_plan import Plan, detector_of, segmenter_of
from edgecnn.build.training_sets import write_sets
from edgecnn.core.artifact import Artifact
from edgecnn.core.files import hash_file, write_text
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import ModelPart, Recipe
from edgecnn.evaluate.threshold import best_threshold
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.mask_set import MaskSet

if TYPE_CHECKING:
    from edgecnn.train.loop import Epoch
    from edgecnn.train.network import Trained

PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "opencv-python")
REPORT = "report.html"
# What of a detector's use its figures depend on; a score threshold, lines and zones can change without training anew.
_JUDGED_BY = {"iou_threshold", "max_detections", "class_agnostic"}


def train(plan: Plan, store: Store, progress: Progress) -> Artifact:
    """Train; the checkpoint is the state dict, with a report beside it. A killed run goes on where it was."""
    recipe = plan.recipe
    config = recipe.train
    assert config is not None

    def work(payload: Path) -> StageOutput:
        import torch  # seconds to load: only where there is work to do

        from edgecnn.build.training_page import render_training

        trained = _trained(plan, working / "state.pt", store.root / "features", progress)
        torch.save(trained.module.state_dict(), payload)
        write_text(payload.with_name(REPORT), render_training(plan, trained))
        write_sets(plan, payload.parent)
        return StageOutput(detail=_detail(plan, trained))

    settings = {
        "model": recipe.model.model_dump(),
        "code": code_of(recipe.model),
        "train": config.model_dump(exclude={"pretrained": True, "workers": True, "teacher": {"weights"}}),
        "preprocess": recipe.preprocess.model_dump(),
        "labels": recipe.labels,
        "detection": recipe.detection.model_dump(include=_JUDGED_BY) if recipe.task == "detection" else None,
    }
    parents = (plan.train.sha256(), plan.validation.sha256() if plan.validation else "", _identity(config.pretrained))
    if config.teacher is not None:
        model = ModelPart(source=config.teacher.source, arguments=config.teacher.arguments)
        parents += (_identity(config.teacher.weights), code_of(model))
    stage = Stage("train", 4, "checkpoint", "checkpoint.pt", settings, parents, PACKAGES)
    working = store.root / "training" / stage.key()
    made = store.run(stage, work)
    shutil.rmtree(working, ignore_errors=True)
    return made


def _identity(weights: str | None) -> str:
    """What a file of weights holds, or the name of those that are no file."""
    return hash_file(Path(weights)) if weights and Path(weights).is_file() else str(weights)


def as_trained(recipe: Recipe, checkpoint: Artifact) -> Recipe:
    """A recipe with what its training has found out about the detector: the score threshold, if none is stated."""
    threshold = checkpoint.manifest.detail.get("score_threshold")
    if threshold is None or "score_threshold" in recipe.detection.model_fields_set:
        return recipe
    part = recipe.detection.model_copy(update={"score_threshold": threshold})
    return recipe.model_copy(update={"detection": part})


def _trained(plan: Plan, state: Path, features: Path, progress: Progress) -> Trained:
    from edgecnn.train.detection.detector import train_detector
    from edgecnn.train.masks.segmenter import train_segmenter
    from edgecnn.train.network import train_network

    recipe, learn, keep = plan.recipe, plan.train, plan.validation
    assert recipe.train is not None
    if isinstance(learn, DetectionSet):
        assert keep is None or isinstance(keep, DetectionSet)
        return train_detector(recipe.model, learn, keep, detector_of(recipe), recipe.train, state, progress)
    if isinstance(learn, MaskSet):
        assert keep is None or isinstance(keep, MaskSet)
        return train_segmenter(recipe.model, learn, keep, segmenter_of(recipe), recipe.train, state, progress)
    assert not isinstance(keep, DetectionSet | MaskSet)
    spec = recipe.preprocess
    return train_network(recipe.model, learn, keep, spec, recipe.train, state, features, progress)


def gap_sentence(trained: Trained) -> str:
    """What the training pictures and the others say about overfitting."""
    if trained.validation is None:
        return "No pictures were kept back, so nothing is known about pictures that the network has not seen."
    seen, unseen, name = trained.train.figure, trained.validation.figure, trained.figure_name
    said = f"{name} is {seen:.1%} on the pictures it learnt from and {unseen:.1%} on those kept back"
    gap = 100 * (seen - unseen)
    # With n pictures kept back, a figure near p is uncertain by about sqrt(p (1 - p) / n); twice that is chance.
    chance = 200 * (max(unseen * (1 - unseen), 0.0) / len(trained.validation)) ** 0.5
    if gap <= max(chance, 1.0):
        return f"{said}: no sign of overfitting."
    advice = "more pictures, more augmentation, dropout, or fewer epochs would narrow it"
    return f"{said}: the network fits its training pictures {gap:.1f} points better than others; {advice}."


def _detail(plan: Plan, trained: Trained) -> dict[str, Any]:
    history = trained.learned.history
    figures: dict[str, Any] = {f"{trained.figure_name} on training pictures": round(trained.train.figure, 4)}
    if trained.validation is not None:
        figures[f"{trained.figure_name} on pictures kept back"] = round(trained.validation.figure, 4)
    if trained.teacher is not None:
        figures[f"{trained.figure_name} of the teacher on these"] = round(trained.teacher.figure, 4)
    return {
        "pictures": len(plan.train),
        "kept back": len(plan.validation) if plan.validation is not None else 0,
        "parameters": sum(parameter.numel() for parameter in trained.module.parameters()),
        **_of_pruning(trained),
        **_of_sparsity(trained),
        "epochs": len(history),
        "last_loss": round(history[-1].train_loss, 4),
        "learning curve": [_of_epoch(epoch) for epoch in history],
        **figures,
        **_of_boxes(trained),
        "said": gap_sentence(trained),
    }


def _of_epoch(epoch: Epoch) -> dict[str, float]:
    """The training pictures' loss, the figure of those kept back, if any, and the seconds that the epoch took."""
    judged = {} if epoch.validation_figure is None else {"figure": round(epoch.validation_figure, 4)}
    return {"loss": round(epoch.train_loss, 4), **judged, "seconds": round(epoch.seconds, 2)}


def _of_pruning(trained: Trained) -> dict[str, Any]:
    """The whole network and what each step made of it, and the multiply-accumulates of the one that was kept."""
    found = trained.slim.pruned if trained.slim is not None else None
    if found is None:
        return {}
    steps = [
        {"macs": step.macs, "parameters": step.parameters, "figure": round(step.figure, 4)} for step in found.steps
    ]
    return {"macs": found.steps[found.kept].macs, "pruning": steps, "kept step": found.kept}


def _of_sparsity(trained: Trained) -> dict[str, Any]:
    found = trained.slim.sparse if trained.slim is not None else None
    if found is None:
        return {}
    before = {} if found.before is None else {f"{trained.figure_name} without 2:4 sparsity": round(found.before, 4)}
    return {"2:4 sparse layers": found.layers, **before}


def _of_boxes(trained: Trained) -> dict[str, Any]:
    """What is found out about a detector: COCO's mAP, and the score threshold with the best balance of mistakes."""
    from edgecnn.train.detection.detection_goal import Detected

    judged = trained.validation
    if not isinstance(judged, Detected):
        return {}
    threshold = best_threshold(judged.detections, judged.truth)
    return {"mAP on pictures kept back": round(judged.mean_precision, 4), "score_threshold": round(threshold, 3)}
