"""Is the stated preprocessing the one that the network was trained with? Labelled pictures tell.

A swap of colours or a forgotten mean leaves most networks half right: nothing fails, and accuracy is lost. So the FP32
network is also tried with what people forget or mix up, and where one of these is clearly better it is named. Without
labels nothing is said: fed with raw grey levels, a network is wrong and may be surer of itself than it is when right.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, log
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from edgecnn.build.frames import ort_network
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.core.artifact import Artifact
from edgecnn.core.classifier import Scores
from edgecnn.core.frame import Image
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import GateMissed
from edgecnn.evaluate.parity import Array, Network, only_output
from edgecnn.vision.images import ImageSet, read_image
from edgecnn.vision.preprocess import preprocess, resize_and_crop

_PICTURES = 100
# Every third picture decides which alternatives are tried on all of them, which saves two thirds of the time.
_SCREEN = 3
_SURVIVORS = 2
_P_VALUE = 0.01
# Better by chance is ruled out by the p-value; this rules out what is better and hardly matters.
_GAIN = 0.03
# Effective gain and offset nearer than this are one preprocessing: 127 and 128 instead of 127.5, say.
_SAME = 0.03
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_GREY_LEVEL = 1 / 255


class Suspicion(BaseModel):
    """Another preprocessing that does clearly better than the stated one.

    Attributes:
        stated: The keys of ``preprocess`` that differ, as the recipe has them.
        better: The same keys with the values that do better.
        pictures: How many were looked at.
        right_stated: On how many the right class is named with what the recipe states.
        right_better: And with what does better.
        p_value: Chance of such a difference if the two were equally good, corrected for the number of alternatives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stated: dict[str, Any]
    better: dict[str, Any]
    pictures: int
    right_stated: int
    right_better: int
    p_value: float

    def __str__(self) -> str:
        return (
            f"preprocess: {_text(self.better)} names the right class on {self.right_better} of {self.pictures} "
            f"pictures, {_text(self.stated)} as stated on {self.right_stated}"
        )


def find_suspicion(network: Network, images: ImageSet, spec: Preprocess, scores: Scores) -> Suspicion | None:
    """Try alternatives to a stated preprocessing on labelled pictures, 100 at most, evenly spread.

    An alternative is clearly better if it names the right class more often, by 3 of 100 pictures at least, and if the
    right class gets more probability on so many pictures that an exact sign test, one-sided, with Bonferroni's
    correction for the number of alternatives, finds p < 0.01. That test sees more than McNemar's of right and wrong: it
    counts every picture, not only those on which the two disagree.

    Args:
        network: A classifier in FP32, with one output (1, classes).
        images: With labels.
        spec: As the recipe states it.
        scores: What the network's output is.

    Returns:
        The best of those that are clearly better, if there is one.
    """
    assert images.labels is not None
    chosen = images.spread(_PICTURES)
    assert chosen.labels is not None
    crops = [resize_and_crop(read_image(path), spec) for path in chosen.paths]
    screen, rest = range(0, len(crops), _SCREEN), [index for index in range(len(crops)) if index % _SCREEN]

    def judge(candidate: Preprocess, indices: Sequence[int]) -> Array:
        """For each picture: whether the right class is named, and the logarithm of its probability."""
        return np.array([_judged(network, crops[i], candidate, chosen.labels[i], scores) for i in indices])  # type: ignore[index]

    alternatives = _alternatives(spec)
    stated = judge(spec, screen)
    tried = [(candidate, judge(candidate, screen)) for candidate in alternatives]
    tried = [(c, j) for c, j in tried if _wins(j, stated) > _wins(stated, j) and j[:, 0].sum() >= stated[:, 0].sum()]
    tried = sorted(tried, key=lambda pair: pair[1][:, 0].sum(), reverse=True)[:_SURVIVORS]
    if not tried:
        return None
    stated = np.concatenate([stated, judge(spec, rest)])
    found: list[Suspicion] = []
    for candidate, judged in tried:
        judged = np.concatenate([judged, judge(candidate, rest)])
        won, lost = _wins(judged, stated), _wins(stated, judged)
        right, right_stated = int(judged[:, 0].sum()), int(stated[:, 0].sum())
        p_value = min(1.0, _sign_test(won, won + lost) * len(alternatives))
        if p_value < _P_VALUE and right - right_stated >= max(1, _GAIN * len(crops)):
            keys = [key for key in ("color", "scale", "mean", "std") if getattr(candidate, key) != getattr(spec, key)]
            found.append(
                Suspicion(
                    stated={key: getattr(spec, key) for key in keys},
                    better={key: getattr(candidate, key) for key in keys},
                    pictures=len(crops),
                    right_stated=right_stated,
                    right_better=right,
                    p_value=p_value,
                )
            )
    return max(found, key=lambda one: one.right_better, default=None)


