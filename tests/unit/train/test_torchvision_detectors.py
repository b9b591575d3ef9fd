"""Torchvision's detectors with a fixed input: their boxes, losses and weights are torchvision's own."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
torchvision: Any = pytest.importorskip("torchvision", reason="torchvision is not installed")

from torch import nn  # noqa: E402 - after the skip
from torchvision.models.detection import FCOS, RetinaNet  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator  # noqa: E402
from torchvision.models.detection.image_list import ImageList  # noqa: E402
from torchvision.models.detection.ssd import SSD  # noqa: E402

from edgecnn.build.sources import recipe_from  # noqa: E402
from edgecnn.core.detector import Detector  # noqa: E402
from edgecnn.core.preprocess import Preprocess  # noqa: E402
from edgecnn.core.recipe import ModelPart  # noqa: E402
from edgecnn.core.torchvision_detectors import TORCHVISION_DETECTORS  # noqa: E402
from edgecnn.errors import InputError  # noqa: E402
from edgecnn.graph.detection_outputs import DECODED  # noqa: E402
from edgecnn.train.detection.box_loss import FILLING, IGNORED  # noqa: E402
from edgecnn.train.detection.torchvision_detector import TorchvisionDetector  # noqa: E402
from edgecnn.train.detection.torchvision_loss import torchvision_loss  # noqa: E402
from edgecnn.train.detection.torchvision_weights import kept_as_published, published_input  # noqa: E402
from edgecnn.train.layers import set_batch_norm_momentum  # noqa: E402
from edgecnn.train.zoo import begin_with, build_module, load_weights  # noqa: E402
from edgecnn.vision.boxes import clip_boxes  # noqa: E402
from edgecnn.vision.decode_detections import decode_detections  # noqa: E402
from edgecnn.vision.preprocess import boxes_in_frame, preprocess  # noqa: E402

SIZE_HW = (96, 128)
CLASSES = 2
FAMILIES = ("ssd", "retinanet", "retinanet_v2", "fcos")
SSDLITE = ModelPart(source="torchvision:ssdlite320_mobilenet_v3_large", num_classes=CLASSES)
RETINANET = ModelPart(source="torchvision:retinanet_resnet50_fpn", num_classes=CLASSES)
# Of coordinates up to some hundred pixels in float32, computed in another order.
PIXELS = 1e-3


class Maps(nn.Module):
    """Maps of 32 channels at strides 8 and 16."""

    def __init__(self, out_channels: Any = 32) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.features = nn.Sequential(nn.Conv2d(3, 32, 8, 8), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """By torchvision's kind of names."""
        fine = self.features[:2](pictures)
        return OrderedDict([("0", fine), ("1", self.features[2:](fine))])


class AsTheyAre(nn.Module):
    """In place of torchvision's transform: pictures that are preprocessed already."""

    def forward(self, pictures: list[torch.Tensor], targets: Any = None) -> Any:
        """Pictures of one size."""
        return ImageList(torch.stack(pictures), [(int(one.shape[1]), int(one.shape[2])) for one in pictures]), targets

    def postprocess(self, found: Any, _sizes: Any, _originals: Any) -> Any:
        """Boxes as they are."""
        return found


def small(family: str, classes: int = CLASSES) -> TorchvisionDetector:
    """A detector of a family, with heads that say something."""
    torch.manual_seed(3)
    anchors = {"anchor_generator": AnchorGenerator(((16, 24), (40, 60)), ((0.5, 1.0, 2.0),) * 2)}
    if family == "ssd":
        generator = DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.4, 0.8])
        network: Any = SSD(Maps([32, 32]), generator, SIZE_HW, classes + 1)
    elif family == "fcos":
        network = FCOS(Maps(), classes + 1, anchor_generator=AnchorGenerator(((8,), (16,)), ((1.0,),) * 2))
    else:
        network = RetinaNet(Maps(), classes + 1, **anchors)
        network.head.regression_head._loss_type = "giou" if family == "retinanet_v2" else "l1"
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.normal_(0, 0.1)
    return TorchvisionDetector(network)


def torchvisions(detector: TorchvisionDetector) -> Any:
    """Torchvision's network with the same weights, for pictures as they are, which keeps every box."""
    network = detector.network
    network.transform = AsTheyAre()
    network.score_thresh, network.topk_candidates, network.detections_per_img = 0.05, 10**6, 10**6
    return network


