"""What a training will do: its pictures, their classes, and which of them are kept back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.build.labels import read_labels
from edgecnn.build.sources import is_digits, open_pictures
from edgecnn.build.store import Store
from edgecnn.core.detection_part import LayoutPart
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.head_part import HeadPart
from edgecnn.core.readings import Segmenter
from edgecnn.core.recipe import Recipe
from edgecnn.core.signal_preprocess import of_pictures
from edgecnn.errors import InputError
from edgecnn.graph.detection_outputs import DECODED
from edgecnn.vision.annotations import open_detection_set, open_training_set
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import ImageSet
from edgecnn.vision.mask_png import IGNORED
from edgecnn.vision.mask_set import MaskSet, open_masks
from edgecnn.vision.target_set import TargetSet

if TYPE_CHECKING:
    from edgecnn.train.samples import Samples


@dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
        recipe: With the classes that its pictures have.
        train: What is learnt from; for a detector pictures with boxes, for segmentation those with masks.
        validation: What is kept back, if anything; likewise.
        near_duplicates: Samples that had to stay with others; None where nothing was split.
    """

    recipe: Recipe
    train: Samples | DetectionSet | MaskSet
    validation: Samples | DetectionSet | MaskSet | None
    near_duplicates: int | None


def detector_of(recipe: Recipe) -> Detector:
    """How the detector that a recipe trains will be used."""
    part, labels = recipe.detection, recipe.labels
    assert isinstance(labels, tuple)
    return Detector(
        of_pictures(recipe.preprocess).outside,
        labels,
        _layout_of(recipe, len(labels)),
        part.score_threshold,
        part.iou_threshold,
        part.max_detections,
        part.class_agnostic,
    )


def _layout_of(recipe: Recipe, classes: int) -> Layout:
    """What the outputs of the detector that a recipe trains mean: torchvision's decode them themselves."""
    head = recipe.model.head
    return head.layout(classes) if isinstance(head, HeadPart) else DECODED.model_copy(update={"classes": classes})


def segmenter_of(recipe: Recipe) -> Segmenter:
    """How the network for masks that a recipe trains will be used."""
    assert isinstance(recipe.labels, tuple)
    return Segmenter(of_pictures(recipe.preprocess).outside, recipe.labels, recipe.segmentation)


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
    if recipe.task == "detection":
        return _plan_boxes(recipe, recipe.data.train)
    if recipe.task == "segmentation":
        return _plan_masks(recipe, recipe.data.train)
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


def _plan_boxes(recipe: Recipe, source: str) -> Plan:
    from edgecnn.train.samples import classes_of_pictures
    from edgecnn.train.split import split_samples

    boxes, kept = open_training_set(source)
    names = read_labels(recipe) or boxes.classes or _numbers(boxes)
    boxes = boxes.labelled_for(names)
    layout = LayoutPart.model_validate(_layout_of(recipe, len(names)).model_dump(exclude_unset=True))
    recipe = recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"num_classes": len(names)}),
            "labels": names,
            "detection": recipe.detection.model_copy(update={"layout": layout}),
        }
    )
    if recipe.data.validation is not None:
        kept = open_detection_set(recipe.data.validation)
    if kept is not None or not recipe.data.validation_share:
        return Plan(recipe, boxes, kept.labelled_for(names) if kept is not None else None, None)
    assert recipe.train is not None
    split = split_samples(classes_of_pictures(boxes), recipe.data.validation_share, recipe.train.seed)
    return Plan(recipe, boxes.chosen(split.train), boxes.chosen(split.held_out), split.near_duplicates)


def _plan_masks(recipe: Recipe, source: str) -> Plan:
    from edgecnn.train.samples import classes_of_masks
    from edgecnn.train.split import split_samples

    masks = open_masks(source)
    names = read_labels(recipe) or masks.classes or masks.numbers
    if len(names) < 2:
        raise InputError(
            f"{masks.name}: the masks have one class alone",
            f"number the classes from 0 on; {IGNORED} is for pixels that count for nothing",
        )
    masks = masks.labelled_for(names)
    model = recipe.model.model_copy(update={"num_classes": len(names)})
    recipe = recipe.model_copy(update={"model": model, "labels": names})
    if recipe.data.validation is not None:
        return Plan(recipe, masks, open_masks(recipe.data.validation).labelled_for(names), None)
    if not recipe.data.validation_share:
        return Plan(recipe, masks, None, None)
    assert recipe.train is not None
    split = split_samples(classes_of_masks(masks), recipe.data.validation_share, recipe.train.seed)
    return Plan(recipe, masks.chosen(split.train), masks.chosen(split.held_out), split.near_duplicates)


def _numbers(boxes: DetectionSet) -> tuple[str, ...]:
    largest = max(int(objects.classes.max(initial=0)) for objects in boxes.objects)
    return tuple(str(number) for number in range(largest + 1))


def _opened(source: str, recipe: Recipe, store: Store) -> Samples:
    from edgecnn.train.samples import open_samples, samples_of

    assert recipe.train is not None
    if is_digits(source):
        return samples_of(open_pictures(source, store))
    return open_samples(source, recipe.train.objective, recipe.preprocess)


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
