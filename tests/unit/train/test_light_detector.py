"""The light detector: trunks, its output, its loss, and that a step towards its loss is one towards the boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")

from torch import nn  # noqa: E402 - after the skip

from edgecnn.core.head_part import HeadPart  # noqa: E402
from edgecnn.core.layouts import detect_layout  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.tensors import TensorSpec  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.train.detection.box_loss import FILLING, IGNORED, box_loss, boxes_of, grid_of  # noqa: E402
from edgecnn.train.detection.light_detector import LightDetector  # noqa: E402
from edgecnn.train.trunk import map_places  # noqa: E402
from edgecnn.train.zoo import begin_with, build_module  # noqa: E402
from edgecnn.vision.decode_detections import candidates  # noqa: E402

HEAD = HeadPart(width=16, depth=1)
STRIDES = [(8,), (16,), (32,)]
SIZE_HW = (64, 96)
GRID = grid_of(SIZE_HW, HEAD)


def stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class SmallNet(nn.Module):
    """Five halvings and a classifier, with a convolution after the third that belongs to the fourth block."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(stage(3, 4), stage(4, 8))
        self.layer1 = stage(8, 12)
        self.layer2 = nn.Sequential(nn.Conv2d(12, 40, 1), stage(40, 16))
        self.layer3 = stage(16, 20)
        self.fc = nn.Linear(20, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, classes) of pictures of any size."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(x.mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("mobilenet_v2", [("features.6", 32), ("features.13", 96), ("features", 1280)]),
        ("resnet18", [("layer2", 128), ("layer3", 256), ("layer4", 512)]),
        ("shufflenet_v2_x0_5", [("stage2", 48), ("stage3", 96), ("conv5", 1024)]),
    ],
)
def test_maps_are_the_ends_of_stages(name: str, places: list[tuple[str, int]]) -> None:
    network = build_module(ModelPart(source=f"torchvision:{name}"))

    assert map_places(network, name, STRIDES) == places


def test_nothing_within_a_block_is_taken() -> None:
    assert map_places(SmallNet(), "small", STRIDES) == [("layer1", 12), ("layer2", 16), ("layer3", 20)]


def test_a_network_that_does_not_halve_five_times_is_refused() -> None:
    with pytest.raises(InputError, match="no maps at stride 16; there are some at 2, 4, 8"):
        LightDetector(nn.Sequential(stage(3, 4), stage(4, 4), stage(4, 4)), "short", 1, HEAD)
    with pytest.raises(InputError, match="does not take a picture of 256 x 256"):
        LightDetector(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), "flat", 1, HEAD)


def test_its_output_is_what_its_layout_says() -> None:
    torch.manual_seed(0)
    module = LightDetector(SmallNet(), "small", 3, HEAD).eval()

    with torch.no_grad():
        output = module(torch.rand(2, 3, *SIZE_HW))

    assert output.shape == (2, len(GRID.points), 3 + 4 * 8)
    assert 0.002 < float(output[..., :3].sigmoid().mean()) < 0.05
    layout = HEAD.layout(3)
    spec = TensorSpec(name="output", dtype="float32", shape=(1, *output.shape[1:]))
    assert detect_layout([spec], SIZE_HW, 3, {"activation": "sigmoid", "cell_point": "centre"}) == layout
    corners, _, _ = candidates({"output": output[:1].numpy()}, layout, SIZE_HW, -np.inf)
    ours = boxes_of(output[:1, :, 3:], GRID.points, GRID.strides, 8)[0].numpy()
    inside = np.clip(ours, 0, [96, 64, 96, 64])
    np.testing.assert_allclose(corners, inside, atol=1e-3)


def test_each_map_speaks_for_its_own_place() -> None:
    """What changes with a corner of the picture, at the finest stride, is what is near it."""
    torch.manual_seed(0)
    module = LightDetector(SmallNet(), "small", 1, HEAD).eval()
    picture = torch.rand(1, 3, 256, 256)
    other = picture.clone()
    other[:, :, :8, :8] = 0

    with torch.no_grad():
        changed = (module(picture) - module(other)).abs().amax(dim=2)[0, : 32 * 32].reshape(32, 32)

    row, column = divmod(int(changed.argmax()), 32)
    assert max(row, column) < 4
    assert changed[28:, 28:].max() < 1e-3 * changed.max()


