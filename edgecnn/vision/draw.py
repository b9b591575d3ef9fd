"""Results drawn onto frames."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.core.frame import Classification, Detections, Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
STRIP_LINES = 3
"""How many lines of text there is room for below a frame."""
# Of lines and zones: no class has a colour without a tint.
_REGION = (240, 240, 240)


def draw_classification(image: Image, result: Classification, status: str) -> Image:
    """A copy of the frame with the best classes below it, with bars as long as they are probable."""
    named = zip(result.labels, result.probabilities, strict=True)
    return with_strip(image, [(f"{label}  {probability:.0%}", probability) for label, probability in named], status)


def with_strip(image: Image, lines: Sequence[tuple[str, float]], status: str) -> Image:
    """A copy of the frame with lines of text on a dark strip below it.

    Args:
        image: uint8 BGR (height, width, 3), or grey (height, width).
        lines: Texts, of which the first three are shown, and how long the bar behind each is, 0 to 1.
        status: A short line for the end, such as the frame's age.

    Returns:
        uint8 BGR, of the same width and a strip taller; both sides even, as video encoders want them.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    width = max(image.shape[1], 240)
    width += width % 2
    line = max(18, width // 24)
    strip = line * (STRIP_LINES + 1) + 8
    strip += (image.shape[0] + strip) % 2
    canvas = cv2.copyMakeBorder(image, 0, strip, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=(24, 24, 24))
    scale = line / 32
    for row, (text, part) in enumerate(lines[:STRIP_LINES]):
        top = image.shape[0] + 4 + row * line
        color = (120, 220, 120) if row == 0 else (150, 150, 150)
        cv2.rectangle(canvas, (8, top + 3), (8 + int((width - 16) * part), top + line - 3), _dim(color), -1)
        cv2.putText(canvas, text, (14, top + line - 6), _FONT, scale, (240, 240, 240), 1, cv2.LINE_AA)
    cv2.putText(canvas, status, (14, canvas.shape[0] - 8), _FONT, scale * 0.9, (150, 150, 150), 1, cv2.LINE_AA)
    return canvas  # type: ignore[return-value]


def draw_detections(image: Image, result: Detections, status: str) -> Image:
    """A copy of the frame with boxes, names and scores of the objects, lines and zones, and a dark strip below.

    Args:
        image: uint8 BGR (height, width, 3), or grey (height, width).
        result: What to draw; a class has the same colour in every frame.
        status: A short line for the strip, such as the frame's age.

    Returns:
        uint8 BGR, of the same width and a strip taller; both sides even, as video encoders want them.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    height, width = image.shape[:2]
    line = max(18, min(width, 1280) // 36)
    strip = line + 8 + (height + line) % 2
    canvas = cv2.copyMakeBorder(image, 0, strip, 0, width % 2, cv2.BORDER_CONSTANT, value=(24, 24, 24))
    scale, thickness = line / 36, max(2, line // 12)
    corners = np.rint(result.boxes_xyxy).astype(int).tolist()
    # The best last, and so on top.
    for index in range(len(result) - 1, -1, -1):
        left, top, right, bottom = corners[index]
        color = class_color(int(result.classes[index]))
        number = f" #{result.tracks[index]}" if result.tracks is not None and result.tracks[index] else ""
        text = f"{result.labels[index]}{number} {result.scores[index]:.0%}"
        (text_width, ascent), descent = cv2.getTextSize(text, _FONT, scale, 1)
        foot = max(top, ascent + descent + 3)  # of a box at the frame's upper edge the name is inside
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, thickness)
        begin = max(min(left, width - text_width - 5), 0)  # and at its right edge, further left
        cv2.rectangle(canvas, (begin, foot - ascent - descent - 3), (begin + text_width + 4, foot), color, -1)
        cv2.putText(canvas, text, (begin + 2, foot - descent - 1), _FONT, scale, (16, 16, 16), 1, cv2.LINE_AA)
    for zone in result.zones:
        cv2.polylines(canvas, [np.rint(zone.corners).astype(np.int32)], True, _REGION, thickness, cv2.LINE_AA)
        _write(canvas, f"{zone.name}: {_counts(zone.inside)}", zone.corners[0], scale)
    for line in result.lines:
        start, end = np.rint(line.ends).astype(int).tolist()
        cv2.line(canvas, start, end, _REGION, thickness, cv2.LINE_AA)
        _write(canvas, f"{line.name}: in {_counts(line.into)}, out {_counts(line.out)}", line.ends[0], scale)
    cv2.rectangle(canvas, (0, height), (canvas.shape[1] - 1, canvas.shape[0] - 1), (24, 24, 24), -1)
    cv2.putText(canvas, status, (14, canvas.shape[0] - 8), _FONT, scale, (150, 150, 150), 1, cv2.LINE_AA)
    return canvas  # type: ignore[return-value]


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{number} {label}" for label, number in sorted(counts.items())) or "0"


def _write(canvas: npt.NDArray[Any], text: str, place: tuple[float, float], scale: float) -> None:
    """Text beginning right above a point, on a dark ground, and moved into the picture where it would leave it."""
    (width, ascent), descent = cv2.getTextSize(text, _FONT, scale, 1)
    left = max(min(round(place[0]), canvas.shape[1] - width - 5), 0)
    foot = max(round(place[1]), ascent + descent + 3)
    cv2.rectangle(canvas, (left, foot - ascent - descent - 3), (left + width + 4, foot), (24, 24, 24), -1)
    cv2.putText(canvas, text, (left + 2, foot - descent - 1), _FONT, scale, _REGION, 1, cv2.LINE_AA)


def class_color(number: int) -> tuple[int, int, int]:
    """The BGR colour of a class, in every frame."""
    # Steps of the golden ratio around the colour circle keep any few classes apart.
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 1.0)
    return (int(blue * 255), int(green * 255), int(red * 255))


def _dim(color: tuple[int, int, int]) -> tuple[int, int, int]:
    return (color[0] // 3, color[1] // 3, color[2] // 3)
