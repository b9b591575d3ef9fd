"""What a conversion finds out about a network whose outputs are several labels, numbers, a vector or a mask."""

from __future__ import annotations

from edgecnn.build.labels import read_labels, resolve_labels
from edgecnn.core.artifact import Artifact
from edgecnn.core.readings import MOST_CLASSES, Embedder, Regressor, Segmenter, Tagger
from edgecnn.core.recipe import Recipe
from edgecnn.core.signal_preprocess import of_pictures
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError
from edgecnn.graph.model import ends_in_sigmoid, load_model


def find_reading(recipe: Recipe, model: Artifact) -> Tagger | Regressor | Embedder | Segmenter:
    """How a network is used, by its recipe's task and its outputs' shapes.

    Args:
        recipe: With task: multilabel, regression, embedding or segmentation.
        model: FP32.

    Raises:
        InputError: The outputs are not what the task wants, or there are more or fewer names than values or classes.
    """
    outputs = model.manifest.outputs
    match recipe.task:
        case "multilabel":
            return _tagger(recipe, model)
        case "regression":
            return _regressor(recipe, _length(recipe, outputs))
        case "embedding":
            if read_labels(recipe) is not None:
                raise InputError(
                    f"recipe {recipe.name}: labels for task: embedding",
                    "leave them out: a gallery names what is known, see edgecnn gallery",
                )
            _length(recipe, outputs)
            return Embedder(of_pictures(recipe.preprocess), part=recipe.embedding)
        case _:
            return _segmenter(recipe, outputs)


def _length(recipe: Recipe, outputs: tuple[TensorSpec, ...]) -> int:
    """How many numbers the one output (1, N) has; it may have further sizes of 1."""
    shape = outputs[0].shape[1:]
    if len(outputs) != 1 or not shape or not isinstance(shape[0], int) or any(size != 1 for size in shape[1:]):
        listed = "; ".join(str(spec) for spec in outputs)
        raise InputError(
            f"recipe {recipe.name}: task {recipe.task} wants one output of (batch, numbers), found {listed}",
            "export the model with that output alone",
        )
    return shape[0]


def _tagger(recipe: Recipe, model: Artifact) -> Tagger:
    labels = resolve_labels(recipe, _length(recipe, model.manifest.outputs))
    part = recipe.multilabel
    strange = next((name for name in part.thresholds if name not in labels), None)
    if strange is not None:
        raise InputError(
            f"recipe {recipe.name}: multilabel.thresholds names '{strange}', which is no label",
            f"the labels are {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}",
        )
    if part.scores is None:
        found = "probabilities" if ends_in_sigmoid(load_model(model.path)) else "logits"
        part = part.model_copy(update={"scores": found})
    return Tagger(recipe.preprocess, labels, part)


def _regressor(recipe: Recipe, values: int) -> Regressor:
    part = recipe.regression
    for name, given in (("units", part.units), ("scale", part.scale), ("offset", part.offset)):
        if given and len(given) != values:
            raise InputError(
                f"recipe {recipe.name}: regression.{name} has {len(given)} entries, and the network {values} values",
                "state one for each value, or none at all",
            )
    return Regressor(recipe.preprocess, resolve_labels(recipe, values), part)


def _segmenter(recipe: Recipe, outputs: tuple[TensorSpec, ...]) -> Segmenter:
    part = recipe.segmentation
    masks = [spec for spec in outputs if _is_mask(spec) and part.output in (None, spec.name)]
    if not masks:
        listed = "; ".join(str(spec) for spec in outputs)
        raise InputError(
            f"recipe {recipe.name}: task segmentation wants an output of (1, classes, height, width), found {listed}",
            "export the model with that output, or name another one with segmentation.output",
        )
    spec = masks[0]
    planes = spec.shape[1] if len(spec.shape) == 4 and spec.dtype.startswith("float") else 0
    names = read_labels(recipe)
    if isinstance(planes, str) or (planes == 0 and names is None):
        raise InputError(
            f"recipe {recipe.name}: output {spec} does not show how many classes there are", "name them with labels"
        )
    classes = len(names or ()) if planes == 0 else max(planes, 2)
    if classes > MOST_CLASSES:
        raise InputError(f"recipe {recipe.name}: {classes} classes; a mask holds {MOST_CLASSES} at most")
    labels = resolve_labels(recipe, classes)
    return Segmenter(of_pictures(recipe.preprocess), labels, part.model_copy(update={"output": spec.name}))


def _is_mask(spec: TensorSpec) -> bool:
    """Planes (1, C, h, w) of numbers, or whole numbers (1, h, w) or (1, 1, h, w)."""
    if spec.dtype.startswith("float"):
        return len(spec.shape) == 4
    return len(spec.shape) == 3 or (len(spec.shape) == 4 and spec.shape[1] == 1)
