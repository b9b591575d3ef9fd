"""Results of both tasks."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Classification, Detections
from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.draw import draw_classification, draw_detections
from edgecnn.vision.results import decode_result, draw_result

SPEC = Preprocess(size_hw=(100, 100), scale=1, mean=(0, 0, 0), std=(1, 1, 1))
LAYOUT = Layout(kind="boxes_scores", boxes="boxes", scores="scores", box_unit="pixels")


def test_one_output_is_a_class_and_named_outputs_are_boxes_of_the_frame() -> None:
    named = decode_result({"any": np.float32([[0, 3, 1]])}, Classifier(SPEC, ("a", "b", "c"), "logits"), (50, 200))
    assert isinstance(named, Classification)
    assert named.labels[0] == "b"

    outputs = {"scores": np.float32([[[0.1, 0.9]]]), "boxes": np.float32([[[10, 10, 20, 40]]])}
    found = decode_result(outputs, Detector(SPEC, ("a", "b"), LAYOUT), (50, 200))
    assert isinstance(found, Detections)
    assert (found.labels, found.boxes_xyxy.tolist()) == (("b",), [[20, 5, 40, 20]])


@pytest.mark.parametrize("task", ["classification", "detection"])
def test_each_is_drawn_its_own_way(task: str) -> None:
    image = np.full((120, 320, 3), 90, np.uint8)
    if task == "classification":
        result = Classification((1,), (0.75,), ("b",))
        expected = draw_classification(image, result, "status")
    else:
        result = Detections(np.float32([[20, 40, 80, 100]]), np.float32([0.9]), np.int64([1]), ("b",))
        expected = draw_detections(image, result, "status")
    assert np.array_equal(draw_result(image, result, "status"), expected)
