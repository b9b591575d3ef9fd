"""What a network found in a frame."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.core.frame import Detections


def detections(*scores: float) -> Detections:
    count = len(scores)
    boxes = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    return Detections(boxes, np.float32(scores), np.arange(count), tuple("abcdefgh"[:count]))


def test_those_above_a_threshold_keep_what_belongs_to_them() -> None:
    found = detections(0.9, 0.5, 0.4).above(0.5)

    assert len(found) == 2
    assert found.labels == ("a", "b")
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 1, 2, 3], [4, 5, 6, 7]])
    np.testing.assert_array_equal(found.classes, [0, 1])
    assert len(detections().above(0.5)) == 0


@pytest.mark.parametrize("field", ["boxes_xyxy", "scores", "classes", "labels"])
def test_counts_that_differ_are_refused(field: str) -> None:
    fields = vars(detections(0.9, 0.5)) | {field: getattr(detections(0.9, 0.5, 0.4), field)}

    with pytest.raises(ValueError, match="expected, got"):
        Detections(**fields)
