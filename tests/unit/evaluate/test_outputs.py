"""How near numbers, vectors and masks are, against formulas written out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.core.readings import Embedder, Regressor, SegmentationPart, Segmenter, Tagger
from edgecnn.evaluate.outputs import mask_agreement, output_accuracy_of, predict_outputs, relative_error

SPEC = Preprocess(size_hw=(4, 4), mean=(0, 0, 0), std=(1, 1, 1), scale=1.0)


def test_an_error_is_a_part_of_the_spread_and_the_worst_value_counts() -> None:
    reference = np.array([[0.0, 100.0], [2.0, 104.0]])  # spread 1 and 2
    found = reference + np.array([[0.1, 0.5], [-0.1, -0.5]])

    assert relative_error(found, reference) == pytest.approx(0.25)
    assert relative_error(reference, reference) == 0


def test_values_without_spread_are_compared_with_their_size() -> None:
    reference = np.full((3, 1), 50.0)
    assert relative_error(reference + 0.5, reference) == pytest.approx(1.0)  # 0.5 of 1% of 50


def test_intersection_over_union_of_the_classes_that_occur() -> None:
    reference = np.uint8([[[0, 0, 1, 1]]])
    found = np.uint8([[[0, 1, 1, 1]]])

    assert mask_agreement(found, reference, 4) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert mask_agreement(found, found, 4) == 1


def test_each_task_has_its_figures(tmp_path: Path) -> None:
    paths = [tmp_path / f"{level}.png" for level in (50, 150)]
    for path in paths:
        cv2.imwrite(str(path), np.full((4, 4, 3), int(path.stem), np.uint8))

    def network(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"out": frame.mean(axis=(2, 3))[:, :2]}

    def planes(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"mask": frame[:, :1]}

    values = predict_outputs(network, paths, Regressor(SPEC, ("a", "b")), Silent(), "")
    vectors = predict_outputs(network, paths, Embedder(SPEC), Silent(), "")
    segmenter = Segmenter(SPEC, ("dark", "bright"), SegmentationPart(threshold=100))
    masks = predict_outputs(planes, paths, segmenter, Silent(), "")

    np.testing.assert_allclose(values, [[50, 50], [150, 150]])
    np.testing.assert_allclose(vectors, np.sqrt(0.5))
    assert [mask.tolist() for mask in masks] == [[[0] * 4] * 4, [[1] * 4] * 4]
    near = output_accuracy_of(values + np.array([1, 0]), values, Regressor(SPEC, ("a", "b")))
    assert (near.images, near.relative_error, near.kept) == (2, pytest.approx(0.02), pytest.approx(0.98))
    turned = np.float32([[1, 0], [0.6, 0.8]])
    cosines = output_accuracy_of(turned, np.float32([[1, 0], [1, 0]]), Embedder(SPEC))
    assert (cosines.cosine, cosines.lowest_cosine) == (pytest.approx(0.8), pytest.approx(0.6))
    same = output_accuracy_of(masks, masks, segmenter)
    assert (same.mask_agreement, same.pixel_agreement, same.kept, same.mean_iou) == (1, 1, 1, None)


def test_labels_are_held_against_fp32s_and_against_what_is_right() -> None:
    tagger = Tagger(SPEC, ("a", "b"))
    reference = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.6]])
    found = np.array([[0.9, 0.1], [0.8, 0.4], [0.2, 0.6]])  # one label of four is not given any more

    plain = output_accuracy_of(found, reference, tagger)
    assert (plain.tag_agreement, plain.map, plain.kept) == (pytest.approx(6 / 7), None, pytest.approx(6 / 7))
    judged = output_accuracy_of(found, reference, tagger, np.float32([[1, 0], [1, 1], [0, 1]]))
    assert (judged.map, judged.f1) == (1, pytest.approx((1 + 2 / 3) / 2))
    values = output_accuracy_of(found, reference, Regressor(SPEC, ("a", "b")), reference)
    assert values.mean_absolute_error == {"a": 0, "b": pytest.approx(0.1)}
