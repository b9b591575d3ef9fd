"""From a network's outputs to its result and onto the frame, whatever its task."""

from __future__ import annotations

from edgecnn.core.classifier import Classifier
from edgecnn.core.frame import Classification, Image
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Result, Usage
from edgecnn.vision.decode import decode_classification
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.draw import draw_classification, draw_detections


def decode_result(outputs: Arrays, usage: Usage, frame_hw: tuple[int, int]) -> Result:
    """What a network says about one frame.

    Args:
        outputs: By name; a classifier has one.
        usage: What they mean.
        frame_hw: Height and width of the frame, pixels.

    Raises:
        GateMissed: The outputs hold NaN or infinite scores.
    """
    if isinstance(usage, Classifier):
        (output,) = outputs.values()
        return decode_classification(output, usage)
    return decode_detections(outputs, usage, frame_hw)


def draw_result(image: Image, result: Result, status: str) -> Image:
    """A copy of the frame with the result drawn in; see ``edgecnn.vision.draw``."""
    if isinstance(result, Classification):
        return draw_classification(image, result, status)
    return draw_detections(image, result, status)
