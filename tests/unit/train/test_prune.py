"""Pruning: what is removed is what nothing reads, in any network, and as much as the figure allows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
pytest.importorskip("torchvision", reason="torchvision is not installed: pip install 'edgecnn[train]'")

from torch import nn  # noqa: E402 - after the skips
from torch.nn import functional  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.models.resnet import Bottleneck  # noqa: E402

from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.slim_part import PrunePart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.networks import lenet5  # noqa: E402
from edgecnn.train.slimming.coupling import Coupling, Family, couple  # noqa: E402
from edgecnn.train.slimming.narrow import prunable_families, remove  # noqa: E402
from edgecnn.train.slimming.prune import importance, least_important, prune, require_prunable  # noqa: E402
from edgecnn.train.zoo import build_module, load_weights  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_as_before")

Make = Callable[[], nn.Module]
COLOUR = (1, 3, 32, 32)


def of_timm(name: str) -> nn.Module:
    return pytest.importorskip("timm", reason="timm is not installed").create_model(name, num_classes=10)


class Shared(nn.Module):
    """One convolution for two maps, its result beside itself and flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=8)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.slope = nn.PReLU(16)
        self.scale = nn.Parameter(torch.ones(16, 1, 1))
        self.last = nn.Linear(2 * 16 * 4 * 4, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:  # noqa: D102
        found = self.stem(pictures)
        once = self.slope(self.twice(found)) * self.scale
        return self.last(torch.cat([once, self.twice(once)], dim=1).flatten(1))


NETWORKS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "lenet5": (lambda: lenet5(batch_norm=True), (1, 1, 32, 32)),
    "resnet18": (lambda: models.resnet18(num_classes=10), COLOUR),
    "resnext": (lambda: models.ResNet(Bottleneck, [1, 1, 1, 1], 10, groups=4, width_per_group=16), COLOUR),
    "mobilenet_v2": (lambda: models.mobilenet_v2(num_classes=10, width_mult=0.5), COLOUR),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=10), COLOUR),
    "efficientnet": (lambda: of_timm("test_efficientnet"), COLOUR),
    "vgg": (
        lambda: nn.Sequential(*models.vgg.make_layers([16, "M", 32, "M"], True), nn.Flatten(), nn.Linear(2048, 10)),
        COLOUR,
    ),
    "googlenet": (lambda: models.googlenet(num_classes=10, init_weights=False), (1, 3, 64, 64)),
    "densenet": (lambda: models.DenseNet(16, (2, 3), 32, num_classes=10), COLOUR),
    "shufflenet": (lambda: models.shufflenet_v2_x0_5(num_classes=10), COLOUR),
    "regnet with squeeze-excite": (lambda: of_timm("regnety_002"), COLOUR),
    "convnext": (lambda: of_timm("test_convnext"), COLOUR),
    "shared": (Shared, COLOUR),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    """With gains, shifts and averages of training, no branch of which is 0."""
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.ndim == 1:
                value.uniform_(0.5, 1.5)
    return module.double().eval()


