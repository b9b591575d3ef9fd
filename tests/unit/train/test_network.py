"""Training: the seed decides, it learns, and each option does what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.preprocess import Preprocess  # noqa: E402 - after the skip
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import GateMissed, InputError  # noqa: E402
from edgecnn.train.network import Trained, train_network  # noqa: E402
from edgecnn.train.samples import Samples, open_samples  # noqa: E402
from edgecnn.vision.preprocess import preprocess  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

SPEC = Preprocess(size_hw=(8, 8), color="gray", mean=(0.5,), std=(0.5,))
CONFIG = TrainPart(epochs=3, batch_size=8, learning_rate=0.02)
STILL = AugmentPart(degrees=0, translate=0, scale=(1, 1))
# Ten of one class and five of the other.
HALF = [*range(0, 20, 2), *range(20, 40, 4)]
CODE = """
import torch
def net(outputs=2, dropout=0.2):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(dropout),
        torch.nn.Flatten(), torch.nn.Linear(4 * 64, outputs),
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures that are bright above, and twenty that are bright below."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for index in range(40):
        picture = random.integers(0, 120, (8, 8), dtype=np.uint8)
        half = slice(0, 4) if index % 2 else slice(4, 8)
        picture[half] += 100
        path = folder / ("above" if index % 2 else "below") / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture)
    return folder


@pytest.fixture(scope="module")
def samples(folder: Path) -> Samples:
    return open_samples(str(folder), "softmax")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelPart:
    place = tmp_path_factory.mktemp("code")
    (place / "tiny_net.py").write_text(CODE)
    return ModelPart(source=f"{place}/tiny_net:net")


@pytest.fixture
def train(model: ModelPart, samples: Samples, tmp_path: Path) -> Any:
    def run(
        config: TrainPart = CONFIG, on: Samples = samples, held: Samples | None = None, **arguments: Any
    ) -> Trained:
        part = model.model_copy(update={"arguments": arguments})
        run.runs += 1  # type: ignore[attr-defined]
        state = tmp_path / str(run.runs) / "state.pt"  # type: ignore[attr-defined]
        return train_network(part, on, held, SPEC, config, state, tmp_path / "features", Silent())

    run.runs = 0  # type: ignore[attr-defined]
    return run


def config_with(**changes: Any) -> TrainPart:
    return TrainPart(**{**CONFIG.model_dump(exclude_unset=True), **changes})


def losses(trained: Trained) -> list[float]:
    return [epoch.train_loss for epoch in trained.learned.history]


