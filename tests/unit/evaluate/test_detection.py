"""Average precision against COCO's own code, and the other figures by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Detections
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.errors import EnvironmentMissing, InputError
from edgecnn.evaluate.detection import (
    average_precisions,
    box_agreement,
    detection_accuracy_of,
    predict_detections,
    read_detections,
    write_detections,
)
from edgecnn.vision.detection_set import Annotations, DetectionSet

LABELS = ("ant", "bee", "cat")
# Both sum the same recalls and precisions in float64, of boxes in float32.
ROUNDING = 1e-6


def found(boxes: object, scores: object, classes: object) -> Detections:
    numbers = np.asarray(classes, dtype=np.int64)
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return Detections(corners, np.asarray(scores, dtype=np.float32), numbers, tuple(LABELS[n] for n in numbers))


def objects(boxes: object, classes: object, ignored: object = None) -> Annotations:
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    numbers = np.asarray(classes, dtype=np.int64)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    flags = np.zeros(len(numbers), dtype=bool) if ignored is None else np.asarray(ignored, dtype=bool)
    return Annotations(corners, numbers, flags, areas.astype(np.float32))


def truth_of(*pictures: Annotations) -> DetectionSet:
    count = len(pictures)
    paths = tuple(Path(f"{number}.png") for number in range(count))
    return DetectionSet("test", paths, ((480, 640),) * count, pictures, LABELS)


def random_case(seed: int, pictures: int = 12) -> tuple[list[Detections], DetectionSet]:
    """Objects of all sizes, some of them crowds; detections that are near them, beside them and of other classes."""
    random = np.random.default_rng(seed)
    annotations: list[Annotations] = []
    detections: list[Detections] = []
    for _ in range(pictures):
        count = int(random.integers(0, 9))
        corner = random.uniform(0, 400, (count, 2))
        boxes = np.concatenate([corner, corner + np.exp(random.uniform(2, 5.5, (count, 2)))], axis=1)
        classes = random.integers(0, 3, count)
        annotations.append(objects(boxes, classes, random.random(count) < 0.15))
        chosen = random.integers(0, max(count, 1), int(random.integers(0, 30)) if count else 0)
        size = np.tile(boxes[chosen, 2:] - boxes[chosen, :2], 2)
        near = boxes[chosen] + random.normal(0, 0.12, (len(chosen), 4)) * size
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        kinds = np.where(random.random(len(chosen)) < 0.8, classes[chosen], random.integers(0, 3, len(chosen)))
        scores = np.sort(random.random(len(chosen)))[::-1]
        detections.append(found(near, scores, kinds))
    return detections, truth_of(*annotations)


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_cocos_own_code(seed: int) -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed: pip install 'edgecnn[dev]'")
    from pycocotools.cocoeval import COCOeval

    detections, truth = random_case(seed)
    reference = coco.COCO()
    reference.dataset = {
        "info": {},
        "images": [{"id": index} for index in range(len(truth))],
        "categories": [{"id": number} for number in range(3)],
        "annotations": [],
    }
    for index, picture in enumerate(truth.objects):
        for box, kind, crowd, area in zip(
            picture.boxes_xyxy.astype(float), picture.classes, picture.ignored, picture.areas, strict=True
        ):
            reference.dataset["annotations"].append(
                {
                    "id": len(reference.dataset["annotations"]) + 1,
                    "image_id": index,
                    "category_id": int(kind),
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    reference.createIndex()
    results = [
        {"image_id": index, "category_id": int(kind), "bbox": [*box[:2], *(box[2:] - box[:2])], "score": float(score)}
        for index, picture in enumerate(detections)
        for box, kind, score in zip(
            picture.boxes_xyxy.astype(float), picture.classes, picture.scores, strict=True
        )
    ]  # fmt: skip
    evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = [evaluation.stats[place] for place in (0, 1, 3, 4, 5)]

    figures = average_precisions(detections, truth)

    assert list(figures) == ["map", "map50", "map_small", "map_medium", "map_large"]
    np.testing.assert_allclose(list(figures.values()), expected, atol=ROUNDING)
    assert 0 < figures["map"] < figures["map50"] < 1


def test_average_precision_by_hand() -> None:
    """One class: right, wrong, right. Recall is 1/2 at precision 1, and 1 at 2/3."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    first, second, elsewhere = [0, 0, 50, 50], [100, 100, 150, 150], [300, 300, 350, 350]
    truth = truth_of(objects([first, second], [0, 0]))

    figures = average_precisions([found([first, elsewhere, second], [0.9, 0.8, 0.7], [0, 0, 0])], truth)

    # COCO reads precision at 101 recalls: 51 up to one half, and 50 above.
    assert figures["map"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert figures["map_small"] is None
    assert figures["map_medium"] == figures["map"]
    assert figures["map_large"] is None


def test_finding_nothing_is_an_average_precision_of_nothing() -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")

    assert average_precisions([found([], [], [])], truth_of(objects([[0, 0, 9, 9]], [0])))["map"] == 0


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)

    with pytest.raises(EnvironmentMissing, match="faster-coco-eval"):
        average_precisions([found([], [], [])], truth_of(objects([], [])))


