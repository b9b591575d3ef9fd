"""Pictures with boxes in batches, and a detector trained on them: the seed decides, and it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")

from edgecnn.build.training_sets import coco_document  # noqa: E402 - after the skip
from edgecnn.core.detector import Detector  # noqa: E402
from edgecnn.core.head_part import HeadPart  # noqa: E402
from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.evaluate.threshold import best_threshold  # noqa: E402
from edgecnn.train.detection.box_loss import FILLING, IGNORED  # noqa: E402
from edgecnn.train.detection.boxed_pictures import BoxedBatches  # noqa: E402
from edgecnn.train.detection.detector import train_detector  # noqa: E402
from edgecnn.train.network import Trained  # noqa: E402
from edgecnn.vision.annotations import open_detection_set  # noqa: E402
from edgecnn.vision.detection_set import DetectionSet  # noqa: E402
from edgecnn.vision.preprocess import preprocess  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

SPEC = Preprocess(size_hw=(64, 64), resize="letterbox", mean=(0.5,) * 3, std=(0.25,) * 3)
STILL = AugmentPart(degrees=0, translate=0, scale=(1, 1))
CONFIG = TrainPart(objective="detection", epochs=2, batch_size=4, learning_rate=0.02, augment=STILL)
HEAD = HeadPart(width=16, depth=1)
CODE = """
import torch
def net():
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(stage(3, 8), stage(8, 16), stage(16, 16), stage(16, 16), stage(16, 16),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 5))
"""
# Half a pixel of the picture: what is warped is blurred at its edges.
EDGE = 0.5


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of 96 x 64 with a white or a red rectangle on dark noise, in COCO's layout."""
    random = np.random.default_rng(1)
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for number in range(count):
        picture = random.integers(0, 60, (64, 96, 3), dtype=np.uint8)
        kind = number % 2
        width, height = (int(side) for side in random.integers(20, 36, 2))
        left, top = int(random.integers(0, 96 - width)), int(random.integers(0, 64 - height))
        picture[top : top + height, left : left + width] = (0, 0, 255) if kind else (255, 255, 255)
        cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
        images.append({"id": number, "file_name": f"{number:02d}.png", "height": 64, "width": 96})
        rows.append({"id": number + 1, "image_id": number, "category_id": kind, "bbox": [left, top, width, height]})
    names = [{"id": 0, "name": "white"}, {"id": 1, "name": "red"}]
    (folder / "all.json").write_text(json.dumps({"images": images, "annotations": rows, "categories": names}))
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> DetectionSet:
    return open_detection_set(str(write_pictures(tmp_path_factory.mktemp("boxes"), 16)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelPart:
    place = tmp_path_factory.mktemp("code")
    (place / "boxes_net.py").write_text(CODE)
    return ModelPart(source=f"{place}/boxes_net:net", head=HEAD, num_classes=2)


def bright_box(picture: np.ndarray) -> list[float]:
    """Corners of what is bright in the red channel of a network's input."""
    rows, columns = np.nonzero(picture[0] > 0)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_plain_pictures_are_those_of_run_time_with_their_boxes(boxes: DetectionSet) -> None:
    batches = BoxedBatches(boxes, SPEC, CONFIG)

    seen = 0
    for inputs, targets in batches.plain():
        for picture, rows in zip(inputs.numpy(), targets.numpy(), strict=True):
            assert np.array_equal(picture[None], preprocess(boxes.picture(seen), SPEC))
            assert rows[0, 0] == seen % 2
            np.testing.assert_allclose(rows[0, 1:], bright_box(picture), atol=1)
            seen += 1
    assert seen == len(boxes)
    few = [targets for _, targets in batches.plain(3)]
    assert [int(kind) for kind in few[0][:, 0, 0]] == [0, 1, 0]


def test_boxes_go_where_the_pictures_go(boxes: DetectionSet, augment: AugmentPart) -> None:
    config = CONFIG.model_copy(update={"augment": augment})
    checked = 0
    for inputs, targets in BoxedBatches(boxes, SPEC, config).epoch(3, 0, 0, 1):
        for picture, rows in zip(inputs.numpy(), targets.numpy(), strict=True):
            for kind, *box in rows:
                if kind == FILLING:
                    continue
                found = bright_box(picture)
                # The box of a turned rectangle is the hull of its corners, as the bright pixels' is.
                np.testing.assert_allclose(box, found, atol=2.5 if augment.degrees else 1 + EDGE)
                checked += 1
    assert checked >= 12


def test_an_epoch_is_the_same_from_any_batch_on_and_differs_from_the_next(boxes: DetectionSet) -> None:
    config = CONFIG.model_copy(update={"augment": AugmentPart(horizontal_flip=0.5)})

    def epoch(number: int, begin: int = 0) -> list[Any]:
        return list(BoxedBatches(boxes, SPEC, config).epoch(number, begin, 0, 1))

    whole, rest, other = epoch(1), epoch(1, 2), epoch(2)
    for (inputs, targets), (again, same) in zip(whole[2:], rest, strict=True):
        assert torch.equal(inputs, again)
        assert torch.equal(targets, same)
    assert not torch.equal(whole[0][0], other[0][0])


def test_what_is_cut_to_a_sliver_is_to_be_ignored(boxes: DetectionSet) -> None:
    augment = AugmentPart(degrees=0, translate=0.6, scale=(1.5, 1.5))
    config = CONFIG.model_copy(update={"augment": augment})
    kinds: list[int] = []
    for _, targets in BoxedBatches(boxes, SPEC, config).epoch(0, 0, 0, 1):
        for kind, left, top, right, bottom in targets.reshape(-1, 5).tolist():
            kinds.append(int(kind))
            assert 0 <= left <= right <= 64
            assert 0 <= top <= bottom <= 64
    assert IGNORED in kinds
    assert {0, 1} & set(kinds)


def test_a_picture_of_another_size_than_its_labels_is_told(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, 4)
    cv2.imwrite(str(folder / "02.png"), np.zeros((32, 48, 3), np.uint8))
    found = open_detection_set(str(folder))
    with pytest.raises(InputError, match="its annotations are for 96 x 64"):
        list(BoxedBatches(found, SPEC, CONFIG).plain())


def test_lists_of_boxes_can_be_read_again(boxes: DetectionSet, tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text(coco_document(boxes.chosen([3, 4])))

    again = open_detection_set(str(tmp_path / "some.json"))

    assert again.sha256() == boxes.chosen([3, 4]).sha256()


@pytest.fixture
def train(model: ModelPart, boxes: DetectionSet, tmp_path: Path) -> Any:
    def run(**changes: Any) -> Trained:
        config = TrainPart(**{**CONFIG.model_dump(exclude_unset=True), **changes})
        usage = Detector(SPEC, boxes.classes, HEAD.layout(2))
        run.runs += 1  # type: ignore[attr-defined]
        state = tmp_path / str(run.runs) / "state.pt"  # type: ignore[attr-defined]
        return train_detector(
            model, boxes.chosen(range(12)), boxes.chosen([12, 13, 14, 15]), usage, config, state, Silent()
        )

    run.runs = 0  # type: ignore[attr-defined]
    return run


def test_one_seed_gives_one_detector_whatever_ran_before(train: Any) -> None:
    augment = AugmentPart(horizontal_flip=0.5, brightness=0.2)
    first = train(augment=augment, ema=0.9)
    torch.rand(17)
    second = train(augment=augment, ema=0.9)
    third = train(augment=augment, ema=0.9, seed=1)

    state = second.module.state_dict()
    assert first.learned.history == second.learned.history
    assert all(torch.equal(value, state[name]) for name, value in first.module.state_dict().items())
    assert third.learned.history != first.learned.history


@pytest.mark.slow
def test_it_learns_boxes(train: Any) -> None:
    trained = train(epochs=30, batch_norm_momentum=0.3)

    losses = [epoch.train_loss for epoch in trained.learned.history]
    assert losses[-1] < losses[0] / 2
    assert trained.train.figure > 0.9
    assert trained.validation is not None
    assert trained.figure_name == "mAP50"
    assert len(trained.validation) == 4
    found = trained.train
    threshold = best_threshold(found.detections, found.truth)
    shown = [one.above(threshold) for one in found.detections]
    assert sum(len(one) for one in shown) == pytest.approx(12, abs=2)
