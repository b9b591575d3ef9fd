"""What is found out about a detector, and its outputs decoded in the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'edgecnn[convert]'")

import onnx

from edgecnn.build import stages
from edgecnn.build.detectors import classes_of, find_detector, open_boxes, usual_preprocess
from edgecnn.build.frames import Frames
from edgecnn.build.judging import judged
from edgecnn.build.store import Store
from edgecnn.build.work import open_work
from edgecnn.core.artifact import Artifact, DetectionAccuracy, Manifest
from edgecnn.core.detector import Detector
from edgecnn.core.files import hash_file
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Silent
from edgecnn.core.recipe import Recipe
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import GateMissed, InputError
from edgecnn.graph.model import input_specs, load_model, output_specs
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import ImageSet

# A grid of 8 x 8 cells at stride 8, one of 4 x 4 and one of 2 x 2.
CELLS, SIDE = 84, 64
SPEC = Preprocess(size_hw=(SIDE, SIDE), interpolation="linear", mean=(0, 0, 0), std=(1, 1, 1))
# At column 3 and row 3 of the finest grid; a square of 16 pixels in the picture's middle is a step off its corner.
CELL = 27


@pytest.fixture(scope="module")
def yolox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of YOLOX's layout and two classes that always sees ``CELL``'s square, as class 1, surer in light."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    rows = np.zeros((1, CELLS, 7), np.float32)
    rows[0, CELL] = [1, 1, np.log(2), np.log(2), 0.9, 0.0, 0.0]
    light = np.zeros((1, CELLS, 7), np.float32)
    light[0, CELL, 6] = 1
    nodes = [
        make.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        make.make_node("Abs", ["mean"], ["level"]),  # of noise it may be below 0
        make.make_node("Mul", ["level", "light"], ["lit"]),
        make.make_node("Add", ["lit", "rows"], ["output"]),
    ]
    graph = make.make_graph(
        nodes,
        "detector",
        [make.make_tensor_value_info("images", kind, ["n", 3, SIDE, SIDE])],
        [make.make_tensor_value_info("output", kind, [1, CELLS, 7])],
        [onnx.numpy_helper.from_array(rows, "rows"), onnx.numpy_helper.from_array(light, "light")],
    )
    path = tmp_path_factory.mktemp("yolox") / "yolox.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """YOLO's folders: three pictures, brighter and brighter, with the square that the network always sees."""
    for part in ("images", "labels"):
        (tmp_path / "set" / part).mkdir(parents=True)
    for number, level in enumerate((100, 160, 220)):
        cv2.imwrite(str(tmp_path / "set" / "images" / f"{number}.png"), np.full((SIDE, SIDE, 3), level, np.uint8))
        (tmp_path / "set" / "labels" / f"{number}.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    return tmp_path / "set"


@pytest.fixture
def folded(yolox: Path, tmp_path: Path) -> Artifact:
    return stages.fold(yolox, Frames((), SPEC, "", task="detection"), Store(tmp_path / "store"))


def recipe_of(yolox: Path, **fields: Any) -> Recipe:
    document = {"name": "own", "task": "detection", "model": {"source": str(yolox)}, "preprocess": SPEC}
    return Recipe.model_validate(document | {"quantize": {"precision": "fp16"}} | fields)


def found_for(yolox: Path, folded: Artifact, known: tuple[str, ...] = (), **fields: Any) -> tuple[Detector, str]:
    return find_detector(recipe_of(yolox, **fields), folded, known, Frames((), SPEC, "", task="detection"))


def test_a_detector_is_known_by_its_outputs(yolox: Path, averaging_model: Path) -> None:
    found = usual_preprocess(load_model(yolox), (SIDE, SIDE))

    assert found is not None
    assert (found.resize, found.anchor, found.color, found.scale) == ("letterbox", "top_left", "bgr", 1.0)
    assert usual_preprocess(load_model(averaging_model), (8, 8)) is None
    assert len(input_specs(load_model(yolox))) == len(output_specs(load_model(yolox))) == 1


@pytest.mark.parametrize(
    ("shapes", "classes"),
    [
        ([(1, 10)], 10),
        ([("batch", 10)], 10),
        ([(1, 10, 1, 1)], 10),
        ([(1, 1)], None),
        ([(1, 10, 2, 2)], None),
        ([(1, CELLS, 7)], None),
        ([(1, 10), (1, 10)], None),
        ([(10,)], None),
    ],
)
def test_what_a_classifier_is(shapes: list[tuple[int | str, ...]], classes: int | None) -> None:
    outputs = [TensorSpec(name=str(number), dtype="float32", shape=shape) for number, shape in enumerate(shapes)]
    assert classes_of(outputs) == classes


def test_the_recipe_says_how_boxes_are_shown(yolox: Path, folded: Artifact) -> None:
    part = {"score_threshold": 0.4, "iou_threshold": 0.6, "max_detections": 7, "class_agnostic": True}
    detector, origin = found_for(yolox, folded, labels=("cat", "dog"), detection=part)

    shown = (detector.score_threshold, detector.iou_threshold, detector.max_detections, detector.class_agnostic)
    assert shown == (0.4, 0.6, 7, True)
    assert (detector.layout.kind, detector.layout.activation, detector.layout.classes) == ("yolox", "none", 2)
    assert (detector.labels, origin) == (("cat", "dog"), "")


def test_what_the_recipe_states_of_the_layout_wins(yolox: Path, folded: Artifact) -> None:
    detector, _ = found_for(yolox, folded, detection={"layout": {"activation": "sigmoid"}})
    assert detector.layout.activation == "sigmoid"
    with pytest.raises(InputError, match="output_7"):
        found_for(yolox, folded, detection={"layout": {"boxes": "output_7"}})


def test_names_come_from_the_recipe_then_from_the_pictures_then_are_numbers(yolox: Path, folded: Artifact) -> None:
    assert found_for(yolox, folded, known=("a", "b"), labels=("cat", "dog"))[0].labels == ("cat", "dog")
    detector, origin = found_for(yolox, folded, known=("a", "b"))
    assert detector.labels == ("a", "b")
    assert "those of the labelled pictures" in origin
    assert found_for(yolox, folded, known=("a", "b", "c"))[0].labels == ("0", "1")
    with pytest.raises(InputError, match="3 labels for a network of 2 classes"):
        found_for(yolox, folded, labels=("cat", "dog", "bird"))


def test_a_classifier_is_no_detector(averaging_model: Path, tmp_path: Path) -> None:
    spec = Preprocess(size_hw=(8, 8))
    frames = Frames((), spec, "", task="detection")
    made = stages.fold(averaging_model, frames, Store(tmp_path))
    recipe = recipe_of(averaging_model, preprocess=spec)
    with pytest.raises(InputError, match=r"output: float32\[1, 3\]: not of a known detector"):
        find_detector(recipe, made, (), frames)


def test_decoding_in_the_graph_is_compared_with_decoding_outside(yolox: Path, folded: Artifact, tmp_path: Path) -> None:
    detector, _ = found_for(yolox, folded)
    frames, store = Frames((), SPEC, "", task="detection"), Store(tmp_path / "store")

    decoded = stages.decode(folded, detector, frames, store)

    assert {spec.name: spec.shape for spec in decoded.manifest.outputs} == {
        "boxes": (1, CELLS, 4),
        "scores": (1, CELLS, 2),
    }
    assert decoded.manifest.parity is not None
    assert decoded.manifest.parity.outputs_snr_db.keys() == {"boxes", "scores"}
    assert decoded.manifest.parity.snr_db > 120
    assert decoded.manifest.detail["layout"] == "yolox"


def test_decoding_that_is_not_the_same_is_refused(
    yolox: Path, folded: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, _ = found_for(yolox, folded)
    wrong = stages.DECODED.model_copy(update={"box_format": "cxcywh"})
    monkeypatch.setattr(stages, "DECODED", wrong)
    with pytest.raises(GateMissed, match="decode: the output boxes is"):
        stages.decode(folded, detector, Frames((), SPEC, "", task="detection"), Store(tmp_path / "store"))


def test_a_detector_is_judged_by_the_boxes_that_are_there(yolox: Path, labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="faster-coco-eval is not installed: pip install 'edgecnn[convert]'")
    recipe = recipe_of(yolox, data={"evaluation": str(labelled)})
    work = open_work(recipe, Store(tmp_path / "store"), Silent(), needs_labels=True)
    made = stages.fold(yolox, work.frames, work.store)
    detector, _ = find_detector(recipe, made, (), work.frames)
    assert isinstance(work.evaluation, DetectionSet)
    work.evaluation = work.evaluation.labelled_for(detector.labels)

    result = judged(work, made, detector, made)

    accuracy = result.accuracy
    assert isinstance(accuracy, DetectionAccuracy)
    assert (accuracy.images, accuracy.map, accuracy.map_small, accuracy.map_large) == (3, 1.0, 1.0, None)
    assert (accuracy.box_agreement, accuracy.score_threshold) == (1.0, 0.3)
    aside = tuple(replace(found, boxes_xyxy=found.boxes_xyxy + 20) for found in work.evaluation.objects)
    work.evaluation = replace(work.evaluation, objects=aside)
    elsewhere = judged(work, made, detector, made).accuracy
    assert isinstance(elsewhere, DetectionAccuracy)
    assert (elsewhere.map, elsewhere.box_agreement) == (0.0, 1.0)


def test_a_threshold_is_fitted_to_a_network_that_is_less_sure(yolox: Path, labelled: Path, tmp_path: Path) -> None:
    recipe = recipe_of(yolox, data={"calibration": str(labelled)})
    work = open_work(recipe, Store(tmp_path / "store"), Silent())
    assert isinstance(work.evaluation, ImageSet)  # the calibration pictures, whose boxes are compared
    assert not work.labelled
    made = stages.fold(yolox, work.frames, work.store)
    detector, _ = find_detector(recipe, made, (), work.frames)
    # The sure network says 0.35, 0.56 and 0.78: 0.5 shows two. The other says a third of each.
    detector = Detector(detector.preprocess, detector.labels, detector.layout, score_threshold=0.5)
    unsure = onnx.load(yolox)
    for tensor in unsure.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor) / (3 if tensor.name == "light" else 1)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))
    onnx.save(unsure, tmp_path / "unsure.onnx")
    manifest = Manifest.model_construct(sha256=hash_file(tmp_path / "unsure.onnx"), stage="int8")

    result = judged(work, Artifact(tmp_path / "unsure.onnx", manifest), detector, made)

    assert isinstance(result.accuracy, DetectionAccuracy)
    assert isinstance(result.usage, Detector)
    assert result.accuracy.map is None
    assert 0.35 / 3 < result.accuracy.score_threshold == result.usage.score_threshold <= 0.57 / 3
    assert (result.accuracy.box_agreement, result.accuracy.box_support) == (1.0, 1.0)


def test_pictures_with_boxes_and_without(labelled: Path, tmp_path: Path) -> None:
    assert isinstance(open_boxes(str(labelled)), DetectionSet)
    plain = open_boxes(str(labelled / "images"))
    assert isinstance(plain, ImageSet)
    assert (len(plain), plain.labels) == (3, None)
    (labelled / "labels" / "1.txt").write_text("1 0.5\n")
    with pytest.raises(InputError, match=r"1\.txt"):  # damaged labels are not the same as none
        open_boxes(str(labelled))
    with pytest.raises(InputError, match="nothing known is there"):
        open_boxes(str(tmp_path / "missing"))


def test_accuracy_cannot_be_asked_for_without_labels(yolox: Path, labelled: Path, tmp_path: Path) -> None:
    recipe = recipe_of(yolox, data={"evaluation": str(labelled / "images")})
    with pytest.raises(InputError, match="--max-drop is about accuracy") as caught:
        open_work(recipe, Store(tmp_path / "store"), Silent(), needs_labels=True)
    assert "COCO" in caught.value.hint