def require_preprocess(model: Artifact, images: ImageSet, spec: Preprocess, scores: Scores, store: Store) -> None:
    """Refuse a preprocessing that another does clearly better than.

    Raises:
        GateMissed: There is one; the message names it.
    """

    def work(payload: Any) -> StageOutput:
        found = find_suspicion(ort_network(model.path), images, spec, scores)
        payload.write_text("null" if found is None else found.model_dump_json(), encoding="utf-8")
        return StageOutput()

    settings = {"preprocess": spec.model_dump(), "scores": scores}
    packages = ("onnxruntime", "numpy", "opencv-python")
    stage = Stage("suspect", 1, "record", "suspicion.json", settings, (model.sha256, images.sha256()), packages)
    text = store.run(stage, work).path.read_text(encoding="utf-8")
    found = TypeAdapter[Suspicion | None](Suspicion | None).validate_json(text)
    if found is not None:
        raise GateMissed(
            str(found),
            "mend preprocess in the recipe; if it is as the network was trained, set gates.check_preprocess: false",
        )


def _alternatives(spec: Preprocess) -> list[Preprocess]:
    """What people state by mistake, less what comes to the same as ``spec``."""
    mean, std = _IMAGENET
    count = spec.channels
    changes: list[dict[str, Any]] = [
        {"scale": 1.0 if spec.scale < 0.1 else _GREY_LEVEL},
        {"scale": _GREY_LEVEL, "mean": (0.5,) * count, "std": (0.5,) * count},
        {"scale": _GREY_LEVEL, "mean": (0.0,) * count, "std": (1.0,) * count},
        {"scale": 1.0, "mean": (0.0,) * count, "std": (1.0,) * count},
    ]
    if spec.color != "gray":
        order = slice(None, None, 1 if spec.color == "rgb" else -1)
        changes.insert(0, {"color": "bgr" if spec.color == "rgb" else "rgb"})
        changes.append({"scale": _GREY_LEVEL, "mean": mean[order], "std": std[order]})
    found: list[Preprocess] = []
    for change in changes:
        candidate = spec.model_copy(update=change)
        if not any(
            candidate.color == other.color and np.allclose(_line(candidate), _line(other), rtol=_SAME, atol=_SAME)
            for other in (spec, *found)
        ):
            found.append(candidate)
    return found


def _line(spec: Preprocess) -> Array:
    """Where black and white end up, for each channel."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    return np.stack([-mean / std, (255 * spec.scale - mean) / std])


def _judged(network: Network, crop: Image, spec: Preprocess, label: int, scores: Scores) -> tuple[float, float]:
    # The crop has the input's size, so that nothing is resized twice.
    frame = preprocess(crop, spec.model_copy(update={"resize": "stretch"}))
    output = only_output(network(frame)).reshape(-1).astype(np.float64)
    if not np.isfinite(output).all():
        return 0.0, -np.inf
    right = float(output.argmax() == label)
    if scores == "probabilities":
        return right, log(max(output[label], np.finfo(np.float64).tiny))
    shifted = output - output.max()
    return right, float(shifted[label] - np.log(np.exp(shifted).sum()))


def _wins(one: Array, other: Array) -> int:
    return int((one[:, 1] > other[:, 1]).sum())


def _sign_test(won: int, count: int) -> float:
    """Chance that of ``count`` fair coins at least ``won`` show heads."""
    return sum(comb(count, heads) for heads in range(won, count + 1)) / 2**count


def _text(values: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        if isinstance(value, (tuple, list)):
            return f"[{', '.join(one(inner) for inner in value)}]"
        return "1/255" if value == _GREY_LEVEL else f"{value:g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key} {one(value)}" for key, value in values.items())
