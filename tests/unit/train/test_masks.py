"""Pictures with masks in batches, their goal, and a network trained on them: the seed decides, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from torch import nn  # noqa: E402 - after the skip

from edgecnn.core.head_part import LrasppPart  # noqa: E402
from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.readings import Segmenter  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.evaluate.outputs import output_accuracy_of, predict_outputs  # noqa: E402
from edgecnn.train.masks.mask_goal import Masks  # noqa: E402
from edgecnn.train.masks.masked_pictures import MaskedBatches  # noqa: E402
from edgecnn.train.masks.segmenter import train_segmenter  # noqa: E402
from edgecnn.train.network import Trained  # noqa: E402
from edgecnn.train.order import inverse_frequency  # noqa: E402
from edgecnn.train.samples import classes_of_masks  # noqa: E402
from edgecnn.train.split import split_samples  # noqa: E402
from edgecnn.vision.mask_set import MaskSet, open_masks  # noqa: E402
from edgecnn.vision.preprocess import preprocess  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

SPEC = Preprocess(size_hw=(64, 64), resize="letterbox", mean=(0.5,) * 3, std=(0.25,) * 3)
STILL = AugmentPart(degrees=0, translate=0, scale=(1, 1))
CONFIG = TrainPart(objective="segmentation", epochs=2, batch_size=4, learning_rate=0.02, augment=STILL)
NAMES = ("ground", "white", "red")
CODE = """
import torch
def stage(i, o):
    return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
def net():
    return torch.nn.Sequential(stage(3, 8), stage(8, 16), stage(16, 16), stage(16, 16),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 5))
class Whole(torch.nn.Module):
    def __init__(self, planes=3):
        super().__init__()
        self.first, self.last, self.other = stage(3, 8), torch.nn.Conv2d(8, planes, 1), torch.nn.Conv2d(8, planes, 1)
    def forward(self, x):
        x = self.first(x)
        return {"out": self.last(x), "aux": self.other(x)}
"""


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of 96 x 64 with a white or a red rectangle on dark noise, and a column that nobody labelled."""
    random = np.random.default_rng(1)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        picture, mask = random.integers(0, 60, (64, 96, 3), dtype=np.uint8), np.zeros((64, 96), np.uint8)
        width, height = (int(side) for side in random.integers(20, 36, 2))
        left, top = int(random.integers(0, 96 - width)), int(random.integers(0, 64 - height))
        kind = number % 2
        picture[top : top + height, left : left + width] = (0, 0, 255) if kind else (255, 255, 255)
        mask[top : top + height, left : left + width] = 1 + kind
        mask[:, 95] = 255
        cv2.imwrite(str(folder / "images" / f"{number:02d}.png"), picture)
        cv2.imwrite(str(folder / "masks" / f"{number:02d}.png"), mask)
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> MaskSet:
    return open_masks(str(write_pictures(tmp_path_factory.mktemp("masks") / "all", 16))).labelled_for(NAMES)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelPart:
    place = tmp_path_factory.mktemp("code")
    (place / "masks_net.py").write_text(CODE)
    head = LrasppPart(kind="lraspp", width=16, stride=4)
    return ModelPart(source=f"{place}/masks_net:net", head=head, num_classes=3)


