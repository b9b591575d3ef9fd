"""A few numbers that say what a picture is like, and how sure a network is of it: cheap enough for every frame.

The distance between training pictures and a camera's frames is measured in them, and for a classifier in the scores of
its classes. Lee et al. (2018) measure it in a trunk's features, which a deployed network does not give: a further
output would be another graph, with other fusions and times. The scores are the one layer of theirs that it gives.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification, Image, Measurements, Tags
from edgecnn.core.readings import Regressor, Tagger
from edgecnn.core.signal_preprocess import of_pictures
from edgecnn.core.usage import Result, Usage

GREY = ("brightness", "contrast", "sharpness")
COLOUR = ("red to green", "yellow to blue", "colour contrast")
# Edges are looked at in the size that the network sees, but not in a finer one than this.
_LARGEST = 224
_LEAST_EDGE, _LEAST_PART = 1e-3, 1e-6
_LEAST_PROBABILITY = 1e-30
_MOST_VALUES = 16


def statistic_names(usage: Usage) -> tuple[str, ...]:
    """Names of what ``statistics_of`` gives."""
    names = GREY if of_pictures(usage.preprocess).color == "gray" else GREY + COLOUR
    match usage:
        case Classifier():
            return (*names, "log-odds of the best class")
        case Tagger():
            return (*names, "labels expected", "doubt about labels")
        case Regressor():
            return (*names, *usage.labels[:_MOST_VALUES])
        case _:
            return names


def looks_at_results(usage: Usage) -> bool:
    """Whether ``statistics_of`` wants a result: of boxes, vectors and masks nothing is looked at."""
    return isinstance(usage, Classifier | Tagger | Regressor)


def statistics_of(image: Image, result: Result | None, usage: Usage) -> npt.NDArray[np.float64]:
    """The numbers of one picture.

    Brightness and contrast are mean and standard deviation of the luma, sharpness is the logarithm of its mean absolute
    Laplacian. Colours are opponent channels (Hasler and Suesstrunk, 2003). All on the picture in the size that the
    network takes, levels from 0 to 1.

    Args:
        image: uint8 BGR (height, width, 3), or grey (height, width).
        result: Of the network as decoded, before anything is averaged over time; None where none is looked at.
        usage: Of the network.

    Returns:
        float64 (D,), in the order of ``statistic_names``.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    spec = of_pictures(usage.preprocess)
    height, width = (min(size, _LARGEST) for size in spec.size_hw)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    luma = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    edges = float(np.abs(cv2.Laplacian(luma, cv2.CV_32F)).mean())
    found = [float(luma.mean()), float(luma.std()), float(np.log(edges + _LEAST_EDGE))]
    if spec.color != "gray":
        blue, green, red = cv2.split(small)
        one, other = red - green, (red + green) / 2 - blue
        found += [float(one.mean()), float(other.mean()), float(np.hypot(one.std(), other.std()))]
    return np.array([*found, *_of_result(result)])


def class_scores(result: Result | None) -> npt.NDArray[np.float64] | None:
    """A classifier's scores (classes,) with a mean of 0: logarithms of the probabilities, so logits but for a constant.

    None where there is no such result.
    """
    if not isinstance(result, Classification) or result.distribution is None:
        return None
    scores = np.log(np.maximum(result.distribution.astype(np.float64), _LEAST_PROBABILITY))
    return scores - scores.mean()


def _of_result(result: Result | None) -> list[float]:
    match result:
        case Classification(distribution=distribution) if distribution is not None:
            best = float(np.clip(distribution.max(), _LEAST_PART, 1 - _LEAST_PART))
            return [math.log(best / (1 - best))]
        case Tags(distribution=distribution):
            return [float(distribution.sum()), float(np.log((distribution * (1 - distribution)).sum() + _LEAST_PART))]
        case Measurements(values=values):
            return list(values[:_MOST_VALUES])
        case _:
            return []
