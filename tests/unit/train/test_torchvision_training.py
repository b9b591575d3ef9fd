"""Torchvision's detectors in the loop: they go on after a kill, and keep what torchvision keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")

from edgecnn.core.detector import Detector  # noqa: E402 - after the skip
from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.graph.detection_outputs import DECODED  # noqa: E402
from edgecnn.train.detection.detector import train_detector  # noqa: E402
from edgecnn.train.detection.torchvision_weights import kept_as_published  # noqa: E402
from edgecnn.train.network import Trained  # noqa: E402
from edgecnn.train.zoo import build_module  # noqa: E402
from edgecnn.vision.annotations import open_detection_set  # noqa: E402
from edgecnn.vision.detection_set import DetectionSet  # noqa: E402

pytestmark = [pytest.mark.usefixtures("torch_as_before"), pytest.mark.slow]

SPEC = Preprocess(size_hw=(64, 64), resize="letterbox", mean=(0.5,) * 3, std=(0.5,) * 3)
SSDLITE = ModelPart(source="torchvision:ssdlite320_mobilenet_v3_large", num_classes=1, arguments={"width_mult": 0.35})
FCOS = ModelPart(source="torchvision:fcos_resnet50_fpn", num_classes=1)


class Killed(Exception):
    """In place of a kill."""


class KillAfterAnEpoch(Silent):
    """Progress that ends the process it is told of."""

    def advance(self) -> None:
        """The epoch's state is on the disk."""
        raise Killed

    def task(self, label: str, total: int | None = None) -> Any:
        """See ``Progress.task``."""
        task: Any = super().task(label, total)
        task.advance = self.advance
        return task


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> DetectionSet:
    """Bright rectangles, in COCO's layout; the last picture has none."""
    folder = tmp_path_factory.mktemp("boxes")
    random = np.random.default_rng(2)
    rows: list[dict[str, Any]] = []
    for number in range(6):
        picture = random.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        if number < 5:
            left, top = (int(place) for place in random.integers(0, 36, 2))
            picture[top : top + 28, left : left + 24] = 255
            rows.append({"id": number + 1, "image_id": number, "category_id": 0, "bbox": [left, top, 24, 28]})
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    images = [{"id": number, "file_name": f"{number}.png", "height": 64, "width": 64} for number in range(6)]
    document = {"images": images, "annotations": rows, "categories": [{"id": 0, "name": "thing"}]}
    (folder / "all.json").write_text(json.dumps(document))
    return open_detection_set(str(folder))


def train(model: ModelPart, boxes: DetectionSet, state: Path, progress: Any = Silent(), **changes: Any) -> Trained:  # noqa: B008
    augment = AugmentPart(degrees=0, translate=0.1, horizontal_flip=0.5)
    config = TrainPart(**{"objective": "detection", "batch_size": 3, "augment": augment, **changes})
    usage = Detector(SPEC, boxes.classes, DECODED)
    return train_detector(model, boxes, boxes.chosen([0, 1]), usage, config, state, progress)


def test_a_killed_run_ends_with_the_same_weights(boxes: DetectionSet, tmp_path: Path) -> None:
    plan: dict[str, Any] = {"epochs": 2, "ema": 0.9, "patience": 5}
    whole = train(SSDLITE, boxes, tmp_path / "whole.pt", **plan)
    with pytest.raises(Killed):
        train(SSDLITE, boxes, tmp_path / "killed.pt", KillAfterAnEpoch(), **plan)

    again = train(SSDLITE, boxes, tmp_path / "killed.pt", **plan)

    assert (whole.learned.resumed_at, again.learned.resumed_at) == (None, (1, 0))
    assert again.learned.history == whole.learned.history
    state = again.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.module.state_dict().items())
    assert whole.figure_name == "mAP50"


def test_what_torchvision_keeps_stays_as_it_begins(boxes: DetectionSet, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = build_module(FCOS).state_dict()
    torch.save(before, tmp_path / "begin.pt")

    trained = train(
        FCOS, boxes.chosen([3, 5]), tmp_path / "s.pt", epochs=1, batch_size=2, pretrained=str(tmp_path / "begin.pt")
    )

    after: Any = trained.module.state_dict()
    kept = kept_as_published(trained.module, FCOS.source)  # type: ignore[arg-type]
    for name, value in before.items():
        buffer = name.startswith("backbone.body.") and "running" in name
        assert torch.equal(after[name], value) == (name in kept or buffer or name.endswith("tracked")), name
