"""Boxes decoded in the graph are those decoded outside, for every layout, and NMS keeps what torchvision's keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.build.suppression import suppressed
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.frame import Detections
from edgecnn.core.layouts import detect_layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.graph.detection_outputs import DECODED, decode_outputs
from edgecnn.graph.model import input_specs, load_model, output_specs
from edgecnn.graph.nms import add_nms
from edgecnn.graph.opset import raise_opset
from edgecnn.graph.prepare import PREPARATION, run_passes
from edgecnn.vision.decode_detections import decode_detections
from edgecnn.vision.preprocess import preprocess
from edgecnn.vision.settle_layout import settle_layout

GraphOf = Callable[..., Any]
OutputsOf = Callable[..., dict[str, np.ndarray]]

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
# Coordinates up to some hundred pixels, each rounded some five times to 6e-8 of itself.
PIXELS = 1e-3
PROBABILITY = 1e-5
SIZE_HW = (32, 64)
CELLS = 4 * 8 + 2 * 4 + 1 * 2  # of strides 8, 16, 32
KINDS: dict[str, Callable[[int], tuple[int, ...]]] = {
    "yolox": lambda classes: (1, CELLS, 5 + classes),
    "yolov5": lambda classes: (1, 30, 5 + classes),
    "yolov8": lambda classes: (1, 4 + classes, 30),
    "fastestdet": lambda classes: (1, 5 + classes, 2, 4),
    "rtdetr": lambda classes: (1, 30, 4 + classes),
    "nanodet": lambda classes: (1, CELLS, classes + 32),
    "anchors": lambda classes: (1, 30, 4),
    "boxes_scores": lambda classes: (1, 30, 4),
}


@pytest.fixture(scope="module")
def anchors(tmp_path_factory: pytest.TempPathFactory) -> str:
    random = np.random.default_rng(0)
    low = random.uniform(-5, 40, (30, 2))
    path = tmp_path_factory.mktemp("anchors") / "anchors.npy"
    np.save(path, np.concatenate([low, low + random.uniform(4, 30, (30, 2))], axis=1))
    return str(path)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    kind = draw(st.sampled_from(sorted(KINDS)))
    pair = kind in ("boxes_scores", "anchors")
    return Layout(
        kind=kind,
        boxes="out",
        scores="said" if pair else None,
        classes=draw(st.integers(1, 5)),
        activation=draw(st.sampled_from(["none", "sigmoid", "softmax"])),
        box_format=draw(st.sampled_from(["xyxy", "cxcywh"])),
        box_unit=draw(st.sampled_from(["pixels", "relative"])),
        background=draw(st.sampled_from([None, "first", "last"])) if pair else None,
        cell_point=draw(st.sampled_from(["corner", "centre"])),
    )


def raw_outputs(layout: Layout, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Outputs as such a network may give them: boxes all over the picture, scores from 0 to 1 unless activated."""
    assert layout.classes is not None
    shape = KINDS[layout.kind](layout.classes)
    low, high = (0, 1) if layout.activation == "none" else (-4, 4)
    values = random.uniform(low, high, shape)
    pixels = layout.kind in ("yolov5", "yolov8") or (layout.kind == "boxes_scores" and layout.box_unit == "pixels")
    boxes = random.uniform(0, 64 if pixels else 1, shape)
    if layout.kind in ("boxes_scores", "anchors"):
        if layout.box_format == "xyxy":
            boxes[..., 2:] += boxes[..., :2]
        columns = layout.classes + (layout.background is not None)
        return {"out": boxes.astype(np.float32), "said": random.uniform(low, high, (1, 30, columns)).astype(np.float32)}
    if layout.kind == "yolov8":
        values[:, :4] = boxes[:, :4]
    elif layout.kind == "fastestdet":
        values[:, 1:5] = random.uniform(-3, 3, shape)[:, 1:5]
    elif layout.kind == "nanodet":
        values[..., layout.classes :] = random.uniform(-3, 3, shape)[..., layout.classes :]
    else:
        values[..., :4] = boxes[..., :4]
    return {"out": values.astype(np.float32)}


