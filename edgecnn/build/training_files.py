"""What a training leaves beside its checkpoint: the report, lists of its pictures, and a recipe to convert it with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from edgecnn.build.training import REPORT, as_trained
from edgecnn.build.training_sets import SETS, SUFFIXES
from edgecnn.core.artifact import Artifact
from edgecnn.core.files import write_atomically, write_text
from edgecnn.core.recipe import Recipe
from edgecnn.errors import InputError

_REPORT, _RECIPE = ".html", ".yaml"


def require_free_names(recipe: str, out: Path) -> None:
    """Refuse a name with which one file of a training would take the place of another, or of the user's recipe.

    Args:
        recipe: What the user calls the recipe that is trained: a file, or the name of a shipped one.
        out: See ``write_training``.

    Raises:
        InputError: It is so.
    """
    if out.suffix in (_REPORT, _RECIPE):
        raise InputError(f"--out {out}: the checkpoint needs another ending", f"such as {out.with_suffix('.pt')}")
    written = out.with_suffix(_RECIPE)
    if Path(recipe).is_file() and written.resolve() == Path(recipe).resolve():
        raise InputError(
            f"--out {out}: the recipe that training writes beside it would take the place of {recipe}",
            f"choose another name, such as {out.with_stem(out.stem + '-trained')}",
        )


def write_training(recipe: Recipe, checkpoint: Artifact, out: Path) -> dict[str, Path]:
    """Copy a checkpoint and its report to where they are wanted, and write the recipe of the finished network.

    The recipe calibrates on the pictures that were learnt from, trains on them with quantization where it is told to,
    and is judged on those that were kept back.

    Args:
        recipe: What was trained, with its classes.
        checkpoint: The result.
        out: The checkpoint's new file; the others are named after it.

    Returns:
        The files by what they are.
    """
    assert recipe.train is not None
    made = {"checkpoint": out, "report": out.with_suffix(_REPORT)}
    _copy(checkpoint.path, out)
    _copy(checkpoint.path.with_name(REPORT), made["report"])
    lists: dict[str, str] = {}
    for key, name in SETS.items():
        for suffix in SUFFIXES:
            source = checkpoint.path.with_name(name + suffix)
            if source.is_file():
                target = out.with_suffix(f".{name}{suffix}")
                _copy(source, target)
                lists[key] = target.name
    recipe = as_trained(recipe, checkpoint)
    made["recipe"] = out.with_suffix(_RECIPE)
    write_text(made["recipe"], yaml.safe_dump(_document(recipe, out, lists), sort_keys=False, allow_unicode=True))
    return made


def _document(recipe: Recipe, out: Path, lists: dict[str, str]) -> dict[str, Any]:
    document = recipe.model_dump(mode="json", exclude_unset=True, exclude={"train", "data", "labels"})
    assert recipe.train is not None
    pruned = {"pruned": True} if recipe.train.prune is not None else {}
    source = Path(recipe.model.source.rpartition(":")[0])
    model: dict[str, Any] = {
        **document["model"],
        "weights": out.name,
        "num_classes": recipe.model.num_classes,
        **pruned,
    }
    if source.parent.name:  # a folder that the code of a network of one's own lies in
        model["source"] = str(source.resolve()) + ":" + recipe.model.source.rpartition(":")[2]
    labels = list(recipe.labels) if isinstance(recipe.labels, tuple) else None
    if recipe.quantize.qat is not None:
        part = recipe.quantize.qat
        augment = (part.augment or recipe.train.augment).model_dump(mode="json", exclude_unset=True)
        document["quantize"]["qat"] = {**document["quantize"]["qat"], "augment": augment}
    return {**document, "description": f"{recipe.name}, trained", "model": model, "labels": labels, "data": lists}


def _copy(source: Path, target: Path) -> None:
    with write_atomically(target) as part:
        shutil.copyfile(source, part)
