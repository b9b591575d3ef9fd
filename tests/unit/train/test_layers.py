"""Layers that a recipe may choose, what BatchNorm does when, and which parts of a network learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from edgecnn.core.recipe import ModelPart  # noqa: E402 - after the skip
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.layers import (  # noqa: E402
    blocks_of,
    freeze,
    head_of,
    outer_layers,
    set_batch_norm_momentum,
    unscale,
)
from edgecnn.train.zoo import begin_with, build_module  # noqa: E402

nn = torch.nn


def built(source: str, **changes: Any) -> torch.nn.Module:
    return build_module(ModelPart(source=source, num_classes=5, **changes))


def kinds(module: torch.nn.Module) -> list[str]:
    return [type(part).__name__ for part in module.modules()]


@pytest.mark.parametrize(
    ("source", "shape"), [("zoo:lenet5", (2, 1, 32, 32)), ("zoo:alexnet", (1, 3, 227, 227)), ("zoo:cnn1d", (2, 1, 200))]
)
@pytest.mark.parametrize("pooling", ["max", "average", "stride"])
def test_zoo_networks_take_every_pooling(source: str, shape: tuple[int, ...], pooling: str) -> None:
    module = built(source, pooling=pooling, global_pooling="max", dropout=0.3).eval()
    names = kinds(module)

    assert module(torch.zeros(shape)).shape == (shape[0], 5)
    assert any(name.startswith("MaxPool") for name in names) == (pooling == "max")
    assert any(name.startswith("AvgPool") for name in names) == (pooling == "average")
    convolutions = [part for part in module.modules() if isinstance(part, (nn.Conv1d, nn.Conv2d))]
    strided = [part for part in convolutions if part.stride in ((2,), (2, 2))]
    assert bool(strided) == (pooling == "stride")
    assert any(name.startswith("AdaptiveMaxPool") for name in names)
    assert {part.p for part in module.modules() if isinstance(part, nn.Dropout)} == {0.3}


def test_the_signal_network_goes_into_onnx_and_counts(tmp_path: Path) -> None:
    import numpy as np

    from edgecnn.backends.ort import OrtSession
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.graph.model import save_model
    from edgecnn.graph.prepare import PREPARATION, run_passes

    module = built("zoo:cnn1d", arguments={"channels": 3}).eval()
    model = export_module(module, (1, 3, 256))
    run_passes(model, PREPARATION)
    save_model(model, tmp_path / "signal.onnx")
    signal = np.random.default_rng(0).standard_normal((1, 3, 256)).astype(np.float32)

    found = OrtSession(tmp_path / "signal.onnx").run({"input": signal})["output"]

    assert np.allclose(found, module(torch.from_numpy(signal)).detach().numpy(), atol=1e-5)


def test_networks_of_libraries_take_dropout_and_global_pooling() -> None:
    mobile = built("torchvision:mobilenet_v2", dropout=0.4)
    assert [part.p for part in mobile.modules() if isinstance(part, nn.Dropout)] == [0.4]
    residual = built("torchvision:resnet18", dropout=0.5, global_pooling="max")
    assert "AdaptiveMaxPool2d" in kinds(residual)
    assert residual.state_dict().keys() == built("torchvision:resnet18").state_dict().keys()
    ones = torch.ones(1, 512)
    residual.train()
    assert not torch.equal(residual.fc(ones), residual.fc(ones))
    residual.eval()
    assert torch.equal(residual.fc(ones), residual.fc(ones))

    with pytest.raises(InputError, match="global pooling"):
        built("torchvision:mobilenet_v2", global_pooling="max")
    with pytest.raises(InputError, match="networks of the zoo"):
        built("torchvision:resnet18", pooling="stride")


def test_batch_norm_in_training_and_in_inference() -> None:
    """Textbook: mean <- alpha mean + (1 - alpha) batch mean, alpha 0.9; Torch's momentum is 1 - alpha."""
    layer = nn.BatchNorm2d(1)
    set_batch_norm_momentum(nn.Sequential(layer), 0.1)
    batch = torch.tensor([1.0, 3.0, 5.0, 7.0]).reshape(4, 1, 1, 1)

    layer.train()
    made = layer(batch)

    assert torch.allclose(made.mean(), torch.zeros(()), atol=1e-6)
    assert torch.allclose(layer.running_mean, torch.tensor([0.9 * 0 + 0.1 * 4.0]))
    # The running variance is that of a sample: divided by n - 1.
    assert torch.allclose(layer.running_var, torch.tensor([0.9 * 1 + 0.1 * batch.var().item()]))

    layer.eval()
    before = layer.running_mean.clone()
    one = layer(batch[:1])
    expected = (1.0 - layer.running_mean) / torch.sqrt(layer.running_var + layer.eps)
    assert torch.allclose(one.flatten(), expected)
    assert torch.equal(layer(batch)[:1], one)  # others of the batch do not matter
    assert torch.equal(layer.running_mean, before)


