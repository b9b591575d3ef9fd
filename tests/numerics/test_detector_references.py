"""Decoders against what the networks' own code does with the same raw outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.core.detector import Detector, Layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.vision.boxes import non_maximum_suppression
from edgecnn.vision.decode_detections import candidates, decode_detections

torch: Any = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
torchvision: Any = pytest.importorskip("torchvision", reason="torchvision is not installed")

# Of coordinates up to some hundred pixels in float32.
PIXELS = 1e-3


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    low = random.uniform(0, 80, (count, 2))
    return np.concatenate([low, low + random.uniform(5, 40, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("iou", [0.3, 0.5, 0.7])
def test_suppression_is_torchvisions(agnostic: bool, iou: float) -> None:
    random = np.random.default_rng(0)
    boxes, scores = random_boxes(random, 400), random.permutation(400).astype(np.float32) / 400
    classes = random.integers(0, 3, 400)

    kept = non_maximum_suppression(boxes, scores, None if agnostic else classes, iou, 1000)

    tensors = (torch.from_numpy(boxes), torch.from_numpy(scores))
    ops = torchvision.ops
    wanted = ops.nms(*tensors, iou) if agnostic else ops.batched_nms(*tensors, torch.from_numpy(classes), iou)
    np.testing.assert_array_equal(kept, wanted.numpy())


def nanodet_reference(raw: Any, classes: int, strides: tuple[int, ...], offset: float, hw: tuple[int, int]) -> Any:
    """NanoDet's: points of the grid, the mean of each side's distribution, and the box cut at the picture's edge."""
    points = []
    for stride in strides:
        ys = torch.arange(-(-hw[0] // stride), dtype=torch.float64)
        xs = torch.arange(-(-hw[1] // stride), dtype=torch.float64)
        y, x = torch.meshgrid((ys + offset) * stride, (xs + offset) * stride, indexing="ij")
        points.append(torch.stack([x.flatten(), y.flatten(), torch.full_like(x, stride).flatten()], dim=1))
    prior = torch.cat(points)
    probabilities = torch.softmax(raw[:, classes:].double().reshape(len(raw), 4, 8), dim=2)
    distance = (probabilities * torch.arange(8)).sum(dim=2) * prior[:, 2:]
    corners = torch.cat([prior[:, :2] - distance[:, :2], prior[:, :2] + distance[:, 2:]], dim=1)
    limit = torch.tensor([hw[1], hw[0], hw[1], hw[0]])
    return corners.clamp(min=torch.zeros(4), max=limit)


@pytest.mark.parametrize(("strides", "point", "offset"), [((8, 16, 32, 64), "corner", 0), ((8, 16, 32), "centre", 0.5)])
def test_nanodet(strides: tuple[int, ...], point: Any, offset: float) -> None:
    hw, classes = (104, 136), 3  # with cells of every stride that reach over the edge
    cells = sum(-(-hw[0] // stride) * -(-hw[1] // stride) for stride in strides)
    random = np.random.default_rng(1)
    raw = np.concatenate([random.random((cells, classes)), random.normal(0, 3, (cells, 32))], axis=1)
    outputs = {"out": raw.astype(np.float32)[None]}
    layout = Layout(kind="nanodet", boxes="out", classes=classes, strides=strides, cell_point=point)

    boxes, scores, numbers = candidates(outputs, layout, hw, 0.0)

    expected = nanodet_reference(torch.from_numpy(outputs["out"][0]), classes, strides, offset, hw)
    np.testing.assert_allclose(boxes, expected, atol=PIXELS)
    np.testing.assert_allclose(scores, outputs["out"][0, :, :classes].max(axis=1))
    np.testing.assert_array_equal(numbers, outputs["out"][0, :, :classes].argmax(axis=1))


@pytest.mark.parametrize("apart", [True, False], ids=["logits and pred_boxes", "one output"])
def test_rtdetr(apart: bool) -> None:
    """Sigmoid, the best class of each query, and its relative box in the frame's pixels."""
    random = np.random.default_rng(2)
    logits = random.normal(-2, 2, (300, 7)).astype(np.float32)
    boxes = random.uniform(0.2, 0.6, (300, 4)).astype(np.float32)
    if apart:
        layout = Layout(
            kind="boxes_scores", boxes="b", scores="s", classes=7, activation="sigmoid", box_format="cxcywh"
        )
        outputs = {"b": boxes[None], "s": logits[None]}
    else:
        layout = Layout(kind="rtdetr", boxes="o", classes=7)
        probabilities = torch.from_numpy(logits).sigmoid().numpy()
        outputs = {"o": np.concatenate([boxes, probabilities], axis=1)[None]}
    detector = Detector(
        Preprocess(size_hw=(64, 64)), tuple("abcdefg"), layout, 0.3, iou_threshold=1.0, max_detections=300
    )

    found = decode_detections(outputs, detector, (480, 640))

    best, number = torch.from_numpy(logits).double().sigmoid().max(dim=1)
    kept = torch.nonzero(best >= 0.3)[:, 0]
    kept = kept[torch.argsort(best[kept], descending=True, stable=True)]
    scale = torch.tensor([640, 480, 640, 480])
    corners = torchvision.ops.box_convert(torch.from_numpy(boxes)[kept].double(), "cxcywh", "xyxy") * scale
    corners = torchvision.ops.clip_boxes_to_image(corners, (480, 640))
    np.testing.assert_allclose(found.boxes_xyxy, corners, atol=PIXELS)
    np.testing.assert_allclose(found.scores, best[kept], rtol=1e-5)
    np.testing.assert_array_equal(found.classes, number[kept])


def raw_heads(anchors: Any, columns: int, random: np.random.Generator) -> dict[str, Any]:
    """Shifts, log sizes (some absurdly large) and logits with one clear class, for every anchor."""
    count = len(anchors)
    deltas = random.normal(0, 1.5, (1, count, 4)).astype(np.float32)
    deltas[0, ::50, 2:] = 40
    logits = random.normal(-6, 0.5, (1, count, columns)).astype(np.float32)
    logits[0, np.arange(count), random.integers(0, columns, count)] = random.uniform(-3, 6, count)
    return {"bbox_regression": torch.from_numpy(deltas), "cls_logits": torch.from_numpy(logits)}


def seen(expected: dict[str, Any]) -> dict[str, Any]:
    """Without the boxes that lie beside the picture, which torchvision gives out with no area."""
    boxes = expected["boxes"]
    kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return {name: tensor[kept] for name, tensor in expected.items()}


def assert_same_objects(found: Any, expected: dict[str, Any]) -> None:
    assert len(found) > 20
    expected = seen(expected)
    ours, theirs = (
        np.column_stack([numbers, boxes, scores])
        for numbers, boxes, scores in (
            ([int(label) for label in found.labels], found.boxes_xyxy, found.scores),
            (expected["labels"], expected["boxes"], expected["scores"]),
        )
    )
    # Scores that are equal but for rounding may stand in any order.
    ours, theirs = (rows[np.lexsort(rows[:, :3].round(1).T)] for rows in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=PIXELS)


def test_ssd_is_torchvisions(tmp_path: Path) -> None:
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.ssd import SSD

    generator = DefaultBoxGenerator([[2], [2, 3]], scales=[0.2, 0.5, 0.9])
    backbone = torch.nn.Identity()
    backbone.out_channels = [8, 8]
    ssd = SSD(backbone, generator, (96, 96), 6, score_thresh=0.3, nms_thresh=0.45, detections_per_img=999).eval()
    images = ImageList(torch.zeros(1, 3, 96, 96), [(96, 96)])
    anchors = generator(images, [torch.zeros(1, 8, 12, 12), torch.zeros(1, 8, 6, 6)])[0]
    heads = raw_heads(anchors, 6, np.random.default_rng(3))

    (expected,) = ssd.postprocess_detections(heads, [anchors], [(96, 96)])

    np.save(tmp_path / "anchors.npy", anchors.numpy())
    layout = Layout(
        kind="anchors",
        boxes="bbox_regression",
        scores="cls_logits",
        activation="softmax",
        background="first",
        anchors=str(tmp_path / "anchors.npy"),
    )
    detector = Detector(Preprocess(size_hw=(96, 96)), tuple("12345"), layout, 0.3, 0.45, 999)
    found = decode_detections({name: array.numpy() for name, array in heads.items()}, detector, (96, 96))
    assert_same_objects(found, expected)

    # Its own postprocess in the graph gives these three.
    final = Layout(kind="torchvision", boxes="boxes", scores="scores", numbers="labels", background="first")
    inside = decode_detections(
        {name: array.numpy() for name, array in expected.items()}, replace(detector, layout=final), (96, 96)
    )
    assert_same_objects(inside, expected)


def test_retinanet_is_torchvisions(tmp_path: Path) -> None:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList
    from torchvision.models.detection.retinanet import RetinaNet

    generator = AnchorGenerator(((16, 24), (40, 60)), ((0.5, 1.0, 2.0),) * 2)
    backbone = torch.nn.Identity()
    backbone.out_channels = 8
    net = RetinaNet(backbone, 5, anchor_generator=generator, score_thresh=0.3, detections_per_img=999).eval()
    images = ImageList(torch.zeros(1, 3, 96, 128), [(96, 128)])
    anchors = generator(images, [torch.zeros(1, 8, 12, 16), torch.zeros(1, 8, 6, 8)])[0]
    heads = raw_heads(anchors, 5, np.random.default_rng(4))
    levels = [12 * 16 * 6, 6 * 8 * 6]

    split = {name: list(array.split(levels, dim=1)) for name, array in heads.items()}
    (expected,) = net.postprocess_detections(split, [list(anchors.split(levels))], [(96, 128)])

    np.save(tmp_path / "anchors.npy", anchors.numpy())
    layout = Layout(
        kind="anchors",
        boxes="bbox_regression",
        scores="cls_logits",
        activation="sigmoid",
        anchors=str(tmp_path / "anchors.npy"),
        anchor_weights=(1, 1, 1, 1),
    )
    detector = Detector(Preprocess(size_hw=(96, 128)), tuple("01234"), layout, 0.3, 0.5, 999)
    found = decode_detections({name: array.numpy() for name, array in heads.items()}, detector, (96, 128))
    assert_same_objects(found, expected)