def state(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.module.state_dict()


def test_one_seed_gives_one_network_whatever_ran_before(train: Any) -> None:
    torch.manual_seed(1)
    first = train()
    torch.manual_seed(2)
    torch.rand(17)
    second = train()

    assert losses(first) == losses(second)
    for name, value in state(first).items():
        assert torch.equal(state(second)[name], value), name


def test_another_seed_gives_another_network(train: Any) -> None:
    first, second = train(), train(config_with(seed=1))

    assert not torch.equal(state(first)["0.weight"], state(second)["0.weight"])
    assert not torch.equal(state(first)["5.weight"], state(second)["5.weight"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"schedule": "constant"},
        {"ema": 0.9},
        {"mixup": 0.2, "epochs": 20},
        {"label_smoothing": 0.1},
        {"balance": "sampling"},
        {"balance": "loss"},
        {"clip_norm": 1.0},
        {"layer_decay": 0.5},
        {"unfreeze_epochs": 3},
        {"batch_norm_momentum": 0.5},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_it_learns(train: Any, samples: Samples, changes: dict[str, Any]) -> None:
    trained = train(config_with(**{"epochs": 12, "augment": STILL, **changes}), samples.chosen(HALF), samples)

    assert trained.validation is not None
    assert trained.validation.figure >= 0.95
    assert trained.train.figure == 1
    assert not trained.module.training
    plain = train(config_with(epochs=12, augment=STILL), samples.chosen(HALF), samples)
    same = all(torch.equal(value, state(plain)[name]) for name, value in state(trained).items())
    assert same == (not changes)


@pytest.mark.parametrize(
    "augment",
    [
        AugmentPart(degrees=90),
        AugmentPart(translate=0.5),
        AugmentPart(scale=(0.5, 2)),
        AugmentPart(),
        *(
            STILL.model_copy(update=change)
            for change in (
                {"crop": (0.3, 0.9)},
                {"horizontal_flip": 1.0},
                {"vertical_flip": 1.0},
                {"brightness": 0.5},
                {"contrast": 0.5},
                {"blur": 2.0},
                {"erase": 1.0},
                {"policy": "trivial"},
                {"policy": "rand"},
            )
        ),
    ],
    ids=str,
)
def test_each_augmentation_changes_what_is_learnt(train: Any, augment: AugmentPart) -> None:
    still = train(config_with(epochs=1, augment=STILL))
    moved = train(config_with(epochs=1, augment=augment))

    assert losses(moved) != losses(still)


def test_workers_that_read_pictures_change_nothing(train: Any) -> None:
    alone, helped = train(config_with(epochs=2)), train(config_with(epochs=2, workers=2))

    for name, value in state(alone).items():
        assert torch.equal(state(helped)[name], value), name


def test_a_set_smaller_than_a_batch_is_one_batch(train: Any, samples: Samples) -> None:
    trained = train(TrainPart(epochs=2, batch_size=64), samples.chosen(range(6)))

    assert np.isfinite(losses(trained)).all()


def test_early_stopping_keeps_the_best_epoch(train: Any, samples: Samples) -> None:
    trained = train(config_with(epochs=30, patience=3, augment=STILL), samples, samples)

    history = trained.learned.history
    figures = [epoch.validation_figure for epoch in history]
    assert len(history) == trained.learned.kept_epoch + 3 < 30
    assert figures[trained.learned.kept_epoch - 1] == max(figures)
    assert trained.validation.figure == max(figures)


def test_one_class_is_drawn_as_often_as_another_by_balanced_sampling(samples: Samples) -> None:
    from edgecnn.train.order import Order

    targets = np.asarray([0] * 4 + [1] * 36)
    drawn = [
        targets[i]
        for epoch in range(40)
        for batch in Order(targets, config_with(balance="sampling")).of(epoch)
        for i in batch
    ]

    assert 0.45 < np.mean(drawn) < 0.55


def test_only_the_head_learns_and_features_are_computed_once(
    train: Any, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_with(epochs=60, layers="head", views=2, pretrained="default", weight_decay=0)

    first = train(config, samples, samples)

    fresh = train(config_with(epochs=1, layers="head", pretrained="default"))
    for name in ("0.weight", "1.running_mean", "1.weight"):
        assert torch.equal(state(first)[name], state(fresh)[name])
    assert not torch.equal(state(first)["5.weight"], state(fresh)["5.weight"])
    assert first.validation.figure >= 0.95
    assert len(list((tmp_path / "features").iterdir())) == 2

    from edgecnn.train import features

    monkeypatch.setattr(features, "PictureBatches", None)  # nothing is read from pictures again
    again = train(config, samples, samples)
    assert losses(again) == losses(first)


def test_several_labels_and_values_are_learnt(train: Any, samples: Samples) -> None:
    both = replace(samples, targets=np.eye(2, dtype=np.float32)[samples.targets], classes=("above", "below"))
    trained = train(config_with(objective="multilabel", epochs=10, augment=STILL, balance="loss"), both, both)
    assert trained.figure_name == "mean average precision"
    assert trained.validation.figure > 0.95

    # Far from 0 and wide: what the network gives must be in the targets' unit.
    values = (1000 + 50 * samples.targets[:, None]).astype(np.float32)
    numbers = replace(samples, targets=values, classes=("height",))
    trained = train(config_with(objective="regression", epochs=30, augment=STILL), numbers, numbers, outputs=1)
    assert trained.validation.figure > 0.8
    inputs = torch.stack([torch.from_numpy(preprocess(samples.picture(index), SPEC)[0]) for index in range(40)])
    assert np.abs(trained.module(inputs).detach().numpy() - values).mean() < 20


def test_a_diverging_run_is_told(train: Any) -> None:
    with pytest.raises(GateMissed, match="not a number"):
        train(config_with(learning_rate=1e30, optimizer="sgd", epochs=20, schedule="constant", warm_up=0))


def test_more_classes_than_outputs_are_refused(train: Any, samples: Samples) -> None:
    with pytest.raises(InputError, match=r"1 outputs, and .* 2 classes"):
        train(outputs=1)


def test_pictures_go_through_the_recipes_preprocessing(samples: Samples) -> None:
    from edgecnn.train.loader import PictureBatches

    batches = PictureBatches(samples, SPEC, config_with(augment=STILL))
    inputs, targets = next(batches.plain())

    assert inputs.shape == (8, 1, 8, 8)
    for index in range(8):
        assert np.array_equal(inputs[index : index + 1].numpy(), preprocess(samples.picture(index), SPEC))
    assert targets.tolist() == samples.targets[:8].tolist()


def test_colours_keep_their_order_through_augmentation(tmp_path: Path) -> None:
    from edgecnn.train.loader import PictureBatches

    (tmp_path / "a").mkdir()
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[:, :, 0] = 255
    cv2.imwrite(str(tmp_path / "a" / "blue.png"), blue)
    spec = Preprocess(size_hw=(8, 8), mean=(0, 0, 0), std=(1, 1, 1))
    augment = STILL.model_copy(update={"horizontal_flip": 1.0})

    ((inputs, _),) = PictureBatches(open_samples(str(tmp_path), "softmax"), spec, config_with(augment=augment)).epoch(
        0, 0, 0, 1
    )

    assert inputs.mean(dim=(0, 2, 3)).tolist() == [0, 0, 1]


def test_processes_share_a_batch_between_them(samples: Samples) -> None:
    from edgecnn.train.loader import PictureBatches

    batches = PictureBatches(samples, SPEC, CONFIG)
    whole = [targets for _, targets in batches.epoch(1, 2, 0, 1)]
    parts = [[inputs for inputs, _ in batches.epoch(1, 2, rank, 2)] for rank in range(2)]

    assert len(whole) == 3
    inputs = [inputs for inputs, _ in batches.epoch(1, 2, 0, 1)]
    for index in range(3):
        assert torch.equal(inputs[index][0::2], parts[0][index])
        assert torch.equal(inputs[index][1::2], parts[1][index])
