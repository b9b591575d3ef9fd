"""Accuracy from predictions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgecnn.core.artifact import Accuracy
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.evaluate.accuracy import TOP, Predictions, accuracy_of, frames_of, network_of, predict

SPEC = Preprocess(size_hw=(2, 2), color="gray", scale=1, mean=(0,), std=(1,))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Grey pictures whose level is 10, 20 and 30."""
    paths = [tmp_path / f"{level}.png" for level in (10, 20, 30)]
    for path in paths:
        cv2.imwrite(str(path), np.full((2, 2, 3), int(path.stem), np.uint8))
    return paths


def test_the_five_most_probable_classes_are_kept_in_order(pictures: list[Path]) -> None:
    def network(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": np.arange(7, dtype=np.float32)[None] * (1 if frame.mean() > 15 else -1)}

    found = predict(network, pictures, SPEC, Silent(), "label")

    assert found.classes == ((0, 1, 2, 3, 4), (6, 5, 4, 3, 2), (6, 5, 4, 3, 2))
    assert len(found.classes[0]) == TOP


def test_of_equal_outputs_the_lower_class_comes_first(pictures: list[Path]) -> None:
    found = predict(lambda frame: {"output": np.zeros((1, 100))}, pictures[:1], SPEC, Silent(), "label")

    assert found.classes == ((0, 1, 2, 3, 4),)


def test_frames_are_made_one_by_one(pictures: list[Path]) -> None:
    frames = frames_of(pictures, SPEC)

    assert [float(frame.mean()) for frame in frames] == [10, 20, 30]


def test_accuracy_counts_first_and_first_five() -> None:
    found = Predictions(classes=((0, 1), (1, 0), (2, 3), (3, 2)))
    reference = Predictions(classes=((0, 1), (0, 1), (2, 3), (3, 2)))

    accuracy = accuracy_of(found, (0, 0, 1, 3), reference)

    assert accuracy == Accuracy(images=4, top1=0.5, top5=0.75, agreement=0.75)


def test_without_labels_there_is_agreement_alone() -> None:
    found = Predictions(classes=((0,), (1,)))

    assert accuracy_of(found, None, found) == Accuracy(images=2, top1=None, top5=None, agreement=1)


@pytest.mark.parametrize(("labels", "reference"), [((0,), 2), ((0, 1), 1)])
def test_sets_of_different_size_are_not_compared(labels: tuple[int, ...], reference: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        accuracy_of(Predictions(classes=((0,), (1,))), labels, Predictions(classes=((0,),) * reference))


def test_a_network_is_a_run_fed_by_name() -> None:
    network = network_of(lambda feeds: {"y": feeds["x"] + 1, "z": feeds["x"]}, "x")

    assert {name: array.tolist() for name, array in network(np.float32([1])).items()} == {"y": [2], "z": [1]}
