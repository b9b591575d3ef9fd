"""Labels, numbers, names and masks drawn onto frames."""

from __future__ import annotations

import cv2
import numpy as np

from edgecnn.core.frame import Embedding, Image, Measurements, Segmentation, Tags
from edgecnn.core.readings import NOT_SEEN
from edgecnn.vision.draw import STRIP_LINES, class_color, with_strip

# Classes that are all that is not of interest, by the names that data sets give them.
_BACKGROUND = ("background", "__background__")
_TINT = 0.5


def draw_tags(image: Image, result: Tags, status: str) -> Image:
    """A copy of the frame with its labels below it, with bars as long as they are probable, and how many more."""
    named = [(f"{label}  {part:.0%}", part) for label, part in zip(result.labels, result.probabilities, strict=True)]
    if len(named) > STRIP_LINES:
        text, part = named[STRIP_LINES - 1]
        named[STRIP_LINES - 1 :] = [(f"{text}, and {len(named) - STRIP_LINES} more", part)]
    return with_strip(image, named or [("no label", 0.0)], status)


def draw_measurements(image: Image, result: Measurements, status: str) -> Image:
    """A copy of the frame with the values and their units below it; see ``with_strip``."""
    named = zip(result.labels, result.values, result.units, strict=True)
    return with_strip(image, [(f"{label}  {value:.4g} {unit}".rstrip(), 0.0) for label, value, unit in named], status)


def draw_embedding(image: Image, result: Embedding, status: str) -> Image:
    """A copy of the frame with the name of who is in it below, and a bar for the cosine; see ``with_strip``."""
    if result.label is None or result.similarity is None:
        return with_strip(image, [], status)
    return with_strip(image, [(f"{result.label}  {result.similarity:.2f}", max(result.similarity, 0.0))], status)


def draw_segmentation(image: Image, result: Segmentation, status: str) -> Image:
    """A copy of the frame tinted with the colours of its classes, but for the background, and their shares below it."""
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    colors = np.zeros((256, 3), dtype=np.uint8)
    tinted = np.zeros(256, dtype=bool)
    for number, label in enumerate(result.labels):
        colors[number] = class_color(number)
        tinted[number] = label not in _BACKGROUND and number != NOT_SEEN
    mixed = cv2.addWeighted(image, 1 - _TINT, colors[result.mask], _TINT, 0)
    picture = np.where(tinted[result.mask][:, :, None], mixed, image).astype(np.uint8)
    order = np.argsort(-np.asarray(result.shares), kind="stable")
    shown = [(f"{result.labels[number]}  {result.shares[number]:.1%}", result.shares[number]) for number in order]
    return with_strip(picture, shown, status)
