"""Names of a network's classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgecnn.core.recipe import Recipe
from edgecnn.errors import InputError


def resolve_labels(recipe: Recipe, classes: int) -> tuple[str, ...]:
    """A name for each of the network's classes: the recipe's, else the numbers.

    Raises:
        InputError: There are more or fewer names than classes.
    """
    names = read_labels(recipe)
    if names is None:
        return tuple(str(number) for number in range(classes))
    if len(names) != classes:
        raise InputError(
            f"recipe {recipe.name}: {len(names)} labels for a network of {classes} classes",
            "mend labels" if recipe.task == "detection" else "mend labels, or num_classes",
        )
    return names


def read_labels(recipe: Recipe) -> tuple[str, ...] | None:
    """The names that a recipe gives; none where it gives none.

    Raises:
        InputError: There is no such file, or a name is there twice.
    """
    match recipe.labels:
        case None:
            return None
        case "imagenet-1k" | "coco-80" as known:
            names = known_labels(known)
        case str(path):
            names = _read_file(Path(path))
        case given:
            names = given
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(
            f"recipe {recipe.name}: the label '{twice}' is there twice", "give every class a name of its own"
        )
    return names


def known_labels(name: Literal["imagenet-1k", "coco-80"]) -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, or those of COCO's detection task, in torchvision's order and wording."""
    return _read_file(Path(__file__).with_name(f"{name}.txt"))


def _read_file(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise InputError(f"labels {path}: no such file", "give a text file with a name a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"labels {path}: not UTF-8 text", "save the file as UTF-8") from None
    return tuple(name.strip() for name in lines if name.strip())
