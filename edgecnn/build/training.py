"""Training as a stage: from the pictures that a recipe names to a checkpoint with a report."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.build.labels import read_labels
from edgecnn.build.sources import code_of, is_digits, open_pictures
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.core.artifact import Artifact
from edgecnn.core.files import hash_file, write_text
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import Recipe
from edgecnn.errors import InputError
from edgecnn.vision.images import ImageSet
from edgecnn.vision.target_set import NAMES_PARTED_BY, TargetSet

if TYPE_CHECKING:
    from edgecnn.train.network import Trained
    from edgecnn.train.samples import Samples

PACKAGES = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "opencv-python")
REPORT = "report.html"
HELD_OUT, LEARNED = "heldout.csv", "learned.csv"


@dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
        recipe: With the classes that its pictures have.
        train: What is learnt from.
        validation: What is kept back, if anything.
        near_duplicates: Samples that had to stay with others; None where nothing was split.
    """

    recipe: Recipe
    train: Samples
    validation: Samples | None
    near_duplicates: int | None


def plan_training(recipe: Recipe, store: Store) -> Plan:
    """Find a recipe's pictures and classes, and split them.

    Raises:
        InputError: The recipe has no train section or names no pictures for it, or these do not fit it.
    """
    from edgecnn.train.split import split_samples

    if recipe.train is None:
        raise InputError(f"recipe {recipe.name}: nothing to train", "add a train section")
    if recipe.data.train is None:
        raise InputError(
            f"recipe {recipe.name}: data.train is missing",
            "name a folder with a folder for each class, or give it with --data",
        )
    samples = _opened(recipe.data.train, recipe, store)
    names = read_labels(recipe) or _names(samples, recipe)
    samples = _named(samples, names, recipe)
    model = recipe.model.model_copy(update={"num_classes": len(names)})
    recipe = recipe.model_copy(update={"model": model, "labels": names})
    if recipe.data.validation is not None:
        held = _named(_opened(recipe.data.validation, recipe, store), names, recipe)
        return Plan(recipe, samples, held, None)
    if not recipe.data.validation_share:
        return Plan(recipe, samples, None, None)
    assert recipe.train is not None
    split = split_samples(samples, recipe.data.validation_share, recipe.train.seed)
    return Plan(recipe, samples.chosen(split.train), samples.chosen(split.held_out), split.near_duplicates)


def train(plan: Plan, store: Store, progress: Progress) -> Artifact:
    """Train; the checkpoint is the state dict, with a report beside it. A killed run goes on where it was."""
    recipe = plan.recipe
    config = recipe.train
    assert config is not None

    def work(payload: Path) -> StageOutput:
        import torch  # seconds to load: only where there is work to do

        from edgecnn.build.training_page import render_training
        from edgecnn.train.network import train_network

        spec = recipe.preprocess
        state, features = working / "state.pt", store.root / "features"
        trained = train_network(recipe.model, plan.train, plan.validation, spec, config, state, features, progress)
        torch.save(trained.module.state_dict(), payload)
        write_text(payload.with_name(REPORT), render_training(plan, trained))
        write_text(payload.with_name(LEARNED), _listed(plan.train, recipe))
        if plan.validation is not None:
            write_text(payload.with_name(HELD_OUT), _listed(plan.validation, recipe))
        return StageOutput(detail=_detail(plan, trained))

    pretrained = config.pretrained
    weights = hash_file(Path(pretrained)) if pretrained and Path(pretrained).is_file() else str(pretrained)
    settings = {
        "model": recipe.model.model_dump(),
        "code": code_of(recipe.model),
        "train": config.model_dump(exclude={"pretrained", "workers"}),
        "preprocess": recipe.preprocess.model_dump(),
        "labels": recipe.labels,
    }
    parents = (plan.train.sha256(), plan.validation.sha256() if plan.validation else "", weights)
    stage = Stage("train", 3, "checkpoint", "checkpoint.pt", settings, parents, PACKAGES)
    working = store.root / "training" / stage.key()
    made = store.run(stage, work)
    shutil.rmtree(working, ignore_errors=True)
    return made


