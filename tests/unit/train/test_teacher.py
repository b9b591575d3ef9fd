"""Distillation: the distance from a teacher, and what a network learns of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from pydantic import ValidationError  # noqa: E402 - after the skip

from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.slim_part import TeacherPart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.loop import Learning  # noqa: E402
from edgecnn.train.network import Trained, train_network  # noqa: E402
from edgecnn.train.objectives import Multilabel, Regression, Softmax  # noqa: E402
from edgecnn.train.samples import Samples  # noqa: E402
from edgecnn.train.teacher import Teacher, distance, teacher_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

SPEC = Preprocess(size_hw=(8, 8), color="gray", mean=(0.5,), std=(0.5,))
STILL = AugmentPart(degrees=0, translate=0, scale=(1, 1))
CONFIG = TrainPart(epochs=12, batch_size=8, learning_rate=0.02, augment=STILL)
CODE = """
import torch
def net(outputs=2, width=4, side=8):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU(), torch.nn.Dropout(0.2),
        torch.nn.Flatten(), torch.nn.Linear(width * side * side, outputs),
    )
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("code")
    (place / "taught_net.py").write_text(CODE)
    return f"{place}/taught_net:net"


@pytest.fixture
def train(source: str, tmp_path: Path) -> Any:
    def run(config: TrainPart, on: Samples, state: str = "state.pt", **arguments: Any) -> Trained:
        model = ModelPart(source=source, arguments=arguments)
        return train_network(model, on, on, SPEC, config, tmp_path / state, tmp_path / "features", Silent())

    return run


@pytest.fixture
def teach(train: Any, source: str, halves: Samples, tmp_path: Path) -> Any:
    """Train a wider network on right labels, and give the part of a recipe that makes it a teacher."""

    def run(on: Samples = halves, objective: str = "softmax", **changes: Any) -> TeacherPart:
        outputs = on.targets.shape[1] if on.targets.ndim == 2 else 2
        config = TrainPart(**{**CONFIG.model_dump(), "objective": objective, "epochs": 20})
        taught = train(config, on, "teacher.pt", width=8, outputs=outputs)
        torch.save(taught.module.state_dict(), tmp_path / "weights.pt")
        (tmp_path / "teacher.pt").unlink()
        arguments = {"width": 8, "outputs": outputs}
        return TeacherPart(source=source, weights=str(tmp_path / "weights.pt"), arguments=arguments, **changes)

    return run


def test_the_distance_of_classes_is_that_of_the_softened_probabilities() -> None:
    random = np.random.default_rng(0)
    outputs, wanted = (random.normal(0, 3, (5, 4)) for _ in range(2))
    goal, temperature = Softmax(CONFIG, np.arange(4), 4), 3.0
    soft, aim = (np.exp(one / temperature) for one in (outputs, wanted))
    soft, aim = soft / soft.sum(axis=1, keepdims=True), aim / aim.sum(axis=1, keepdims=True)
    expected = temperature**2 * (aim * np.log(aim / soft)).sum(axis=1).mean()

    found = distance(torch.from_numpy(outputs), torch.from_numpy(wanted), goal, temperature)

    assert float(found) == pytest.approx(expected, rel=1e-9)
    assert float(distance(torch.from_numpy(wanted), torch.from_numpy(wanted), goal, temperature)) == pytest.approx(0)