def raw_model(graph_of: GraphOf, raw: dict[str, np.ndarray]) -> Any:
    sizes = {name: ", ".join(map(str, array.shape)) for name, array in raw.items()}
    inputs, outputs = (", ".join(f"float[{size}] {mark}{name}" for name, size in sizes.items()) for mark in ("in_", ""))
    return graph_of(f"net ({inputs}) => ({outputs}) {{ {' '.join(f'{name} = Identity(in_{name})' for name in raw)} }}")


def fed(raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"in_{name}": array for name, array in raw.items()}


def make_detector(layout: Layout, **limits: Any) -> Detector:
    return Detector(Preprocess(size_hw=SIZE_HW), tuple("abcdefgh"), layout, **limits)


def assert_same(found: Detections, expected: Detections) -> None:
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=PROBABILITY)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, rtol=0, atol=PIXELS)


@settings(max_examples=80, deadline=None)
@given(layout=layouts(), seed=st.integers(0, 999))
def test_every_layout_is_decoded_as_outside(
    graph_of: GraphOf, outputs_of: OutputsOf, anchors: str, layout: Layout, seed: int
) -> None:
    if layout.kind == "anchors":
        layout = layout.model_copy(update={"anchors": anchors})
    raw = raw_outputs(layout, np.random.default_rng(seed))
    model = raw_model(graph_of, raw)
    everything: dict[str, Any] = {"score_threshold": 0.0, "iou_threshold": 1.0, "max_detections": 999}

    decode_outputs(model, make_detector(layout))

    inside = decode_detections(outputs_of(model, **fed(raw)), make_detector(DECODED, **everything), SIZE_HW)
    outside = decode_detections(raw, make_detector(layout, **everything), SIZE_HW)
    assert len(outside) > 1
    assert_same(inside, outside)


@settings(max_examples=60, deadline=None)
@given(
    classes=st.integers(1, 5),
    seed=st.integers(0, 999),
    iou=st.sampled_from([0.3, 0.5, 0.7]),
    threshold=st.sampled_from([0.0, 0.3, 0.9, 0.999]),
    most=st.sampled_from([1, 5, 100]),
    agnostic=st.booleans(),
)
def test_onnx_nms_keeps_what_torchvisions_keeps(
    graph_of: GraphOf,
    outputs_of: OutputsOf,
    classes: int,
    seed: int,
    iou: float,
    threshold: float,
    most: int,
    agnostic: bool,
) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'edgecnn[train]'")
    ops = pytest.importorskip("torchvision", reason="torchvision is not installed").ops
    random = np.random.default_rng(seed)
    low = random.uniform(0, 40, (1, 40, 2))
    boxes = np.concatenate([low, low + random.uniform(5, 25, (1, 40, 2))], axis=2).astype(np.float32)
    scores = random.uniform(0, 1, (1, 40, classes)).astype(np.float32)
    raw = {"boxes": boxes, "scores": scores}
    limits: dict[str, Any] = {
        "score_threshold": threshold,
        "iou_threshold": iou,
        "max_detections": most,
        "class_agnostic": agnostic,
    }
    model = raw_model(graph_of, raw)

    decode_outputs(model, make_detector(DECODED))
    add_nms(model, make_detector(DECODED, **limits), "onnx")

    found = outputs_of(model, **fed(raw))
    best, number = torch.from_numpy(scores[0]).max(dim=1)
    possible = torch.nonzero(best >= threshold)[:, 0]
    all_boxes = torch.from_numpy(boxes[0])
    groups = torch.zeros_like(number) if agnostic else number
    kept = ops.batched_nms(all_boxes[possible], best[possible], groups[possible], iou)
    expected = possible[kept][:most]
    count = int(found["num_detections"][0, 0])
    assert count == len(expected)
    np.testing.assert_array_equal(found["detection_boxes"][0, :count], all_boxes[expected])
    np.testing.assert_array_equal(found["detection_scores"][0, :count], best[expected])
    np.testing.assert_array_equal(found["detection_classes"][0, :count], number[expected])
    for name in ("detection_boxes", "detection_scores", "detection_classes"):
        assert not found[name][0, count:].any()
    outside = suppressed(lambda _: raw, make_detector(DECODED, **limits))
    for name, array in outside(boxes).items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    layout = Layout(kind="suppressed", boxes="detection_boxes")
    assert_same(
        decode_detections(found, make_detector(layout, **limits), SIZE_HW),
        decode_detections(raw, make_detector(DECODED, **limits), SIZE_HW),
    )