def test_agreement_wants_the_place_and_the_class() -> None:
    reference = [found([[0, 0, 100, 100], [200, 0, 300, 100]], [0.9, 0.8], [0, 1]), found([], [], [])]
    near, far = [0, 0, 100, 91], [0, 0, 100, 89]

    assert box_agreement(reference, reference) == 1
    assert box_agreement(reference, [found([near], [0.5], [0]), found([near], [0.5], [0])]) == 1 / 2
    assert box_agreement(reference, [found([far], [0.5], [0]), found([], [], [])]) == 0
    assert box_agreement(reference, [found([near], [0.5], [1]), found([], [], [])]) == 0
    assert box_agreement([found([], [], [])], [found([near], [0.5], [0])]) == 1


def test_what_is_recorded() -> None:
    """Only what each network shows counts for agreement, and everything for average precision."""
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    box, other = [0, 0, 50, 50], [100, 100, 150, 150]
    reference = [found([box, other], [0.9, 0.2], [0, 0])]
    candidate = [found([box, other], [0.5, 0.45], [0, 0])]
    truth = truth_of(objects([box, other], [0, 0]))

    found_out = detection_accuracy_of(candidate, truth, reference, 0.3, 0.4)

    assert (found_out.images, found_out.map, found_out.map50) == (1, 1.0, 1.0)
    assert (found_out.box_agreement, found_out.box_support, found_out.score_threshold) == (1.0, 0.5, 0.4)
    without = detection_accuracy_of(candidate, None, reference, 0.3, 0.48)
    assert (without.map, without.map_small, without.box_agreement, without.box_support) == (None, None, 1.0, 1.0)


def test_detections_are_kept_on_disk(tmp_path: Path) -> None:
    detections = [found([[1, 2, 3, 4], [5, 6, 7, 8]], [0.9, 0.1], [2, 0]), found([], [], []), random_case(0)[0][3]]

    write_detections(tmp_path / "record", detections)
    again = read_detections(tmp_path / "record", LABELS)

    assert len(again) == 3
    for mine, theirs in zip(again, detections, strict=True):
        np.testing.assert_array_equal(mine.boxes_xyxy, theirs.boxes_xyxy)
        np.testing.assert_array_equal(mine.scores, theirs.scores)
        np.testing.assert_array_equal(mine.classes, theirs.classes)
        assert mine.labels == theirs.labels


def test_pictures_are_preprocessed_run_and_decoded(tmp_path: Path) -> None:
    """The network sees the picture's grey level, which is the score that it gives."""
    paths = []
    for level in (200, 40):
        paths.append(tmp_path / f"{level}.png")
        assert cv2.imwrite(str(paths[-1]), np.full((32, 64, 3), level, np.uint8))

    def network(frame: np.ndarray) -> dict[str, np.ndarray]:
        assert frame.shape == (1, 3, 16, 16)
        return {"out": np.float32([[[0, 0, 8, 16, frame.mean(), 1]]])}

    detector = Detector(
        Preprocess(size_hw=(16, 16), mean=(0, 0, 0), std=(1, 1, 1)), LABELS, Layout(kind="end_to_end", boxes="out"), 0.5
    )

    bright, dark = predict_detections(network, paths, detector, Silent(), "test")

    np.testing.assert_allclose(bright.boxes_xyxy, [[0, 0, 32, 32]])
    assert (bright.labels, dark.labels) == (("bee",), ("bee",))
    assert dark.scores[0] == pytest.approx(40 / 255)  # below the detector's threshold, which is for showing
    truth = replace(truth_of(objects([], []), objects([], [])), paths=tuple(paths), sizes_hw=((32, 64), (64, 32)))
    with pytest.raises(InputError, match=r"40\.png: 64 x 32 pixels, and its annotations are for 32 x 64"):
        predict_detections(network, truth, detector, Silent(), "test")