def gap_sentence(trained: Trained) -> str:
    """What the training pictures and the others say about overfitting."""
    if trained.validation is None:
        return "No pictures were kept back, so nothing is known about pictures that the network has not seen."
    seen, unseen, name = trained.train.figure, trained.validation.figure, trained.figure_name
    said = f"{name} is {seen:.1%} on the pictures it learnt from and {unseen:.1%} on those kept back"
    gap = 100 * (seen - unseen)
    # With n pictures kept back, a figure near p is uncertain by about sqrt(p (1 - p) / n); twice that is chance.
    chance = 200 * (max(unseen * (1 - unseen), 0.0) / len(trained.validation.targets)) ** 0.5
    if gap <= max(chance, 1.0):
        return f"{said}: no sign of overfitting."
    advice = "more pictures, more augmentation, dropout, or fewer epochs would narrow it"
    return f"{said}: the network fits its training pictures {gap:.1f} points better than others; {advice}."


def _detail(plan: Plan, trained: Trained) -> dict[str, Any]:
    history = trained.learned.history
    figures: dict[str, Any] = {f"{trained.figure_name} on training pictures": round(trained.train.figure, 4)}
    if trained.validation is not None:
        figures[f"{trained.figure_name} on pictures kept back"] = round(trained.validation.figure, 4)
    return {
        "pictures": len(plan.train),
        "kept back": len(plan.validation) if plan.validation is not None else 0,
        "parameters": sum(parameter.numel() for parameter in trained.module.parameters()),
        "epochs": len(history),
        "last_loss": round(history[-1].train_loss, 4),
        **figures,
        "said": gap_sentence(trained),
    }


def _opened(source: str, recipe: Recipe, store: Store) -> Samples:
    from edgecnn.train.samples import open_samples, samples_of

    assert recipe.train is not None
    if is_digits(source):
        return samples_of(open_pictures(source, store))
    return open_samples(source, recipe.train.objective)


def _names(samples: Samples, recipe: Recipe) -> tuple[str, ...]:
    """Names of the classes or values, as the pictures' layout has them, else numbers."""
    if samples.classes:
        return samples.classes
    found = samples.targets.shape[1] if samples.targets.ndim == 2 else int(samples.targets.max()) + 1
    stated = recipe.model.num_classes if "num_classes" in recipe.model.model_fields_set else 0
    return tuple(str(number) for number in range(max(found, stated)))


def _named(samples: Samples, names: tuple[str, ...], recipe: Recipe) -> Samples:
    """The samples with the class numbers of these names."""
    if samples.targets.ndim == 1:
        labels = tuple(int(label) for label in samples.targets)
        fitted = ImageSet(samples.name, samples.paths, labels, samples.classes).labelled_for(names)
        return replace(samples, targets=np.asarray(fitted.labels, dtype=np.int64), classes=names)
    assert recipe.train is not None
    kind = "tags" if recipe.train.objective == "multilabel" else "values"
    found = TargetSet(samples.name, samples.paths, samples.targets, samples.classes, kind).labelled_for(names)
    return replace(samples, targets=found.targets, classes=names)


def _listed(samples: Samples, recipe: Recipe) -> str:
    """Whole pictures and their targets as CSV; parts of pictures cannot be listed, and are left out."""
    labels = recipe.labels
    assert isinstance(labels, tuple)
    assert recipe.train is not None
    objective = recipe.train.objective
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["path", *(labels if objective == "regression" else ["label"])])
    for path, box, target in zip(samples.paths, samples.boxes, samples.targets, strict=True):
        if box is not None:
            continue
        match objective:
            case "softmax":
                cells = [labels[int(target)]]
            case "multilabel":
                cells = [NAMES_PARTED_BY.join(label for label, there in zip(labels, target, strict=True) if there)]
            case "regression":
                cells = target.tolist()
        writer.writerow([path.resolve(), *cells])
    return stream.getvalue()