def test_at_high_temperatures_logits_are_matched() -> None:
    """Hinton et al., equation 4: the gradient is then the difference of the centred logits, over N x classes."""
    generator = torch.Generator().manual_seed(0)
    outputs, wanted = (torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    outputs, wanted = (one - one.mean(dim=1, keepdim=True) for one in (outputs, wanted))
    outputs.requires_grad_()

    distance(outputs, wanted, Softmax(CONFIG, np.arange(4), 4), 1e5).backward()

    assert torch.allclose(outputs.grad, (outputs - wanted).detach() / (6 * 4), atol=1e-5)


def test_the_distance_of_labels_is_that_of_each_labels_two_probabilities() -> None:
    random = np.random.default_rng(0)
    outputs, wanted = (random.normal(0, 3, (5, 4)) for _ in range(2))
    goal = Multilabel(CONFIG, np.ones((5, 4), np.float32))
    soft, aim = (1 / (1 + np.exp(-one / 2)) for one in (outputs, wanted))
    expected = 4 * (aim * np.log(aim / soft) + (1 - aim) * np.log((1 - aim) / (1 - soft))).mean()

    assert float(distance(torch.from_numpy(outputs), torch.from_numpy(wanted), goal, 2.0)) == pytest.approx(expected)


def test_what_a_teacher_says_is_learnt_and_not_the_labels(train: Any, teach: Any, halves: Samples) -> None:
    wrong = replace(halves, targets=1 - halves.targets)

    taught = train(CONFIG.model_copy(update={"teacher": teach(weight=1)}), wrong)
    alone = train(CONFIG.model_copy(update={"teacher": teach(weight=0)}), wrong, "other.pt")

    assert taught.validation.figure <= 0.05  # of labels that are all wrong
    assert alone.validation.figure >= 0.95
    assert taught.teacher.figure == alone.teacher.figure <= 0.05


def test_without_weight_a_teacher_changes_nothing(train: Any, teach: Any, halves: Samples) -> None:
    plain = train(CONFIG, halves)
    taught = train(CONFIG.model_copy(update={"teacher": teach(weight=0)}), halves, "other.pt")

    assert plain.teacher is None
    for name, value in plain.module.state_dict().items():
        assert torch.equal(value, taught.module.state_dict()[name]), name


def test_labels_and_values_are_taught_too(train: Any, teach: Any, halves: Samples) -> None:
    both = replace(halves, targets=np.eye(2, dtype=np.float32)[halves.targets], classes=("above", "below"))
    config = CONFIG.model_copy(update={"objective": "multilabel", "teacher": teach(both, "multilabel", weight=1)})
    taught = train(config, replace(both, targets=1 - both.targets))
    assert taught.validation.figure < 0.5
    assert taught.teacher.figure < 0.5

    values = replace(halves, targets=(1000 + 50 * halves.targets[:, None]).astype(np.float32), classes=("height",))
    config = CONFIG.model_copy(
        update={"objective": "regression", "epochs": 30, "teacher": teach(values, "regression", weight=1)}
    )
    # Other values than the teacher has learnt: what it says is taken in their own unit.
    taught = train(config, replace(values, targets=2050 - values.targets), "other.pt", outputs=1)
    found = taught.validation.scores[:, 0]
    assert found[halves.targets == 1].mean() == pytest.approx(1050, abs=15)
    assert found[halves.targets == 0].mean() == pytest.approx(1000, abs=15)


def test_a_teacher_may_see_the_pictures_larger(source: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"side": 16}
    goal = Softmax(CONFIG, np.arange(2), 2)
    part = TeacherPart(source=source, weights="default", arguments=arguments, size_hw=(16, 16))

    teacher = teacher_of(part, 2, goal)
    small = torch.rand(3, 1, 8, 8)

    assert not teacher.network.training
    larger = torch.nn.functional.interpolate(small, (16, 16), mode="bilinear")
    assert torch.allclose(teacher(small), teacher.network(larger), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_values_of_a_teacher_are_standardized_as_the_students() -> None:
    goal = Regression(np.asarray([[10.0], [30.0]], np.float32))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    teacher = Teacher(network, TeacherPart(source="a:b", weights="default"), goal)
    picture = torch.rand(2, 1, 2, 2)

    assert torch.allclose(goal.scores(teacher(picture)), network(picture), atol=1e-4)


def test_a_teacher_of_other_classes_is_refused(teach: Any, train: Any, halves: Samples) -> None:
    part = teach().model_copy(update={"arguments": {"width": 8, "outputs": 3}})
    with pytest.raises(InputError, match=r"train\.teacher: .* has 2 outputs, and the network that learns has 3"):
        train(CONFIG.model_copy(update={"teacher": part}), halves, outputs=3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": "head"}, "teacher goes with layers: all"),
        ({"objective": "detection"}, "teacher is for classes, labels and values"),
    ],
)
def test_what_a_teacher_does_not_go_with_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainPart(**changes, teacher=TeacherPart(source="torchvision:resnet18", weights="default"))


def test_a_run_that_is_cut_off_ends_with_the_same_weights(
    train: Any, teach: Any, halves: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"teacher": teach(), "mixup": 0.2, "epochs": 4})
    whole = train(config, halves)
    validated, calls = Learning._validated, []

    def cut_off(self: Learning) -> Any:
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validated(self)

    monkeypatch.setattr(Learning, "_validated", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(config, halves, "cut.pt")
    resumed = train(config, halves, "cut.pt")

    assert resumed.learned.resumed_at == (2, 0)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
