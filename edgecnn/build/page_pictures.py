"""Pictures within a page's HTML."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np

from edgecnn.core.frame import Image


def shrunk(image: Image, side: int) -> tuple[Image, float]:
    """A picture with no side longer than this, and what its sides were multiplied by."""
    factor = min(side / max(image.shape[:2]), 1.0)
    if factor == 1:
        return image, 1.0
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False), factor


def jpeg_url(image: Any) -> str:
    """A uint8 BGR picture as a JPEG in a data URL."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return f"data:image/jpeg;base64,{base64.b64encode(packed.tobytes()).decode()}"