def some_of(coupling: Coupling, families: list[Family], generator: torch.Generator) -> torch.Tensor:
    """A random half of every family, or what is nearest in round numbers."""
    gone = coupling.nothing()
    for family in families:
        count = max(len(family.labels) // 2 // family.multiple, 1) * family.multiple
        gone[family.labels[torch.randperm(len(family.labels), generator=generator)[:count]]] = True
    return gone


def without(module: nn.Module, coupling: Coupling, gone: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
    """What a network gives where each layer sees 0 for the channels that are gone."""
    masked = copy.deepcopy(module)
    for name, layer in masked.named_modules():
        labels = coupling.axes.get((f"{name}.weight", 1))
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and getattr(layer, "groups", 1) == 1 and labels is not None:
            kept = ~gone[labels]

            def hide(layer: nn.Module, given: Any, kept: torch.Tensor = kept) -> Any:
                shape = (1, -1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
                return (given[0] * kept.reshape(shape),)

            layer.register_forward_pre_hook(hide)
    with torch.no_grad():
        return masked(picture)


@pytest.mark.parametrize("name", NETWORKS)
def test_without_channels_a_network_gives_what_it_gives_with_them_at_0(name: str) -> None:
    make, shape = NETWORKS[name]
    module = shaken(make())
    before = copy.deepcopy(module.float().state_dict())
    coupling = couple(module, shape)
    families = prunable_families(module, coupling, shape, 8)
    assert not any(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    gone = some_of(coupling, families, torch.Generator().manual_seed(0))
    module.double()
    picture = torch.randn(2, *shape[1:], dtype=torch.float64)
    expected = without(module, coupling, gone, picture)
    whole = sum(parameter.numel() for parameter in module.parameters())

    remove(module, coupling, gone)

    assert torch.allclose(module(picture), expected, rtol=1e-6, atol=1e-6 * float(expected.abs().max()))
    parameters = sum(parameter.numel() for parameter in module.parameters())
    assert coupling.parameters(gone) == parameters < whole
    module.float().train()
    module(torch.randn(2, *shape[1:]))  # auxiliary classifiers, too


@pytest.mark.parametrize("name", ["lenet5", "resnext", "mobilenet_v3", "densenet", "shared"])
def test_multiply_accumulates_are_those_that_torch_counts(name: str) -> None:
    make, shape = NETWORKS[name]
    module = make().eval()
    coupling = couple(module, shape)

    def counted(network: nn.Module) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(shape))
        return counter.get_total_flops() // 2

    assert coupling.macs(coupling.nothing()) == counted(module)
    gone = some_of(coupling, prunable_families(module, coupling, shape, 8), torch.Generator().manual_seed(0))
    remove(module, coupling, gone)
    assert coupling.macs(gone) == counted(module)
    assert couple(module, shape).macs(couple(module, shape).nothing()) == counted(module)


@pytest.mark.parametrize("multiple", [8, 16])
def test_widths_stay_round(multiple: int) -> None:
    module = models.mobilenet_v2(num_classes=10, width_mult=0.5)
    before = {name: layer.out_channels for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    coupling = couple(module, COLOUR)
    families = prunable_families(module, coupling, COLOUR, multiple)
    scores = torch.rand(coupling.count, dtype=torch.float64)
    gone = least_important(coupling, families, scores, 0.6 * coupling.macs(coupling.nothing()))

    remove(module, coupling, gone)

    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}
    changed = [name for name, layer in layers.items() if layer.out_channels != before[name]]
    assert changed
    for name in changed:
        assert not layers[name].out_channels % multiple
        assert layers[name].out_channels >= before[name] / 2
    assert coupling.macs(gone) <= 0.6 * coupling.macs(coupling.nothing())
    assert module.classifier[1].out_features == 10


def test_the_importance_is_the_square_of_the_first_derivative() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16)
    )
    module = nn.Sequential(*module, nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 3)).double().eval()
    shape = (1, 3, 8, 8)
    coupling = couple(module.float(), shape)
    module.double()
    pictures, targets = torch.randn(3, 4, 3, 8, 8, dtype=torch.float64), torch.randint(3, (3, 4))

    def loss(number: int, factor: float = 1.0, channel: int = 0) -> torch.Tensor:
        scaled = torch.ones(1, 16, 1, 1, dtype=torch.float64)
        scaled[0, channel] = factor
        maps = module[:5](pictures[number]) * scaled
        return functional.cross_entropy(module[5:](maps), targets[number])

    found = importance(module, coupling, (loss(number) for number in range(3)))

    step = 1e-6
    for channel, label in enumerate(coupling.axes["0.weight", 0].tolist()):
        with torch.no_grad():
            slopes = [
                float(loss(number, 1 + step, channel) - loss(number, 1 - step, channel)) / (2 * step)
                for number in range(3)
            ]
        assert float(found[label]) == pytest.approx(sum(slope**2 for slope in slopes) / 3, rel=1e-4)


