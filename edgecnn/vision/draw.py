"""Results drawn onto frames."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from edgecnn.core.frame import Classification, Detections, Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINES = 3


def draw_classification(image: Image, result: Classification, status: str) -> Image:
    """A copy of the frame with the best classes on a dark strip below it.

    Args:
        image: uint8 BGR (height, width, 3), or grey (height, width).
        result: What to name; its first three classes are shown, each with a bar as long as it is probable.
        status: A short line for the right end, such as the frame's age.

    Returns:
        uint8 BGR, of the same width and a strip taller; both sides even, as video encoders want them.
    """
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    width = max(image.shape[1], 240)
    width += width % 2
    line = max(18, width // 24)
    strip = line * (_LINES + 1) + 8
    strip += (image.shape[0] + strip) % 2
    canvas = cv2.copyMakeBorder(image, 0, strip, 0, width - image.shape[1], cv2.BORDER_CONSTANT, value=(24, 24, 24))
    scale = line / 32
    for row, (label, probability) in enumerate(zip(result.labels[:_LINES], result.probabilities, strict=False)):
        top = image.shape[0] + 4 + row * line
        color = (120, 220, 120) if row == 0 else (150, 150, 150)
        cv2.rectangle(canvas, (8, top + 3), (8 + int((width - 16) * probability), top + line - 3), _dim(color), -1)
        cv2.putText(
            canvas, f"{label}  {probability:.0%}", (14, top + line - 6), _FONT, scale, (240, 240, 240), 1, cv2.LINE_AA
        )
    cv2.putText(canvas, status, (14, canvas.shape[0] - 8), _FONT, scale * 0.9, (150, 150, 150), 1, cv2.LINE_AA)
    return canvas  # type: ignore[return-value]


def draw_detections(image: Image, result: Detections, status: str) -> Image:
    """A copy of the frame with a box around every object, its name and its score, and a dark strip below.

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
        color = _class_color(int(result.classes[index]))
        text = f"{result.labels[index]} {result.scores[index]:.0%}"
        (text_width, ascent), descent = cv2.getTextSize(text, _FONT, scale, 1)
        foot = max(top, ascent + descent + 3)  # of a box at the frame's upper edge the name is inside
        cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, thickness)
        begin = max(min(left, width - text_width - 5), 0)  # and at its right edge, further left
        cv2.rectangle(canvas, (begin, foot - ascent - descent - 3), (begin + text_width + 4, foot), color, -1)
        cv2.putText(canvas, text, (begin + 2, foot - descent - 1), _FONT, scale, (16, 16, 16), 1, cv2.LINE_AA)
    cv2.rectangle(canvas, (0, height), (canvas.shape[1] - 1, canvas.shape[0] - 1), (24, 24, 24), -1)
    cv2.putText(canvas, status, (14, canvas.shape[0] - 8), _FONT, scale, (150, 150, 150), 1, cv2.LINE_AA)
    return canvas  # type: ignore[return-value]


def _class_color(number: int) -> tuple[int, int, int]:
    # Steps of the golden ratio around the colour circle keep any few classes apart.
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 1.0)
    return (int(blue * 255), int(green * 255), int(red * 255))


def _dim(color: tuple[int, int, int]) -> tuple[int, int, int]:
    return (color[0] // 3, color[1] // 3, color[2] // 3)
