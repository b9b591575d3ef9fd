"""What follows a training: pruned with fine-tuning, within what the figure may lose, and the same after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from pydantic import ValidationError  # noqa: E402 - after the skip

from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.progress import Silent  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.slim_part import PrunePart  # noqa: E402
from edgecnn.core.training_part import AugmentPart, TrainPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.loop import Learning  # noqa: E402
from edgecnn.train.network import Trained, train_network  # noqa: E402
from edgecnn.train.samples import Samples  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

SPEC = Preprocess(size_hw=(8, 8), color="gray", mean=(0.5,), std=(0.5,))
CONFIG = TrainPart(
    epochs=6, batch_size=8, learning_rate=0.02, augment=AugmentPart(degrees=5, translate=0), mixup=0.1, ema=0.8
)
PRUNE = PrunePart(epochs=2, step=0.5, least_macs=0.2, max_drop=5)
CODE = """
import torch
def net(width=32):
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU(), torch.nn.Dropout(0.1),
        torch.nn.Conv2d(width, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(width * 64, 2),
    )
"""


@pytest.fixture
def train(halves: Samples, tmp_path: Path) -> Any:
    (tmp_path / "slim_net.py").write_text(CODE)

    def run(config: TrainPart, folder: str = "one", *, held: Samples | None = halves, **arguments: Any) -> Trained:
        model = ModelPart(source=f"{tmp_path}/slim_net:net", arguments=arguments)
        state = tmp_path / folder / "state.pt"
        return train_network(model, halves, held, SPEC, config, state, tmp_path / "features", Silent())

    return run


def test_a_pruned_network_is_smaller_and_as_good(train: Any) -> None:
    found = train(CONFIG.model_copy(update={"prune": PRUNE}))

    steps, kept = found.slim.pruned.steps, found.slim.pruned.kept
    assert kept > 0
    assert steps[kept].macs < 0.5 * steps[0].macs
    assert found.validation.figure == steps[kept].figure >= steps[0].figure - 0.05
    assert sum(parameter.numel() for parameter in found.module.parameters()) == steps[kept].parameters
    assert not found.module[0].out_channels % 8
    assert found.module[8].out_features == 2


def test_what_is_cut_off_while_it_prunes_ends_with_the_same_weights(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"prune": PRUNE})
    whole = train(config, "whole")
    validated, calls = Learning._validated, []

    def cut_off(self: Learning) -> Any:
        calls.append(0)
        # The second epoch of the second step's fine-tuning.
        if len(calls) == CONFIG.epochs + 2 * PRUNE.epochs:
            raise KeyboardInterrupt
        return validated(self)

    monkeypatch.setattr(Learning, "_validated", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(config, "cut")
    resumed = train(config, "cut")

    assert resumed.slim == whole.slim
    expected, found = whole.module.state_dict(), resumed.module.state_dict()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert len(calls) == CONFIG.epochs + (len(whole.slim.pruned.steps) - 1) * PRUNE.epochs + 1


def test_without_pictures_kept_back_nothing_says_when_to_end(train: Any) -> None:
    with pytest.raises(InputError, match=r"train\.prune: no pictures are kept back"):
        train(CONFIG.model_copy(update={"prune": PRUNE}), held=None)


def test_what_cannot_be_pruned_is_said_before_it_is_trained(train: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no layers that could be made narrower"):
        train(CONFIG.model_copy(update={"prune": PRUNE}), width=8)
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize("changes", [{"prune": PRUNE}, {"sparsity": "2:4"}], ids=["prune", "sparsity"])
def test_what_they_do_not_go_with_is_said(changes: dict[str, Any]) -> None:
    name = next(iter(changes))
    with pytest.raises(ValidationError, match=f"{name} goes with layers: all"):
        TrainPart(layers="head", **changes)
    with pytest.raises(ValidationError, match=f"{name} is for classes, labels and values"):
        TrainPart(objective="detection", **changes)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_weights_that_became_sparse_stay_so_while_the_others_learn(train: Any, optimizer: str) -> None:
    config = CONFIG.model_copy(update={"optimizer": optimizer, "sparsity": "2:4", "ema": 0.8, "weight_decay": 0.1})
    dense = train(config.model_copy(update={"sparsity": "none"}), "dense")
    found = train(config)

    weight, before = found.module[4].weight, dense.module[4].weight
    fours = weight.movedim(1, -1).reshape(-1, 4)
    assert ((fours != 0).sum(dim=1) == 2).all()
    # Those of largest magnitude have stayed, and have learnt.
    largest = before.abs().movedim(1, -1).reshape(-1, 4).topk(2, dim=1).indices.sort(dim=1).values
    assert torch.equal((fours != 0).nonzero()[:, 1].reshape(-1, 2), largest)
    assert not torch.equal(weight[weight != 0], before[weight != 0])
    for number in (0, 8):  # one input channel; the last layer
        assert (found.module[number].weight != 0).all()
    sparse = found.slim.sparse
    assert (sparse.layers, sparse.before, sparse.after) == (1, dense.validation.figure, found.validation.figure)
    assert sparse.after >= 0.9


def test_pruned_then_sparse_and_cut_off_in_between(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIG.model_copy(update={"prune": PRUNE.model_copy(update={"multiple": 16}), "sparsity": "2:4"})
    whole = train(config, "whole", width=64)
    validated, calls = Learning._validated, []

    def cut_off(self: Learning) -> Any:
        calls.append(0)
        if self.state_path.name == "sparse.pt" and self.at.epoch == 2:
            monkeypatch.setattr(Learning, "_validated", validated)
            raise KeyboardInterrupt
        return validated(self)

    monkeypatch.setattr(Learning, "_validated", cut_off)
    with pytest.raises(KeyboardInterrupt):
        train(config, "cut", width=64)
    resumed = train(config, "cut", width=64)

    assert resumed.slim == whole.slim
    assert whole.slim.pruned.kept > 0
    weight = whole.module[4].weight
    assert weight.shape[1] in (16, 32, 48)
    assert ((weight.movedim(1, -1).reshape(-1, 4) != 0).sum(dim=1) == 2).all()
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name


def test_a_network_without_layers_to_make_sparse_is_refused(train: Any) -> None:
    with pytest.raises(InputError, match=r"train\.sparsity: .* no layer with inputs in multiples of 16"):
        train(CONFIG.model_copy(update={"sparsity": "2:4"}), width=8)


def test_two_of_four_needs_no_quotes() -> None:
    import yaml

    assert TrainPart(**yaml.safe_load("sparsity: 2:4")).sparsity == "2:4"
    assert TrainPart(**yaml.safe_load("sparsity: '2:4'")).sparsity == "2:4"
    with pytest.raises(ValidationError, match="sparsity"):
        TrainPart(**yaml.safe_load("sparsity: 1:4"))