class Mixing(nn.Module):
    """Everything that must keep channels: a norm over them, their softmax, a fixed shape, one map for all, outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 16, 3, padding=1) for _ in range(3))
        self.norm = nn.GroupNorm(1, 16)
        self.free, self.attention = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 1, 1)
        self.last = nn.Conv2d(16, 16, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:  # noqa: D102
        normed = self.norm(self.first(pictures))
        shares = self.second(pictures).softmax(dim=1)
        shaped = self.third(pictures).reshape(-1, 4, 4, 8, 8).mean(dim=2).repeat(1, 4, 1, 1)
        free = self.free(normed + shares + shaped)
        return self.last(free * self.attention(free).sigmoid())


def test_what_mixes_channels_keeps_them() -> None:
    module, shape = Mixing(), (1, 3, 8, 8)
    coupling = couple(module, shape)
    families = prunable_families(module, coupling, shape, 8)

    assert len(families) == 1
    assert torch.equal(families[0].labels, coupling.axes["free.weight", 0].unique())
    for name in ("first", "second", "third", "attention", "last"):
        assert not coupling.axes[f"{name}.weight", 0].any(), name


def test_a_network_without_anything_to_remove_is_refused() -> None:
    with pytest.raises(InputError, match=r"no layers that could be made narrower in multiples of 8"):
        require_prunable(nn.Sequential(nn.Conv2d(3, 10, 3), nn.Flatten()), COLOUR, "mine:net", PrunePart())


def small() -> nn.Module:
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)).eval()


def pruned_with(figures: list[float], **changes: Any) -> tuple[nn.Module, nn.Module, Any, list[int]]:
    module, told, learnt = small(), iter(figures), []

    def losses(network: nn.Module) -> Iterator[torch.Tensor]:
        yield network(torch.randn(2, 3, 8, 8)).square().sum()

    def learn(_network: nn.Module, number: int) -> None:
        learnt.append(number)

    part = PrunePart(**changes)
    made, found = prune(module, (1, 3, 8, 8), "mine:net", part, losses, learn, lambda _network: next(told))
    return module, made, found, learnt


def test_it_goes_on_while_the_figure_allows() -> None:
    _, made, found, learnt = pruned_with([0.9, 0.895, 0.891, 0.88], max_drop=1, step=0.3, least_macs=0)

    assert [step.figure for step in found.steps] == [0.9, 0.895, 0.891, 0.88]
    assert (found.kept, learnt) == (2, [1, 2, 3])
    macs = [step.macs for step in found.steps]
    assert macs == sorted(macs, reverse=True)
    coupling = couple(made, (1, 3, 8, 8))
    assert coupling.macs(coupling.nothing()) == macs[2]
    assert found.steps[2].parameters == sum(parameter.numel() for parameter in made.parameters())


def test_it_ends_where_it_should() -> None:
    _, _, found, _ = pruned_with([0.9] * 9, step=0.3, least_macs=0.4)
    assert found.kept == len(found.steps) - 1
    assert found.steps[-1].macs <= 0.4 * found.steps[0].macs < found.steps[-2].macs

    # Down to 8 channels everywhere there is nothing more to remove.
    _, made, found, _ = pruned_with([0.9] * 9, step=0.5, least_macs=0)
    assert [layer.out_channels for layer in made.modules() if isinstance(layer, nn.Conv2d)] == [8, 8]
    assert found.kept == len(found.steps) - 1


def test_a_network_that_can_lose_nothing_stays_as_it_was() -> None:
    module, made, found, _ = pruned_with([0.9, 0.88], max_drop=1)

    assert made is module
    assert (found.kept, len(found.steps)) == (0, 2)
    assert [layer.out_channels for layer in made.modules() if isinstance(layer, nn.Conv2d)] == [32, 32]


@pytest.fixture
def narrow(tmp_path: Path) -> tuple[nn.Module, Path]:
    """A pruned MobileNetV3, and the file of its weights."""
    module = models.mobilenet_v3_small(num_classes=10).eval()
    coupling = couple(module, COLOUR)
    remove(module, coupling, some_of(coupling, coupling.families(8), torch.Generator().manual_seed(0)))
    torch.save(module.state_dict(), tmp_path / "narrow.pt")
    return module, tmp_path / "narrow.pt"


def test_the_weights_say_how_wide_a_pruned_network_is(narrow: tuple[nn.Module, Path]) -> None:
    module, path = narrow
    part = ModelPart(source="torchvision:mobilenet_v3_small", num_classes=10, weights=str(path), pruned=True)

    rebuilt = build_module(part)
    load_weights(rebuilt, part)

    assert repr(rebuilt) == repr(module)
    picture = torch.randn(COLOUR)
    assert torch.equal(rebuilt.eval()(picture), module(picture))


@pytest.mark.parametrize("changes", [{"pruned": False}, {"num_classes": 12}, {"source": "torchvision:resnet18"}])
def test_weights_that_are_not_the_pruned_networks_are_refused(
    narrow: tuple[nn.Module, Path], changes: dict[str, Any]
) -> None:
    part = ModelPart(source="torchvision:mobilenet_v3_small", num_classes=10, weights=str(narrow[1]), pruned=True)
    part = part.model_copy(update=changes)

    with pytest.raises(InputError, match="not those of"):
        load_weights(build_module(part), part)
