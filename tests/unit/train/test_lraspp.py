"""Lite R-ASPP: trunks, its output against torchvision's, in ONNX, and the weights that it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from torch import nn  # noqa: E402 - after the skip
from torch.nn import functional  # noqa: E402
from torchvision.models import segmentation  # noqa: E402

from edgecnn.core.head_part import LrasppPart  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.layers import freeze, set_batch_norm_momentum  # noqa: E402
from edgecnn.train.masks.dilation import keep_at_stride  # noqa: E402
from edgecnn.train.masks.lraspp import Lraspp  # noqa: E402
from edgecnn.train.zoo import begin_with, build_module  # noqa: E402

SLOW_TO_EXPORT = ("torchvision:mobilenet_v3_small", "timm:efficientnet_lite0")
CODE = """
import torch
def net(steps=4, width=4):
    def stage(i, o):
        return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU())
    return torch.nn.Sequential(stage(3, width), *(stage(width, width) for _ in range(steps - 1)),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 5))
"""


def part(**fields: Any) -> LrasppPart:
    return LrasppPart(kind="lraspp", **fields)


def model_of(source: str, classes: int = 3, arguments: dict[str, Any] | None = None, **fields: Any) -> ModelPart:
    return ModelPart(source=source, num_classes=classes, arguments=arguments or {}, head=part(**fields))


def shaken(module: nn.Module) -> nn.Module:
    """A network whose BatchNorms do not all say the same, in inference mode."""
    torch.manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize(
    ("source", "arguments", "widths"),
    [
        ("torchvision:mobilenet_v3_small", {}, (24, 576)),
        ("torchvision:resnet18", {}, (128, 512)),
        ("torchvision:shufflenet_v2_x0_5", {}, (48, 1024)),
        ("timm:efficientnet_lite0", {}, (40, 1280)),
        ("timm:resnet18", {"output_stride": 16}, (128, 512)),
    ],
)
def test_masks_on_any_trunk(source: str, arguments: dict[str, Any], widths: tuple[int, int]) -> None:
    if source.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")
    module = shaken(build_module(model_of(source, arguments=arguments, stride=2)))
    assert isinstance(module, Lraspp)
    picture = torch.rand(2, 3, 64, 96)

    with torch.no_grad():
        planes = module(picture)
        low, high = module.trunk(picture)

    assert module.trunk.widths == widths
    assert (low.shape[1:], high.shape[1:]) == ((widths[0], 8, 12), (widths[1], 4, 6))
    assert planes.shape == (2, 3, 32, 48)
    # Layers that no map depends on are gone.
    module.zero_grad()
    module(picture).square().mean().backward()
    assert all(value.grad is not None for value in module.parameters())


def test_a_stage_can_be_left_out() -> None:
    assert build_module(model_of("torchvision:resnet18", dilate=False)).trunk.widths == (128, 256)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_every_second_place_of_a_dilated_map_is_the_old_one(name: str) -> None:
    network = shaken(build_module(ModelPart(source=f"torchvision:{name}")))
    body = nn.Sequential(*list(network.children())[:-2]) if name == "resnet18" else network.features
    picture = torch.randn(1, 3, 128, 96)

    with torch.no_grad():
        coarse = body(picture)
        assert keep_at_stride(network, 16)
        fine = body(picture)

    assert (coarse.shape[2:], fine.shape[2:]) == ((4, 3), (8, 6))
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse, atol=1e-4, rtol=1e-4)


def test_a_network_that_halves_in_another_way_stays_as_it_is() -> None:
    network = build_module(ModelPart(source="torchvision:vgg11")).eval()
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network.features(picture)
        assert not keep_at_stride(network, 16)
        assert torch.equal(network.features(picture), before)


def test_it_computes_what_torchvisions_does() -> None:
    torch.manual_seed(0)
    theirs = shaken(segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4))
    ours = build_module(model_of("torchvision:mobilenet_v3_large", 4, {"dilated": True})).eval()
    ours.trunk.body.load_state_dict({f"features.{k}": v for k, v in theirs.backbone.state_dict().items()})
    ours.load_state_dict({**ours.state_dict(), **theirs.classifier.state_dict()})
    picture = torch.randn(2, 3, 96, 128)

    with torch.no_grad():
        expected = theirs(picture)["out"]
        maps = ours.trunk(picture)
        features = theirs.backbone(picture)
        torch.testing.assert_close(maps[1], features["high"])
        # Its finer map is that of the first block at stride 8, ours that of the last one.
        ours.trunk.forward = lambda _: (features["low"], maps[1])  # type: ignore[method-assign]
        found = ours(picture)

    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)


def test_a_smaller_mask_is_the_same_before_it_is_enlarged() -> None:
    large = shaken(build_module(model_of("torchvision:resnet18")))
    picture = torch.randn(1, 3, 64, 64)
    for stride in (2, 4, 8):
        small = build_module(model_of("torchvision:resnet18", stride=stride)).eval()
        small.load_state_dict(large.state_dict())
        with torch.no_grad():
            planes = small(picture)
            assert planes.shape == (1, 3, 64 // stride, 64 // stride)
            if stride == 8:
                enlarged = functional.interpolate(planes, size=(64, 64), mode="bilinear", align_corners=False)
                torch.testing.assert_close(large(picture), enlarged)


def test_the_coarser_map_may_be_at_stride_32(tmp_path: Path) -> None:
    def halving(factor: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3 if factor == 8 else 4, 4, factor, factor), nn.ReLU())

    module = Lraspp(nn.Sequential(halving(8), halving(4), nn.Flatten()), "steps", 2, part(width=8)).eval()
    with torch.no_grad():
        assert module(torch.rand(1, 3, 64, 32)).shape == (1, 2, 64, 32)
    with pytest.raises(InputError, match="no maps at stride 16 or 32; there are some at 8") as caught:
        Lraspp(nn.Sequential(halving(8), nn.Flatten()), "flat", 2, part())
    assert "strides 8, 16 or 32 are wanted" in caught.value.hint


@pytest.mark.parametrize("source", ["torchvision:resnet18", "timm:resnet18"])
def test_frozen_parts_of_a_trunk_stay_as_they_are(source: str) -> None:
    if source.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")
    module = build_module(model_of(source, stride=8))
    set_batch_norm_momentum(module, 1.0)
    learning = [name for name, _ in module.named_parameters() if "layer1" not in name]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train()
    freeze(module, learning)

    module(torch.rand(2, 3, 64, 64) + 3)

    after = module.state_dict()
    frozen = "trunk.body.layer1.0.bn1.running_mean"
    assert torch.equal(after[frozen], before[frozen])
    first = after["trunk.body.bn1.running_mean"].clone()
    module(-torch.rand(2, 3, 64, 64) - 3)
    # Of a momentum of 1 nothing is left of the batch before.
    assert (module.state_dict()["trunk.body.bn1.running_mean"] + first).abs().max() < 0.1 * first.abs().max()


@pytest.mark.parametrize(
    "source",
    ["torchvision:resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_TO_EXPORT)],
)
def test_onnx_computes_what_torch_does(source: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'edgecnn[convert]'")
    if source.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed: pip install 'edgecnn[timm]'")
    from edgecnn.backends.ort import OrtSession
    from edgecnn.export.torch_onnx import export_module
    from edgecnn.graph.model import output_specs, save_model

    module = shaken(build_module(model_of(source, stride=2)))
    model = export_module(module, (1, 3, 64, 96))
    save_model(model, tmp_path / "net.onnx")
    session, picture = OrtSession(tmp_path / "net.onnx"), torch.randn(1, 3, 64, 96)

    assert [(spec.name, spec.shape) for spec in output_specs(model)] == [("output", (1, 3, 32, 48))]
    sizes = [node.inputs[2] or node.inputs[3] for node in model.graph if node.op_type == "Resize"]
    assert len(sizes) == 2
    assert all(value.const_value is not None for value in sizes)  # TensorRT wants them to be constant
    with torch.no_grad():
        expected = module(picture).numpy()
    found = session.run({"input": picture.numpy()})["output"]
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_it_begins_with_a_classifiers_weights_or_another_such_network(tmp_path: Path) -> None:
    (tmp_path / "steps_net.py").write_text(CODE)
    model = model_of(f"{tmp_path}/steps_net:net", width=8)
    classifier = build_module(model.model_copy(update={"head": None}))
    torch.save(classifier.state_dict(), tmp_path / "c.pt")
    module = build_module(model)
    begin_with(module, model, str(tmp_path / "c.pt"))
    assert torch.equal(module.state_dict()["trunk.body.3.0.weight"], classifier.state_dict()["3.0.weight"])

    torch.save(module.state_dict(), tmp_path / "m.pt")
    more = model.model_copy(update={"num_classes": 5})
    other = build_module(more)
    begin_with(other, more, str(tmp_path / "m.pt"))
    assert torch.equal(other.state_dict()["cbr.0.weight"], module.state_dict()["cbr.0.weight"])
    assert other.state_dict()["low_classifier.weight"].shape[0] == 5
    wider = model_of(f"{tmp_path}/steps_net:net", arguments={"width": 8})
    with pytest.raises(InputError, match="not those of"):
        begin_with(build_module(wider), wider, str(tmp_path / "c.pt"))