def agreement(picture: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of what is bright in the red channel and what the mask says, where it counts."""
    bright, there, counts = picture[0] > 0, (mask == 1) | (mask == 2), mask != 255
    return float((bright & there & counts).sum() / ((bright | there) & counts).sum())


def test_plain_pictures_are_those_of_run_time_with_their_masks(masks: MaskSet) -> None:
    seen = 0
    for inputs, targets in MaskedBatches(masks, SPEC, CONFIG).plain():
        assert targets.dtype == torch.int64
        for picture, mask in zip(inputs.numpy(), targets.numpy(), strict=True):
            assert np.array_equal(picture[None], preprocess(masks.pair(seen)[0], SPEC))
            assert set(np.unique(mask)) == {0, 1 + seen % 2, 255}
            # Above and below there is padding: 96 x 64 in 64 x 64 leaves rows 11 to 53.
            assert (mask[:10] == 255).all()
            assert (mask[54:] == 255).all()
            assert (mask[12:52, :62] != 255).all()
            assert agreement(picture, mask) > 0.9
            seen += 1
    assert seen == len(masks)


def test_masks_go_where_the_pictures_go(masks: MaskSet, augment: AugmentPart) -> None:
    config = CONFIG.model_copy(update={"augment": augment})
    found: list[float] = []
    for inputs, targets in MaskedBatches(masks, SPEC, config).epoch(3, 0, 0, 1):
        for picture, mask in zip(inputs.numpy(), targets.numpy(), strict=True):
            if ((mask == 1) | (mask == 2)).sum() > 60:
                found.append(agreement(picture, mask))
    assert len(found) >= 12
    assert np.mean(found) > 0.9
    assert min(found) > 0.75


def test_an_epoch_is_the_same_from_any_batch_on_and_by_workers(masks: MaskSet) -> None:
    config = CONFIG.model_copy(update={"augment": AugmentPart(horizontal_flip=0.5)})

    def epoch(number: int, begin: int = 0, workers: int = 0) -> list[Any]:
        batches = MaskedBatches(masks, SPEC, config.model_copy(update={"workers": workers}))
        return list(batches.epoch(number, begin, 0, 1))

    whole = epoch(1)
    for late in (epoch(1, 2), epoch(1, 2, workers=1)):
        for (inputs, targets), (same, others) in zip(late, whole[2:], strict=True):
            assert torch.equal(inputs, same)
            assert torch.equal(targets, others)
    assert not torch.equal(whole[0][1], epoch(2)[0][1])


def test_both_sides_of_a_split_have_every_class(masks: MaskSet) -> None:
    split = split_samples(classes_of_masks(masks), 0.25, 0)

    assert len(split.held_out) == 4
    assert masks.chosen(split.held_out).presence.sum(axis=0).tolist() == [4, 2, 2]


def goal_of(masks: MaskSet, **fields: Any) -> Masks:
    return Masks(Segmenter(SPEC, NAMES), masks, CONFIG.model_copy(update=fields))


@pytest.mark.parametrize("balance", ["none", "loss"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_cross_entropy_of_the_pixels_that_count(masks: MaskSet, balance: str, smoothing: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (2, 3, 5, 7)).astype(np.float32)
    targets = random.choice([0, 1, 2, 255], (2, 5, 7))

    found = goal_of(masks, balance=balance, label_smoothing=smoothing).loss(
        torch.from_numpy(logits), torch.from_numpy(targets)
    )

    pixels = [int((np.stack([masks.pair(i)[1] for i in range(16)]) == c).sum()) for c in range(3)]
    weights = [sum(pixels) / (3 * count) if balance == "loss" else 1.0 for count in pixels]
    total = weight = 0.0
    for n, y, x in np.argwhere(targets != 255):
        row = logits[n, :, y, x].astype(np.float64)
        surprise = np.log(np.exp(row).sum()) - row
        right = targets[n, y, x]
        smooth = smoothing / 3 * sum(w * s for w, s in zip(weights, surprise, strict=True))
        total += (1 - smoothing) * weights[right] * surprise[right] + smooth
        weight += weights[right]
    assert float(found) == pytest.approx(total / weight, rel=1e-5)
    assert weights != [1.0] * 3 or balance == "none"


def test_a_batch_without_a_pixel_that_counts_costs_nothing(masks: MaskSet) -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)

    loss = goal_of(masks).loss(logits, torch.full((2, 4, 4), 255))
    loss.backward()

    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_coarse_planes_are_enlarged_to_the_mask(masks: MaskSet) -> None:
    logits, targets = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 16, 16))
    large = nn.functional.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)

    assert torch.equal(goal_of(masks).loss(logits, targets), goal_of(masks).loss(large, targets))
    for wrong in (torch.zeros(1, 2, 4, 4), torch.zeros(1, 3)):
        with pytest.raises(InputError, match=r"and \(pictures, 3 classes, height, width\) is wanted"):
            goal_of(masks).loss(wrong, targets)


class _Bright(nn.Module):
    """Says white of what is bright: for half of the objects that is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = nn.functional.avg_pool2d(x[:, :1], 4) * self.scale
        return torch.cat([-bright, bright, torch.full_like(bright, -9)], dim=1)


def test_it_is_judged_as_evaluate_judges(masks: MaskSet) -> None:
    batches = MaskedBatches(masks, SPEC, CONFIG)

    found = goal_of(masks).judged(_Bright(), batches)

    def network(frame: np.ndarray) -> dict[str, np.ndarray]:
        return {"output": _Bright()(torch.from_numpy(frame)).detach().numpy()}

    usage = Segmenter(SPEC, NAMES)
    cells = predict_outputs(network, masks.paths, usage, Silent(), "")
    judged = output_accuracy_of(cells, cells, usage, masks)
    assert found.figure == pytest.approx(judged.mean_iou)
    assert judged.class_iou is not None
    assert judged.class_iou["ground"] > 0.9
    assert 0.35 < judged.class_iou["white"] < 0.6
    assert judged.class_iou["red"] == 0
    assert len(found) == 16
    assert len(found.worst) == 12
    # Pictures with red objects are the worst, with as much wrong as they are large.
    assert [index % 2 for _, index, _ in found.worst[:8]] == [1] * 8
    wrong, index, _ = found.worst[0]
    assert wrong == pytest.approx((masks.counts[index, 2]) / masks.counts[index].sum(), abs=0.03)
    few = goal_of(masks).judged(_Bright(), batches, count=3)
    assert (len(few), len(few.worst), few.truth.paths) == (3, 3, masks.spread(3).paths)


@pytest.fixture
def train(model: ModelPart, masks: MaskSet, tmp_path: Path) -> Any:
    def run(part: ModelPart = model, **changes: Any) -> Trained:
        config = TrainPart(**{**CONFIG.model_dump(exclude_unset=True), **changes})
        run.runs += 1  # type: ignore[attr-defined]
        state = tmp_path / str(run.runs) / "state.pt"  # type: ignore[attr-defined]
        learn, keep = masks.chosen(range(12)), masks.chosen([12, 13, 14, 15])
        return train_segmenter(part, learn, keep, Segmenter(SPEC, NAMES), config, state, Silent())

    run.runs = 0  # type: ignore[attr-defined]
    return run


def test_one_seed_gives_one_network_whatever_ran_before(train: Any) -> None:
    augment = AugmentPart(horizontal_flip=0.5, brightness=0.2)
    first = train(augment=augment, ema=0.9, layer_decay=0.5, unfreeze_epochs=1, balance="sampling")
    torch.rand(17)
    second = train(augment=augment, ema=0.9, layer_decay=0.5, unfreeze_epochs=1, balance="sampling")
    third = train(augment=augment, ema=0.9, layer_decay=0.5, unfreeze_epochs=1, balance="sampling", seed=1)

    state = second.module.state_dict()
    assert first.learned.history == second.learned.history
    assert all(torch.equal(value, state[name]) for name, value in first.module.state_dict().items())
    assert third.learned.history != first.learned.history


def test_it_learns_masks(train: Any) -> None:
    trained = train(epochs=30, batch_norm_momentum=0.3)

    losses = [epoch.train_loss for epoch in trained.learned.history]
    assert losses[-1] < losses[0] / 2
    assert trained.figure_name == "mIoU"
    assert trained.train.figure > 0.75
    assert trained.validation is not None
    assert len(trained.validation) == 4
    assert trained.validation.figure > 0.7


def test_a_network_of_ones_own_needs_no_head(train: Any, model: ModelPart) -> None:
    whole = model.model_copy(update={"source": model.source.replace(":net", ":Whole"), "head": None})
    trained = train(whole, epochs=40, batch_norm_momentum=0.3)

    assert trained.train.figure > 0.9
    with pytest.raises(InputError, match=r"the network gives \(4, 2, 32, 32\)"):
        train(whole.model_copy(update={"arguments": {"planes": 2}}))


def test_a_class_of_no_pixel_weighs_nothing() -> None:
    np.testing.assert_allclose(inverse_frequency(np.asarray([60, 30, 0])), [90 / (2 * 60), 90 / (2 * 30), 0])
