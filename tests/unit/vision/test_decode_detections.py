"""Known boxes, written the way each kind of network writes them, come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgecnn.core.detector import Detector, Kind, Layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.errors import GateMissed, InputError
from edgecnn.vision.decode_detections import candidates, decode_detections
from edgecnn.vision.settle_layout import settle_layout

INPUT_HW = (96, 128)
CELLS = sum((96 // stride) * (128 // stride) for stride in (8, 16, 32))
# Pixels: exp, tanh and their inverses in float32, of boxes a hundred pixels wide.
ROUNDING = 1e-3
# Centre and size in pixels of the input; the cell of stride 16 whose corner is at 48, 32 holds the first one's centre.
BOXES = np.float32([[52, 36, 40, 20], [100, 70, 30, 50]])
CLASSES = np.array([2, 0])
SCORES = np.float32([0.9, 0.6])
Outputs = dict[str, np.ndarray]


def logit(values: Any) -> np.ndarray:
    values = np.clip(np.asarray(values, np.float32), 1e-4, 1 - 1e-4)
    return np.log(values / (1 - values))


def one_hot(count: int, scores: np.ndarray) -> np.ndarray:
    found = np.full((count, 3), 0.01, np.float32)
    found[np.arange(2), CLASSES] = scores
    return found


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def yolox() -> Outputs:
    grid = np.concatenate(
        [
            np.stack([*np.meshgrid(np.arange(128 // s), np.arange(96 // s)), np.full((96 // s, 128 // s), s)], axis=-1)
            .reshape(-1, 3)
            .astype(np.float32)
            for s in (8, 16, 32)
        ]
    )
    out = np.zeros((CELLS, 8), np.float32)
    for box, kind, score, stride in zip(BOXES, CLASSES, SCORES, (16, 32), strict=True):
        cell = np.flatnonzero((grid[:, 2] == stride) & (grid[:, :2] == box[:2] // stride).all(axis=1))[0]
        out[cell, :2] = box[:2] / stride - grid[cell, :2]
        out[cell, 2:4] = np.log(box[2:] / stride)
        out[cell, 4], out[cell, 5 + kind] = score**0.5, score**0.5
    return {"out": out[None]}


def yolov5() -> Outputs:
    out = np.zeros((3 * CELLS, 8), np.float32)
    out[:, :4] = (64, 48, 10, 10)
    out[:2] = np.concatenate([BOXES, SCORES[:, None] ** 0.5, one_hot(2, SCORES**0.5)], axis=1)
    return {"out": out[None]}


def yolov8() -> Outputs:
    out = np.zeros((7, CELLS), np.float32)
    out[:, -2:] = np.concatenate([BOXES, one_hot(2, SCORES)], axis=1).T
    return {"out": out[None]}


def end_to_end() -> Outputs:
    out = np.zeros((1, 300, 6), np.float32)
    out[0, :2] = np.concatenate([corners(BOXES), SCORES[:, None], CLASSES[:, None]], axis=1)
    return {"out": out}


def fastestdet() -> Outputs:
    out = np.zeros((8, 6, 8), np.float32)
    for box, kind, score in zip(BOXES, CLASSES, SCORES, strict=True):
        column, row = (box[:2] // 16).astype(int)
        out[1:3, row, column] = np.arctanh(box[:2] / 16 - (column, row))
        out[3:5, row, column] = logit(box[2:] / (128, 96))
        out[0, row, column], out[5 + kind, row, column] = score, score  # to the powers 0.6 and 0.4: the score itself
    return {"out": out[None]}


def boxes_scores() -> Outputs:
    boxes = np.zeros((1, 50, 4), np.float32)
    boxes[0, :2] = corners(BOXES) / (128, 96, 128, 96)
    scores = np.zeros((1, 50, 4), np.float32)
    scores[0, :, 0] = 1
    scores[0, :2, 1:] = one_hot(2, SCORES)
    scores[0, :2, 0] = 1 - scores[0, :2, 1:].sum(axis=1)
    return {"boxes": boxes, "scores": scores}


def nanodet() -> Outputs:
    """Of each side all the probability is in two neighbouring bins, so that their mean is its distance."""
    out = np.full((CELLS, 3 + 32), -50, np.float32)
    out[:, :3] = 0.01
    out[:, 3::8] = 50
    for box, kind, score, stride, start in zip(BOXES, CLASSES, SCORES, (8, 16), (0, 12 * 16), strict=True):
        column, row = (box[:2] // stride).astype(int)
        cell = start + row * (128 // stride) + column
        point = np.array([column, row], np.float32) * stride
        low, high = corners(box[None])[0, :2], corners(box[None])[0, 2:]
        out[cell, kind] = score
        for side, distance in enumerate(np.concatenate([point - low, high - point]) / stride):
            whole, part = int(distance), distance % 1
            out[cell, 3 + 8 * side : 11 + 8 * side] = -50
            out[cell, 3 + 8 * side + whole], out[cell, 4 + 8 * side + whole] = np.log(
                np.maximum([1 - part, part], 1e-9)
            )
    return {"out": out[None]}


def rtdetr() -> Outputs:
    out = np.zeros((1, 300, 7), np.float32)
    out[0, :, :4] = 0.5
    out[0, 3:5] = np.concatenate([BOXES / (128, 96, 128, 96), one_hot(2, SCORES)], axis=1)
    return {"out": out}


def rtdetr_top() -> Outputs:
    out = np.zeros((1, 300, 6), np.float32)
    out[0, :2] = np.concatenate([BOXES / (128, 96, 128, 96), SCORES[:, None], CLASSES[:, None]], axis=1)
    return {"out": out}


def torchvision() -> Outputs:
    return {"boxes": corners(BOXES), "scores": SCORES, "labels": CLASSES + 1}


MAKERS: dict[Kind, Any] = {
    "nanodet": nanodet,
    "rtdetr": rtdetr,
    "rtdetr_top": rtdetr_top,
    "torchvision": torchvision,
    "yolox": yolox,
    "yolov5": yolov5,
    "yolov8": yolov8,
    "end_to_end": end_to_end,
    "fastestdet": fastestdet,
    "boxes_scores": boxes_scores,
}


def detector(kind: Kind, **layout: Any) -> Detector:
    names: dict[str, Any] = {"boxes": "out"}
    if kind in ("boxes_scores", "torchvision"):
        names = {"boxes": "boxes", "scores": "scores", "background": "first"}
    if kind == "torchvision":
        names["numbers"] = "labels"
    return Detector(
        preprocess=Preprocess(size_hw=INPUT_HW),
        labels=("ant", "bee", "cat"),
        layout=Layout.model_validate({"kind": kind, **names, "classes": 3} | layout),
    )


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_written_is_read(kind: Kind) -> None:
    found = decode_detections(MAKERS[kind](), detector(kind), INPUT_HW)

    np.testing.assert_allclose(found.boxes_xyxy, corners(BOXES), atol=ROUNDING)
    np.testing.assert_allclose(found.scores, SCORES, rtol=1e-5)
    np.testing.assert_array_equal(found.classes, CLASSES)
    assert found.labels == ("cat", "ant")
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.classes.dtype) == (np.float32, np.float32, np.int64)


@pytest.mark.parametrize("kind", MAKERS)
def test_fp16_outputs_are_read_as_well(kind: Kind) -> None:
    outputs = {name: value if name == "labels" else value.astype(np.float16) for name, value in MAKERS[kind]().items()}

    found = decode_detections(outputs, detector(kind), INPUT_HW)

    np.testing.assert_allclose(found.boxes_xyxy, corners(BOXES), atol=0.1)  # half a unit in the last place of 100


@pytest.mark.parametrize("kind", MAKERS)
def test_boxes_are_those_of_the_frame(kind: Kind) -> None:
    """192 rows and 512 columns become 48 and 128, and 24 rows of padding above them."""
    letterbox = Preprocess(size_hw=INPUT_HW, resize="letterbox")

    found = decode_detections(MAKERS[kind](), replace(detector(kind), preprocess=letterbox), (192, 512))

    expected = np.clip((corners(BOXES) - (0, 24, 0, 24)) * 4, 0, (512, 192, 512, 192))
    np.testing.assert_allclose(found.boxes_xyxy, expected, atol=4 * ROUNDING)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_threshold_and_the_limit(kind: Kind) -> None:
    outputs = MAKERS[kind]()

    assert len(decode_detections(outputs, replace(detector(kind), score_threshold=0.61), INPUT_HW)) == 1
    assert len(decode_detections(outputs, replace(detector(kind), score_threshold=0.91), INPUT_HW)) == 0
    best = decode_detections(outputs, replace(detector(kind), max_detections=1), INPUT_HW)
    np.testing.assert_array_equal(best.classes, [2])


@pytest.mark.parametrize("kind", MAKERS)
def test_values_that_are_no_numbers_are_refused(kind: Kind) -> None:
    made = MAKERS[kind]().items()
    outputs = {name: value if name == "labels" else np.full_like(value, np.nan) for name, value in made}

    with pytest.raises(GateMissed, match="not a number"):
        decode_detections(outputs, detector(kind), INPUT_HW)


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_is_found_in_nothing(kind: Kind) -> None:
    outputs = {name: np.zeros_like(value) for name, value in MAKERS[kind]().items()}

    found = decode_detections(outputs, detector(kind, background=None), INPUT_HW)

    assert found.boxes_xyxy.shape == (0, 4)
    assert found.labels == ()


def three_in_one_place() -> Outputs:
    """Twice the same class, and once another."""
    out = np.zeros((1, 7, CELLS), np.float32)
    out[0, :4, :3] = np.float32([64, 48, 40, 40])[:, None]
    out[0, 4, :2], out[0, 5, 2] = (0.9, 0.8), 0.7
    return {"out": out}


def test_a_box_drops_those_of_its_class_or_all() -> None:
    yolo = detector("yolov8")

    assert decode_detections(three_in_one_place(), yolo, INPUT_HW).labels == ("ant", "bee")
    agnostic = replace(yolo, class_agnostic=True)
    assert decode_detections(three_in_one_place(), agnostic, INPUT_HW).labels == ("ant",)
    everything = replace(yolo, iou_threshold=1.0)
    assert decode_detections(three_in_one_place(), everything, INPUT_HW).labels == ("ant", "ant", "bee")


def test_with_nms_in_the_graph_no_box_drops_another() -> None:
    out = np.zeros((1, 300, 6), np.float32)
    out[0, 5:7] = [[10, 10, 50, 50, 0.7, 0], [10, 10, 50, 50, 0.8, 0]]

    found = decode_detections({"out": out}, detector("end_to_end"), INPUT_HW)

    np.testing.assert_allclose(found.scores, [0.8, 0.7])
    with_rows_of_nothing = replace(detector("end_to_end"), score_threshold=0.0)
    assert len(decode_detections({"out": out}, with_rows_of_nothing, INPUT_HW)) == 2


def test_what_lies_in_the_padding_is_dropped() -> None:
    outputs = yolov8()
    outputs["out"][0, :4, -2] = (64, 10, 20, 10)  # above the 24 rows of padding's end
    letterbox = replace(detector("yolov8"), preprocess=Preprocess(size_hw=INPUT_HW, resize="letterbox"))

    assert decode_detections(outputs, letterbox, (192, 512)).labels == ("ant",)


def test_a_class_without_a_label_is_named() -> None:
    with pytest.raises(InputError, match="names class 2, and there are 2 labels"):
        decode_detections(yolov8(), replace(detector("yolov8"), labels=("ant", "bee")), INPUT_HW)


@pytest.mark.parametrize("kind", ["yolox", "yolov5", "yolov8"])
def test_a_sigmoid_that_is_not_in_the_graph_is_noticed_and_done(kind: Kind) -> None:
    outputs = MAKERS[kind]()
    scores = outputs["out"][:, 4:] if kind == "yolov8" else outputs["out"][..., 4:]
    scores[:] = logit(scores)

    layout = settle_layout(detector(kind).layout, [outputs], INPUT_HW)
    found = decode_detections(outputs, replace(detector(kind), layout=layout), INPUT_HW)

    assert layout.activation == "sigmoid"
    np.testing.assert_allclose(found.scores, SCORES, rtol=1e-3)
    np.testing.assert_allclose(found.boxes_xyxy, corners(BOXES), atol=ROUNDING)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_layout_that_is_right_stays(kind: Kind) -> None:
    expected = detector(kind).layout
    start = expected.model_copy(update={"background": None, "classes": 4}) if kind == "boxes_scores" else expected

    assert settle_layout(start, [MAKERS[kind]()], INPUT_HW) == expected


@pytest.mark.parametrize(
    ("kind", "taken_for"), [("nanodet", "yolox"), ("rtdetr_top", "end_to_end")], ids=["yolox", "end_to_end"]
)
def test_layouts_of_the_same_shapes_are_told_apart_by_values(kind: Kind, taken_for: Kind) -> None:
    start = detector(taken_for, classes=30 if taken_for == "yolox" else 3).layout

    layout = settle_layout(start, [MAKERS[kind]()], INPUT_HW)

    assert (layout.kind, layout.classes) == (kind, 3)
    assert settle_layout(start, [MAKERS[kind]()], INPUT_HW, stated=("kind",)).kind == taken_for


def test_two_classes_of_rtdetr_are_no_number_of_a_class() -> None:
    outputs = {"out": rtdetr()["out"][:, :, :6]}

    layout = settle_layout(detector("end_to_end", classes=None).layout, [outputs], INPUT_HW)

    assert (layout.kind, layout.classes, layout.box_unit) == ("rtdetr", 2, "relative")


def test_corners_that_may_be_centres_are_refused_with_the_choices() -> None:
    outputs = end_to_end()
    outputs["out"][..., :4] /= (128, 96, 128, 96)

    with pytest.raises(InputError, match="either corners or large ones by centre") as caught:
        settle_layout(detector("end_to_end").layout, [outputs], INPUT_HW)
    assert "kind: rtdetr_top" in caught.value.hint


def test_yoloxs_boxes_that_are_pixels_already_are_noticed() -> None:
    outputs = {"out": yolov5()["out"][:, :CELLS]}

    layout = settle_layout(detector("yolox").layout, [outputs], INPUT_HW)
    found = decode_detections(outputs, replace(detector("yolox"), layout=layout), INPUT_HW)

    assert layout.kind == "yolov5"
    np.testing.assert_allclose(found.boxes_xyxy, corners(BOXES), atol=ROUNDING)


@pytest.mark.parametrize("background", ["first", "last", None])
@pytest.mark.parametrize("box_format", ["xyxy", "cxcywh"])
@pytest.mark.parametrize("box_unit", ["pixels", "relative"])
@pytest.mark.parametrize("activated", [True, False])
def test_every_form_of_boxes_beside_scores_is_found_out(
    background: str | None, box_format: str, box_unit: str, activated: bool
) -> None:
    boxes = np.tile(np.float32([64, 48, 10, 10]), (1, 50, 1))
    boxes[0, :2] = BOXES
    if box_format == "xyxy":
        boxes[0] = corners(boxes[0])
    if box_unit == "relative":
        boxes /= np.float32([128, 96, 128, 96])
    scores = np.zeros((1, 50, 3), np.float32)
    scores[0, :2] = one_hot(2, SCORES)
    if background is not None:
        rest = 1 - scores.sum(axis=2, keepdims=True)
        scores = np.concatenate([rest, scores] if background == "first" else [scores, rest], axis=2)
    if not activated:
        scores = np.log(np.maximum(scores, 1e-6)) + 1 if background is not None else logit(scores)
    outputs = {"boxes": boxes, "scores": scores}
    # With logits only the count of labels shows that there is a background; detect_layout says so then.
    start = detector("boxes_scores", background="first" if background is not None and not activated else None)

    layout = settle_layout(start.layout, [outputs], INPUT_HW)
    found = decode_detections(outputs, replace(start, layout=layout), INPUT_HW)

    assert (layout.background, layout.box_format, layout.box_unit) == (background, box_format, box_unit)
    np.testing.assert_allclose(found.boxes_xyxy, corners(BOXES), atol=ROUNDING)
    np.testing.assert_allclose(found.scores, SCORES, rtol=1e-3)
    np.testing.assert_array_equal(found.classes, CLASSES)


def test_what_the_user_stated_is_not_settled() -> None:
    layout = detector("boxes_scores", background=None, box_unit="pixels").layout

    found = settle_layout(layout, [boxes_scores()], INPUT_HW, stated=("box_unit",))

    assert (found.box_unit, found.background) == ("pixels", "first")
    # Scores of a row may sum to 1 without a background.
    plain = settle_layout(layout, [boxes_scores()], INPUT_HW, stated=("background",))
    assert (plain.background, plain.classes) == (None, layout.classes)


@pytest.mark.parametrize("count", [0, 2])
def test_boxes_that_nms_in_the_network_kept(count: int) -> None:
    """What stands behind the last is not looked at, whatever it is."""
    outputs = {
        "num_detections": np.int32([[count]]),
        "detection_boxes": np.float32([[[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]]]),
        "detection_scores": np.float32([[0.9, 0.8, np.nan]]),
        "detection_classes": np.int32([[1, 0, 99]]),
    }
    layout = Layout(kind="suppressed", boxes="detection_boxes")

    boxes, scores, classes = candidates(outputs, layout, (32, 32), 0.3)

    np.testing.assert_array_equal(boxes, outputs["detection_boxes"][0, :count])
    np.testing.assert_array_equal(scores, np.float32([0.9, 0.8])[:count])
    assert classes.tolist() == [1, 0][:count]
    assert settle_layout(layout, [outputs], (32, 32)) == layout