def test_a_batch_of_one_cannot_be_normalized_in_training() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="more than 1 value"):
        layer.train()(torch.zeros(1, 3))
    assert layer.eval()(torch.zeros(1, 3)).shape == (1, 3)


def test_a_momentum_of_its_own_reaches_every_batch_norm() -> None:
    module = built("torchvision:resnet18")
    set_batch_norm_momentum(module, 0.03)
    assert {part.momentum for part in module.modules() if isinstance(part, nn.BatchNorm2d)} == {0.03}


def test_blocks_run_from_the_input_to_the_head() -> None:
    module = built("torchvision:mobilenet_v2")
    blocks = blocks_of(module, "m")

    assert blocks[0][0].startswith("features.0.")
    assert blocks[-1] == ["classifier.1.weight", "classifier.1.bias"]
    assert len(blocks) == 20
    assert sorted(name for block in blocks for name in block) == sorted(name for name, _ in module.named_parameters())
    residual = blocks_of(built("torchvision:resnet18"), "r")
    assert residual[0] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert residual[1][0].startswith("layer1.0.")


def test_frozen_parts_are_in_inference_mode() -> None:
    module = built("torchvision:mobilenet_v2")
    blocks = blocks_of(module, "m")
    module.train()

    freeze(module, [name for block in blocks[-3:] for name in block])

    assert not module.features[0][1].training
    assert module.features[18][1].training
    assert not module.features[0][0].weight.requires_grad
    assert module.classifier[1].weight.requires_grad
    mean = module.features[0][1].running_mean.clone()
    module(torch.randn(2, 3, 32, 32))
    assert torch.equal(module.features[0][1].running_mean, mean)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_auxiliary_classifiers_belong_to_the_head(name: str) -> None:
    module = built(f"torchvision:{name}", arguments={"init_weights": False})

    names = outer_layers(module, name)

    assert names[-1] == "fc"
    assert all("aux" in other.lower() for other in names[:-1])
    assert len(names) == (3 if name == "googlenet" else 2)


def test_pretrained_weights_for_other_classes_fill_all_but_the_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(1)
    thousand = build_module(ModelPart(source="torchvision:squeezenet1_1"))
    torch.save({f"module.{name}": value for name, value in thousand.state_dict().items()}, tmp_path / "w.pt")
    part = ModelPart(source="torchvision:squeezenet1_1", num_classes=5)
    module = build_module(part)
    fresh = module.classifier[1].weight.clone()

    begin_with(module, part, str(tmp_path / "w.pt"))

    assert torch.equal(module.features[0].weight, thousand.features[0].weight)
    assert torch.equal(module.classifier[1].weight, fresh)
    with pytest.raises(InputError, match="not those of"):
        begin_with(
            build_module(ModelPart(source="zoo:lenet5", num_classes=5)),
            ModelPart(source="zoo:lenet5"),
            str(tmp_path / "w.pt"),
        )


def test_a_head_that_learnt_standardized_values_gives_values() -> None:
    head = nn.Linear(3, 2)
    inputs = torch.randn(4, 3)
    expected = head(inputs) * torch.tensor([2.0, 3.0]) + torch.tensor([10.0, -1.0])

    unscale(head, torch.tensor([10.0, -1.0]), torch.tensor([2.0, 3.0]))

    assert torch.allclose(head(inputs), expected, atol=1e-5)
    assert head_of(nn.Sequential(head), "h")[1] is head