def rows_of(boxes: Any, scores: Any, labels: Any) -> np.ndarray:
    """Sorted by score; boxes whose scores are equal but for rounding may stand in any order."""
    rows = np.column_stack([np.asarray(labels), np.asarray(boxes), np.asarray(scores)])
    return rows[np.lexsort((rows[:, 1].round(1), rows[:, 0], rows[:, 5].round(5)))]


@pytest.mark.parametrize("family", [*FAMILIES, "ssdlite"])
def test_boxes_and_scores_are_torchvisions(family: str) -> None:
    torch.manual_seed(1)
    detector: Any = build_module(SSDLITE) if family == "ssdlite" else small(family)
    pictures = torch.randn(2, 3, *SIZE_HW)
    set_batch_norm_momentum(detector, 1)

    with torch.no_grad():
        detector.train()(pictures)  # else what SSDLite's many layers leave of them is next to nothing
        detector.eval()
        found = detector(pictures)
        expected = torchvisions(detector).eval()(list(pictures))

    assert found["scores"].shape == (2, len(detector.anchors(SIZE_HW).boxes), CLASSES)
    torch.testing.assert_close(found, detector.decoded(detector.raw(pictures).detach(), SIZE_HW))
    for boxes, scores, theirs in zip(found["boxes"], found["scores"], expected, strict=True):
        anchors, kinds = torch.where(scores > detector.network.score_thresh)
        flat = scores[anchors, kinds]
        kept = torchvision.ops.batched_nms(boxes[anchors], flat, kinds, detector.network.nms_thresh)
        named = theirs["labels"] > 0  # the background is no class of ours
        ours = rows_of(boxes[anchors][kept], flat[kept], kinds[kept] + 1)
        wanted = rows_of(theirs["boxes"][named], theirs["scores"][named], theirs["labels"][named])
        assert len(wanted) > 10
        np.testing.assert_allclose(ours, wanted, atol=PIXELS, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_runs_shows_torchvisions_boxes_in_the_frame(family: str) -> None:
    detector = small(family, classes=1).eval()
    frame = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    spec = Preprocess(size_hw=SIZE_HW, resize="letterbox")
    network = torchvisions(detector)
    usage = Detector(spec, ("thing",), DECODED, network.score_thresh, network.nms_thresh, 10**6)
    pictures = torch.from_numpy(preprocess(frame, spec))

    with torch.no_grad():
        outputs = {name: tensor.numpy() for name, tensor in detector(pictures).items()}
        (theirs,) = network.eval()(list(pictures))

    found = decode_detections(outputs, usage, (50, 90))
    named = (theirs["labels"] > 0).numpy()
    boxes = clip_boxes(boxes_in_frame(theirs["boxes"].numpy()[named], spec, (50, 90)), (50, 90))
    seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # not wholly in the padding
    wanted = rows_of(boxes[seen], theirs["scores"].numpy()[named][seen], np.zeros(seen.sum()))
    np.testing.assert_allclose(rows_of(found.boxes_xyxy, found.scores, found.classes), wanted, atol=PIXELS, rtol=1e-5)


def targets(*pictures: list[tuple[float, ...]]) -> torch.Tensor:
    rows = torch.zeros(len(pictures), max(map(len, pictures)), 5)
    rows[..., 0] = FILLING
    for number, picture in enumerate(pictures):
        rows[number, : len(picture)] = torch.tensor(picture).reshape(-1, 5)
    return rows


TWO = targets([(1, 8, 8, 40, 40), (0, 60, 20, 120, 90), (1, 10, 60, 26, 76)], [(0, 50, 40, 90, 64)], [])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_torchvisions(family: str) -> None:
    detector = small(family).train()
    pictures = torch.randn(3, 3, *SIZE_HW)
    rows = [one[one[:, 0] >= 0] for one in TWO]
    wanted = [{"boxes": one[:, 1:], "labels": one[:, 0].long() + 1} for one in rows]

    expected = sum(torchvisions(detector)(list(pictures), wanted).values())
    found = torchvision_loss(detector, detector(pictures), TWO, detector.anchors(SIZE_HW))

    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_to_be_ignored_is_neither_object_nor_background(family: str) -> None:
    detector = small(family)
    anchors = detector.anchors(SIZE_HW)
    crowd = targets([(0, 60, 20, 120, 90), (IGNORED, 0, 0, 50, 96)])
    outputs = detector.train()(torch.randn(1, 3, *SIZE_HW)).detach().requires_grad_()

    def slopes(rows: torch.Tensor) -> torch.Tensor:
        outputs.grad = None
        torchvision_loss(detector, outputs, rows, anchors).backward()
        assert outputs.grad is not None
        return outputs.grad[0].abs().sum(dim=1)

    centre = (anchors.boxes[:, :2] + anchors.boxes[:, 2:]) / 2
    inside = centre[:, 0] <= 50
    as_background, ignored = slopes(targets([(0, 60, 20, 120, 90)])), slopes(crowd)
    assert float(as_background[inside].max()) > 0
    assert float(ignored[inside].max()) == 0
    assert float(ignored[~inside].max()) > 0
    # An object in it is learnt all the same.
    assert float(slopes(targets([(1, 8, 8, 40, 40), (IGNORED, 0, 0, 50, 96)]))[inside].max()) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_down_the_loss_find_the_box(family: str) -> None:
    detector = small(family)
    anchors = detector.anchors(SIZE_HW)
    truth = targets([(1, 30, 20, 70, 60)])
    outputs = torch.full_like(detector.train()(torch.zeros(1, 3, *SIZE_HW)).detach(), 0.5).requires_grad_()
    optimizer = torch.optim.Adam([outputs], lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        torchvision_loss(detector, outputs, truth, anchors).backward()
        optimizer.step()

    found = detector.decoded(outputs.detach(), SIZE_HW)

    best, kind = divmod(int(found["scores"][0].argmax()), CLASSES)
    assert kind == 1
    np.testing.assert_allclose(found["boxes"][0, best], [30, 20, 70, 60], atol=1.5)


def assert_input_is_torchvisions(detector: TorchvisionDetector, source: str) -> None:
    """The input that its published weights want."""
    spec, transform = published_input(source), detector.network.transform
    assert spec.mean == pytest.approx(transform.image_mean)
    assert spec.std == pytest.approx(transform.image_std)
    assert spec.size_hw == (transform.fixed_size or (transform.min_size[0],) * 2)


@pytest.mark.parametrize("name", TORCHVISION_DETECTORS)
def test_a_detector_by_its_name_has_its_own_recipe(name: str) -> None:
    recipe = recipe_from(f"torchvision:{name}@random")

    assert (recipe.task, recipe.model.weights, recipe.model.num_classes) == ("detection", "random", 90)
    assert recipe.detection.layout.stated()["background"] is None
    names = torchvision.models.get_model_weights(name).DEFAULT.meta["categories"]
    assert len(set(recipe.labels or ())) == 90
    for number, label in enumerate(recipe.labels or (), start=1):
        assert label == names[number] or (names[number] == "N/A" and label == f"unused {number}")


def test_a_checkpoint_is_torchvisions_and_begins_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector: Any = build_module(SSDLITE)
    theirs = torchvision.models.get_model(
        "ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=CLASSES + 1
    )
    theirs.load_state_dict(detector.state_dict())
    assert_input_is_torchvisions(detector, SSDLITE.source)
    torch.save(detector.state_dict(), tmp_path / "out.pt")
    more = SSDLITE.model_copy(update={"num_classes": 5})
    other: Any = build_module(more)

    begin_with(other, more, str(tmp_path / "out.pt"))

    anew = set(other.class_layers())
    assert len(anew) == 12
    for name, value in other.state_dict().items():
        assert (name in anew) or torch.equal(value, detector.state_dict()[name]), name
    with pytest.raises(InputError, match="not those of"):
        load_weights(other, more.model_copy(update={"weights": str(tmp_path / "out.pt")}))
    with pytest.raises(InputError, match="trunk is for torchvision's detectors"):
        begin_with(other, ModelPart(source="torchvision:resnet18"), "trunk")


def test_ssdlite_begins_with_the_classifier_in_its_trunk(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = torchvision.models.mobilenet_v3_large(norm_layer=lambda size: nn.BatchNorm2d(size, eps=0.001)).eval()
    torch.save({f"module.{name}": value for name, value in classifier.state_dict().items()}, tmp_path / "c.pt")
    detector: Any = build_module(SSDLITE)
    last = detector.state_dict()["backbone.features.1.3.0.weight"].clone()

    begin_with(detector, SSDLITE, str(tmp_path / "c.pt"))

    pictures = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = classifier.features[13].block[0](classifier.features[:13](pictures))
        found = detector.eval().backbone(pictures)["0"]
        deeper = classifier.features[13].block[1](expected), detector.backbone.features[1][0][0](found)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*deeper)
    assert torch.equal(detector.state_dict()["backbone.features.1.3.0.weight"], last)
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / "s.pt")
    with pytest.raises(InputError, match="not those of"):
        begin_with(detector, SSDLITE, str(tmp_path / "s.pt"))


def test_ssd_begins_with_vggs_convolutions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers: Any = torchvision.models.vgg
    classifier = nn.Module()
    classifier.features = layers.make_layers(layers.cfgs["D"])
    torch.save(classifier.state_dict(), tmp_path / "vgg.pt")
    model = ModelPart(source="torchvision:ssd300_vgg16", num_classes=1)
    detector: Any = build_module(model)

    begin_with(detector, model, str(tmp_path / "vgg.pt"))
    assert_input_is_torchvisions(detector, model.source)

    state = detector.state_dict()
    names = [f"backbone.features.{layer}" for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)]
    names += [f"backbone.extra.0.{layer}" for layer in (1, 3, 5)]
    for name, (_, part) in zip(
        names, (one for one in classifier.named_modules() if isinstance(one[1], nn.Conv2d)), strict=True
    ):
        assert torch.equal(state[f"{name}.weight"], part.weight), name
    assert kept_as_published(detector, model.source) == {
        f"backbone.features.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


@pytest.fixture(scope="module")
def retinanet() -> Any:
    torch.manual_seed(0)
    return build_module(RETINANET)


def old_name(name: str) -> str:
    """What torchvision called a tensor before 0.14."""
    parts = name.split(".")
    if "layer_blocks" in name or "inner_blocks" in name:
        del parts[4]
    elif "_head.conv" in name:
        parts[3] = str(2 * int(parts[3]))
        del parts[4]
    return ".".join(parts)


def test_retinanets_published_weights_have_old_names_and_no_epsilon(retinanet: Any, tmp_path: Path) -> None:
    expected = retinanet.state_dict()
    published = {old_name(name): value for name, value in expected.items() if "num_batches" not in name}
    assert "backbone.fpn.inner_blocks.0.weight" in published
    assert "head.regression_head.conv.6.bias" in published
    path = tmp_path / "retinanet_resnet50_fpn_coco-eeacb38b.pth"
    torch.save(published, path)
    detector: Any = build_module(RETINANET)

    load_weights(detector, RETINANET.model_copy(update={"weights": str(path)}))

    for name, value in detector.state_dict().items():
        less = 1e-5 if name.endswith("running_var") else 0
        torch.testing.assert_close(value, expected[name] - less, rtol=0, atol=0 if not less else 1e-7)
    torch.save(published, tmp_path / "other.pth")
    load_weights(detector, RETINANET.model_copy(update={"weights": str(tmp_path / "other.pth")}))
    assert torch.equal(
        detector.state_dict()["backbone.body.bn1.running_var"], expected["backbone.body.bn1.running_var"]
    )


def test_retinanet_begins_with_resnet_and_keeps_its_norm(retinanet: Any, tmp_path: Path) -> None:
    classifier = torchvision.models.resnet50()
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pth")

    begin_with(retinanet, RETINANET, str(tmp_path / "resnet50.pth"))
    assert_input_is_torchvisions(retinanet, RETINANET.source)

    assert torch.equal(retinanet.backbone.body.layer4[2].conv3.weight, classifier.layer4[2].conv3.weight)
    kept = kept_as_published(retinanet, RETINANET.source)
    assert {"backbone.body.conv1.weight", "backbone.body.layer1.0.conv1.weight"} <= kept
    assert {"backbone.body.layer4.2.bn3.weight", "backbone.body.layer2.0.downsample.1.bias"} <= kept
    assert not {"backbone.body.layer2.0.conv1.weight", "head.classification_head.cls_logits.bias"} & kept
    assert len(kept) == 2 * 53 + 11


@pytest.mark.parametrize("family", FAMILIES)
def test_processes_count_their_objects_together(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of two processes' losses is that of one process with both of their pictures."""
    detector = small(family)
    anchors = detector.anchors(SIZE_HW)
    outputs = detector.train()(torch.randn(2, 3, *SIZE_HW))
    alone = torchvision_loss(detector, outputs, TWO[:2], anchors)
    counts: list[torch.Tensor] = []
    monkeypatch.setattr("edgecnn.train.fabric.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("edgecnn.train.fabric.distributed.get_world_size", lambda: 2)

    def losses() -> list[torch.Tensor]:
        return [torchvision_loss(detector, outputs[one : one + 1], TWO[one : one + 1], anchors) for one in range(2)]

    monkeypatch.setattr("edgecnn.train.fabric.distributed.all_reduce", counts.append)
    losses()
    monkeypatch.setattr("edgecnn.train.fabric.distributed.all_reduce", lambda count: count.copy_(sum(counts)))

    torch.testing.assert_close(sum(losses()) / 2, alone)
    assert len(counts) == (0 if family.startswith("retinanet") else 2)
