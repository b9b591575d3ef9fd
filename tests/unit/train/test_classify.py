"""Training: the seed decides, and it learns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.preprocess import Preprocess  # noqa: E402 - after the skip
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import AugmentPart, TrainPart  # noqa: E402
from edgecnn.train.classify import train_classifier  # noqa: E402
from edgecnn.vision.images import ImageSet, open_image_set  # noqa: E402

SPEC = Preprocess(size_hw=(8, 8), color="gray", mean=(0.5,), std=(0.5,))
CONFIG = TrainPart(epochs=3, batch_size=8, learning_rate=0.02)
STILL = AugmentPart(degrees=0, translate=0, scale=(1, 1))


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Training asks torch for deterministic algorithms, for good; and networks this small want no second thread."""
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
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
    return open_image_set(str(folder))


def network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 64, 2),
    )


def train(images: ImageSet, config: TrainPart = CONFIG, module: torch.nn.Module | None = None):
    module = network() if module is None else module
    losses = train_classifier(module, images, SPEC, config, Silent())
    return losses, {name: value.clone() for name, value in module.state_dict().items()}


def test_one_seed_gives_one_network_whatever_ran_before(images: ImageSet) -> None:
    torch.manual_seed(1)
    first_losses, first = train(images)
    torch.manual_seed(2)
    torch.rand(17)
    second_losses, second = train(images)

    assert first_losses == second_losses
    for name, value in first.items():
        assert torch.equal(second[name], value), name


def test_training_again_begins_anew(images: ImageSet) -> None:
    module = network()
    _, first = train(images, module=module)
    _, second = train(images, module=module)

    for name, value in first.items():
        assert torch.equal(second[name], value), name


def test_another_seed_gives_another_network(images: ImageSet) -> None:
    _, first = train(images)
    _, second = train(images, CONFIG.model_copy(update={"seed": 1}))

    assert not torch.equal(first["0.weight"], second["0.weight"])
    assert not torch.equal(first["5.weight"], second["5.weight"])


def test_it_learns(images: ImageSet) -> None:
    module = network()
    losses, _ = train(images, TrainPart(epochs=10, batch_size=8, learning_rate=0.02, augment=STILL), module)

    assert len(losses) == 10
    assert losses[-1] < losses[0] / 4
    assert not module.training


@pytest.mark.parametrize(
    "augment",
    [AugmentPart(degrees=90), AugmentPart(translate=0.5), AugmentPart(scale=(0.5, 2)), AugmentPart()],
    ids=["degrees", "translate", "scale", "default"],
)
def test_each_augmentation_changes_what_is_learnt(images: ImageSet, augment: AugmentPart) -> None:
    still, _ = train(images, CONFIG.model_copy(update={"augment": STILL}))
    moved, _ = train(images, CONFIG.model_copy(update={"augment": augment}))

    assert moved != still


def test_a_set_smaller_than_a_batch_is_one_batch(images: ImageSet) -> None:
    losses, _ = train(images.spread(6), TrainPart(epochs=2, batch_size=64))

    assert len(losses) == 2
    assert all(np.isfinite(losses))


def test_the_last_small_batch_of_an_epoch_is_left_out(images: ImageSet) -> None:
    """40 pictures in batches of 13 leave one, which BatchNorm could not normalize."""
    module = network()
    seen: list[int] = []
    module[0].register_forward_hook(lambda layer, inputs, output: seen.append(len(inputs[0])))

    train(images, TrainPart(epochs=2, batch_size=13), module)

    assert seen == [13] * 6


def test_pictures_go_through_the_recipes_preprocessing(images: ImageSet, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    seen: list[torch.Tensor] = []
    module[0].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))

    train(images, TrainPart(epochs=1, batch_size=40, augment=STILL), module)

    (batch,) = seen
    assert batch.shape == (40, 1, 8, 8)
    # 0 to 219 of 255 grey levels, scaled to -1 to 1.
    assert -1 <= batch.min() < -0.9
    assert 0.6 < batch.max() < 0.75