def targets(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([list(map(list, rows))], dtype=torch.float32)


def perfect(truth: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits that say each object's box and class at the cells in it, and nothing elsewhere."""
    output = torch.zeros(1, len(GRID.points), classes + 4 * 8)
    output[..., :classes] = -12
    for kind, left, top, right, bottom in truth[0].tolist():
        for cell, (x, y) in enumerate(GRID.points.tolist()):
            stride = float(GRID.strides[cell])
            sides = [(x - left) / stride, (y - top) / stride, (right - x) / stride, (bottom - y) / stride]
            if kind >= 0 and min(sides) > 0 and max(sides) < 7:
                output[0, cell, int(kind)] = 12
                for side, distance in enumerate(sides):
                    low = int(distance)
                    begin = classes + 8 * side + low
                    output[0, cell, begin] = float(np.log(max(1 - (distance - low), 1e-6))) + 20
                    output[0, cell, begin + 1] = float(np.log(max(distance - low, 1e-6))) + 20
    return output


def test_what_is_right_costs_next_to_nothing() -> None:
    truth = targets((1, 8, 8, 40, 40), (0, 52, 20, 92, 60), (FILLING, 0, 0, 0, 0))
    output = perfect(truth, 2)
    # Only as many cells learn an object as the assignment takes, and others that say so too are wrong.
    worse = output.clone()
    worse[..., :2] = worse[..., :2].flip(2)
    shifted = perfect(targets((1, 12, 8, 44, 40), (0, 56, 20, 96, 60)), 2)

    right = float(box_loss(output, truth, GRID, 8))

    assert float(box_loss(shifted, truth, GRID, 8)) > right + 0.3
    assert float(box_loss(worse, truth, GRID, 8)) > right + 3


def test_what_is_to_be_ignored_is_neither_object_nor_background() -> None:
    output = perfect(targets((0, 52, 20, 92, 60)), 1)

    as_background = box_loss(output, targets((FILLING, 0, 0, 0, 0)), GRID, 8)
    ignored = box_loss(output, targets((IGNORED, 52, 20, 92, 60)), GRID, 8)

    assert float(ignored) < 0.05
    assert float(as_background) > 50


def test_steps_down_the_loss_find_the_box() -> None:
    torch.manual_seed(0)
    truth = targets((1, 10, 12, 42, 44))
    output = torch.zeros(1, len(GRID.points), 2 + 4 * 8)
    output[..., :2] = -4
    output.requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.2)
    for _ in range(120):
        loss = box_loss(output, truth, GRID, 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    boxes, scores, classes = candidates({"output": output.detach().numpy()}, HEAD.layout(2), SIZE_HW, 0.5)

    assert classes.tolist() == [1] * len(classes)
    best = boxes[scores.argmax()]
    np.testing.assert_allclose(best, [10, 12, 42, 44], atol=1.5)


def test_it_begins_with_a_classifiers_weights_or_another_detectors(tmp_path: Any) -> None:
    code = tmp_path / "trunk_net.py"
    code.write_text(
        "import sys; sys.path.insert(0, '')\n"
        "import torch\n"
        "def net(width=4):\n"
        "    def stage(i, o): return torch.nn.Sequential(torch.nn.Conv2d(i, o, 3, 2, 1), torch.nn.ReLU())\n"
        "    return torch.nn.Sequential(stage(3, 4), stage(4, 4), stage(4, 4), stage(4, 4), stage(4, width),\n"
        "        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 5))\n"
    )
    model = ModelPart(source=f"{tmp_path}/trunk_net:net", head=HEAD, num_classes=3)
    classifier = build_module(model.model_copy(update={"head": None}))
    torch.save({f"module.{name}": value for name, value in classifier.state_dict().items()}, tmp_path / "c.pt")
    module = build_module(model)
    begin_with(module, model, str(tmp_path / "c.pt"))
    assert torch.equal(module.state_dict()["trunk.body.3.0.weight"], classifier.state_dict()["3.0.weight"])

    torch.save(module.state_dict(), tmp_path / "d.pt")
    fewer = model.model_copy(update={"num_classes": 2})
    other = build_module(fewer)
    begin_with(other, fewer, str(tmp_path / "d.pt"))
    assert torch.equal(other.state_dict()["neck.up.0.3.weight"], module.state_dict()["neck.up.0.3.weight"])
    assert other.state_dict()["heads.0.1.weight"].shape[0] == 2 + 32

    wider = model.model_copy(update={"arguments": {"width": 8}})
    with pytest.raises(InputError, match="not those of"):
        begin_with(build_module(wider), wider, str(tmp_path / "c.pt"))
