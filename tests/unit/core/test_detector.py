"""Layouts are recognized by names and shapes, and nothing is guessed where those say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from edgecnn.core.detector import Layout
from edgecnn.core.layouts import detect_layout
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError


def specs(**shapes: tuple[int | str, ...]) -> list[TensorSpec]:
    return [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in shapes.items()]


@pytest.mark.parametrize(
    ("shape", "input_hw", "kind", "classes"),
    [
        ((1, 3549, 85), (416, 416), "yolox", 80),
        ((1, 8400, 6), (640, 640), "yolox", 1),  # and not the six columns of NMS in the graph
        ((1, 8400, 9), (640, 640), "yolox", 4),
        ((1, 5040, 85), (384, 640), "yolox", 80),
        ((1, 25200, 85), (640, 640), "yolov5", 80),
        ((1, 25200, 6), (640, 640), "yolov5", 1),
        ((1, 84, 8400), (640, 640), "yolov8", 80),
        ((1, 5, 2100), (320, 320), "yolov8", 1),
        (("batch", 84, 8400), (640, 640), "yolov8", 80),
        ((1, 300, 6), (640, 640), "end_to_end", None),
        ((1, 300, 84), (640, 640), "rtdetr", 80),
        ((1, 900, 95), (640, 640), "rtdetr", 91),
        ((1, 3598, 112), (416, 416), "nanodet", 80),  # with the cells of stride 64 that reach over the edge
        ((1, 85, 22, 22), (352, 352), "fastestdet", 80),
        ((1, 8, 12, 20), (192, 320), "fastestdet", 3),
    ],
    ids=str,
)
def test_one_output(shape: tuple[int | str, ...], input_hw: tuple[int, int], kind: str, classes: int | None) -> None:
    found = detect_layout(specs(out=shape), input_hw)

    assert (found.kind, found.boxes, found.scores, found.classes) == (kind, "out", None, classes)


def test_the_grids_of_larger_networks_have_four_levels() -> None:
    cells = 160**2 + 80**2 + 40**2 + 20**2

    assert detect_layout(specs(out=(1, cells, 85)), (1280, 1280)).strides == (8, 16, 32, 64)
    assert detect_layout(specs(out=(1, 3 * cells, 85)), (1280, 1280)).kind == "yolov5"


@pytest.mark.parametrize("order", [1, -1])
def test_boxes_and_scores_in_any_order(order: int) -> None:
    outputs = specs(scores=(1, 4420, 2), boxes=(1, 4420, 4))[::order]

    found = detect_layout(outputs, (240, 320))

    assert found == Layout(kind="boxes_scores", boxes="boxes", scores="scores", classes=2)


def test_the_four_outputs_of_nms() -> None:
    outputs = specs(
        num_detections=(1, 1), detection_boxes=(1, 100, 4), detection_scores=(1, 100), detection_classes=(1, 100)
    )

    found = detect_layout(outputs, (640, 640), classes=7)

    assert found == Layout(kind="suppressed", boxes="detection_boxes", classes=7)
    assert found.is_final


def test_four_classes_are_told_from_boxes_by_name() -> None:
    found = detect_layout(specs(pred_logits=(1, 300, 4), pred_boxes=(1, 300, 4)), (640, 640))

    assert (found.boxes, found.scores, found.activation) == ("pred_boxes", "pred_logits", "sigmoid")
    with pytest.raises(InputError, match="not of a known detector"):
        detect_layout(specs(one=(1, 300, 4), two=(1, 300, 4)), (640, 640))


def test_the_number_of_classes_tells_nanodet_from_yolox() -> None:
    outputs = specs(out=(1, 2125, 112))

    assert detect_layout(outputs, (320, 320)).kind == "yolox"
    found = detect_layout(outputs, (320, 320), 80)
    assert (found.kind, found.classes, found.strides, found.cell_point) == ("nanodet", 80, (8, 16, 32, 64), "corner")
    first_version = detect_layout(specs(out=(1, 2100, 112)), (320, 320), 80)
    assert (first_version.strides, first_version.cell_point) == ((8, 16, 32), "centre")


def test_torchvisions_three_outputs_in_any_order() -> None:
    outputs = specs(scores=("n",), boxes=("n", 4), labels=("n",))
    outputs[2] = outputs[2].model_copy(update={"dtype": "int64"})

    found = detect_layout(outputs, (300, 300), classes=90)

    assert (found.kind, found.boxes, found.scores, found.numbers) == ("torchvision", "boxes", "scores", "labels")
    assert (found.classes, found.background, found.is_final) == (90, "first", True)


def test_a_detr_with_more_outputs_names_each_object_once() -> None:
    found = detect_layout(specs(logits=(1, 300, 80), pred_boxes=(1, 300, 4), hidden=(1, 300, 256)), (640, 640))

    assert (found.kind, found.boxes, found.scores, found.activation) == (
        "boxes_scores",
        "pred_boxes",
        "logits",
        "sigmoid",
    )
    assert found.names_once
    assert not detect_layout(specs(scores=(1, 4420, 2), boxes=(1, 4420, 4)), (240, 320)).names_once


def test_anchors_are_stated() -> None:
    stated = {"kind": "anchors", "anchors": "anchors.npy"}

    found = detect_layout(specs(bbox_regression=(1, 8732, 4), cls_logits=(1, 8732, 91)), (300, 300), 90, stated)

    assert (found.kind, found.scores, found.classes, found.background) == ("anchors", "cls_logits", 90, "first")


def test_one_column_more_than_labels_is_the_background() -> None:
    found = detect_layout(specs(boxes=(1, 3000, 4), scores=(1, 3000, 21)), (300, 300), classes=20)

    assert (found.background, found.classes) == ("first", 20)


@pytest.mark.parametrize(
    "outputs",
    [
        specs(logits=(1, 1000)),
        specs(out=(1, 84, "anchors")),
        specs(out=(1, 4242, 85)),
        specs(out=(1, 85, 13, 13)),  # of stride 32 there is no known layout
        specs(p3=(1, 255, 80, 80), p4=(1, 255, 40, 40), p5=(1, 255, 20, 20)),
        specs(boxes=(1, 300, 4), scores=(1, 200, 80)),
        specs(boxes=(1, 300, 4), one=(1, 300, 80), two=(1, 300, 2)),
        specs(out=(1, 310, 84)),  # no usual number of queries
        specs(out=(1, 3598, 32)),
        specs(boxes=("n", 4), scores=("n",), areas=("n",)),
    ],
    ids=lambda outputs: outputs[0].name,
)
def test_others_are_refused_with_what_was_found_and_what_is_known(outputs: list[TensorSpec]) -> None:
    with pytest.raises(InputError) as caught:
        detect_layout(outputs, (416, 416))

    assert all(str(spec) in caught.value.message for spec in outputs)
    assert "YOLOX (1, cells, 5 + classes)" in caught.value.hint


def test_what_the_recipe_states_wins() -> None:
    found = detect_layout(specs(out=(1, 8400, 85)), (640, 640), stated={"activation": "sigmoid"})
    assert (found.kind, found.activation) == ("yolox", "sigmoid")

    found = detect_layout(specs(out=(1, 8400, 85)), (640, 640), 80, {"kind": "yolov5"})
    assert (found.kind, found.boxes, found.classes) == ("yolov5", "out", 80)

    found = detect_layout(specs(a=(1, 9, 7), b=(1, 9, 4)), (640, 640), 7, {"kind": "yolov8", "boxes": "a"})
    assert (found.kind, found.boxes) == ("yolov8", "a")


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ({"kind": "yolov12"}, "kind: Input should be"),
        ({"anchor": 3}, "anchor: Extra inputs"),
        ({"boxes": "output"}, "boxes: output, scores: None, numbers: None; the outputs are out"),
        ({"kind": "torchvision", "scores": "out"}, "numbers: None"),
        ({"anchors": "anchors.npy"}, "kind yolox with anchors: anchors.npy"),
        ({"kind": "anchors", "scores": "out"}, "kind anchors with anchors: None"),
        ({"kind": "boxes_scores"}, "scores: None"),
        ({"scores": "out"}, "kind yolox with boxes: out, scores: out"),
    ],
)
def test_what_the_recipe_states_must_hold_together(stated: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        detect_layout(specs(out=(1, 8400, 85)), (640, 640), stated=stated)


def test_a_layout_survives_a_manifest() -> None:
    layout = Layout(kind="boxes_scores", boxes="b", scores="s", classes=3, background="last", strides=(16,))

    assert Layout.model_validate_json(layout.model_dump_json()) == layout