def test_a_score_at_the_threshold_is_kept(graph_of: GraphOf, outputs_of: OutputsOf) -> None:
    raw = {
        "boxes": np.array([[[0, 0, 4, 4], [8, 8, 12, 12]]], np.float32),
        "scores": np.array([[[0.3], [0.29999998]]], np.float32),
    }
    model = raw_model(graph_of, raw)
    decode_outputs(model, make_detector(DECODED))
    add_nms(model, make_detector(DECODED, score_threshold=0.3), "onnx")
    assert outputs_of(model, **fed(raw))["detection_scores"].tolist() == [[np.float32(0.3), 0]]


PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1)}
DETECTORS: dict[str, tuple[int, dict[str, Any]]] = {
    "yolox-nano/yolox_nano.onnx": (
        80,
        PLAIN | {"color": "bgr", "resize": "letterbox", "anchor": "top_left", "scale": 1},
    ),
    "fastestdet/fastestdet.onnx": (80, PLAIN | {"color": "bgr"}),
    "ultraface-rfb320/version-RFB-320.onnx": (1, {"mean": (127,) * 3, "std": (128,) * 3, "scale": 1}),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_known_detectors_find_the_same_in_pictures(outputs_of: OutputsOf, name: str) -> None:
    pictures = sorted((DATA / "detection" / "coco128").rglob("*.jpg"))[:12]
    if not (DATA / "detectors" / name).is_file() or not pictures:
        pytest.skip(f"no detectors/{name} or detection/coco128 in ../shared/data; its README says where they come from")
    classes, values = DETECTORS[name]
    model = raise_opset(load_model(DATA / "detectors" / name))
    run_passes(model, PREPARATION)
    (entry,) = input_specs(model)
    size_hw = (int(entry.shape[2]), int(entry.shape[3]))
    spec = Preprocess(size_hw=size_hw, **values)
    frames = [cv2.imread(str(picture)) for picture in pictures]
    feeds = [{entry.name: preprocess(frame, spec)} for frame in frames]
    raws = [outputs_of(model, **feed) for feed in feeds]
    layout = settle_layout(detect_layout(output_specs(model), size_hw, classes), raws, size_hw)
    labels = tuple(map(str, range(classes)))
    outside = Detector(spec, labels, layout, score_threshold=0.25)
    expected = [decode_detections(raw, outside, frame.shape[:2]) for raw, frame in zip(raws, frames, strict=True)]
    assert sum(map(len, expected)) > 5

    decode_outputs(model, outside)
    decoded, with_nms = ir.from_proto(ir.to_proto(model)), model
    add_nms(with_nms, outside, "onnx")

    inside = Detector(spec, labels, DECODED, score_threshold=0.25)
    for feed, frame, wanted in zip(feeds, frames, expected, strict=True):
        assert_same(decode_detections(outputs_of(decoded, **feed), inside, frame.shape[:2]), wanted)
        found = outputs_of(with_nms, **feed)
        # What lies in the padding only is dropped outside, so there may be more here.
        count = int(found["num_detections"][0, 0])
        pairs = zip(found["detection_scores"][0, :count], found["detection_classes"][0, :count], strict=True)
        kept = {(round(float(score), 4), int(number)) for score, number in pairs}
        assert {(round(float(s), 4), int(c)) for s, c in zip(wanted.scores, wanted.classes, strict=True)} <= kept
