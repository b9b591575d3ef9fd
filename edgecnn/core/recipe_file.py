"""Recipes on disk, and those that come with edgecnn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecnn.core.documents import load_document
from edgecnn.core.recipe import Recipe, is_callable
from edgecnn.core.resources import shipped_folder, shipped_names
from edgecnn.core.torchvision_detectors import TRUNK
from edgecnn.errors import InputError

_NAMED_WEIGHTS = ("default", "random", TRUNK)
_NAMED_LABELS = ("imagenet-1k", "coco-80")


def load_recipe(source: str) -> Recipe:
    """Read a recipe by path or by the name of a shipped one; paths inside it become relative to its folder.

    Raises:
        InputError: No such recipe, or it is wrong; the message says where and what is known there.
    """
    path = Path(source)
    if not path.is_file():
        shipped = shipped_folder("recipes") / f"{source}.yaml"
        if not shipped.is_file():
            raise InputError(
                f"recipe {source}: no such file, and no recipe of that name comes with edgecnn",
                f"shipped recipes: {', '.join(shipped_names('recipes'))}",
            )
        path = shipped
    recipe = load_document(path, Recipe, "recipe")
    return _with_paths_from(recipe, path.parent)


def _with_paths_from(recipe: Recipe, folder: Path) -> Recipe:
    def anchored(value: str | None) -> str | None:
        # "sklearn:digits", "zoo:lenet5" and "default" name things; everything else is a path.
        if value is None or ":" in value or value in _NAMED_WEIGHTS or Path(value).is_absolute():
            return value
        return str(folder / value)

    def network(source: str) -> str | None:
        module = folder / source.rpartition(":")[0]
        top = module.parent / module.name.partition(".")[0]
        beside = is_callable(source) and (top.with_suffix(".py").is_file() or top.is_dir())
        return str(folder / source) if beside else anchored(source)

    model = recipe.model.model_copy(
        update={"source": network(recipe.model.source), "weights": anchored(recipe.model.weights)}
    )
    data = recipe.data.model_copy(
        update={name: anchored(value) for name, value in recipe.data if isinstance(value, str)}
    )
    train = recipe.train
    if train is not None:
        teacher = train.teacher and train.teacher.model_copy(
            update={"source": network(train.teacher.source), "weights": anchored(train.teacher.weights)}
        )
        train = train.model_copy(update={"pretrained": anchored(train.pretrained), "teacher": teacher})
    labels = recipe.labels
    if isinstance(labels, str) and labels not in _NAMED_LABELS:
        labels = anchored(labels)
    changes: dict[str, Any] = {"model": model, "data": data, "train": train, "labels": labels}
    layout = recipe.detection.layout
    if layout.anchors is not None:
        layout = layout.model_copy(update={"anchors": anchored(layout.anchors)})
        changes["detection"] = recipe.detection.model_copy(update={"layout": layout})
    return recipe.model_copy(update=changes)
