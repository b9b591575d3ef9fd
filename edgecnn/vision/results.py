"""From a network's outputs to its result and onto the frame, whatever its task."""

from __future__ import annotations

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector
from edgecnn.core.frame import Classification, Detections, Embedding, Image, Measurements, Segmentation, Tags
from edgecnn.core.readings import Embedder, Regressor, Segmenter, Tagger
from edgecnn.core.tensors import Arrays
from edgecnn.core.usage import Result, Usage
from edgecnn.vision.decode import decode_classification
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.decode_readings import decode_embedding, decode_measurements, decode_segmentation, decode_tags
from edgecnn.vision.draw import draw_classification, draw_detections
from edgecnn.vision.draw_readings import draw_embedding, draw_measurements, draw_segmentation, draw_tags


def decode_result(outputs: Arrays, usage: Usage, frame_hw: tuple[int, int]) -> Result:
    """What a network says about one frame.

    Args:
        outputs: By name; but for detectors and segmentation there is one.
        usage: What they mean.
        frame_hw: Height and width of the frame, pixels.

    Raises:
        GateMissed: The outputs hold NaN or infinite values.
    """
    match usage:
        case Classifier():
            (output,) = outputs.values()
            return decode_classification(output, usage)
        case Tagger():
            (output,) = outputs.values()
            return decode_tags(output, usage)
        case Regressor():
            (output,) = outputs.values()
            return decode_measurements(output, usage)
        case Embedder():
            (output,) = outputs.values()
            return decode_embedding(output)
        case Segmenter():
            return decode_segmentation(outputs, usage, frame_hw)
        case Detector():
            return decode_detections(outputs, usage, frame_hw)


def draw_result(image: Image, result: Result, status: str) -> Image:
    """A copy of the frame with the result drawn in; see ``edgecnn.vision.draw``."""
    match result:
        case Classification():
            return draw_classification(image, result, status)
        case Tags():
            return draw_tags(image, result, status)
        case Measurements():
            return draw_measurements(image, result, status)
        case Embedding():
            return draw_embedding(image, result, status)
        case Segmentation():
            return draw_segmentation(image, result, status)
        case Detections():
            return draw_detections(image, result, status)
