"""The bars of a change of precision: on either side of each."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.build.gates import (
    count_by_size,
    require_boxes_kept,
    require_few_changes,
    require_kept,
    require_near,
    require_targets_kept,
)
from edgecnn.core.artifact import Accuracy, Artifact, DetectionAccuracy, Manifest, OutputAccuracy, Parity
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed
from edgecnn.vision.detection_set import Annotations, DetectionSet

FP32 = Accuracy(images=400, top1=0.9, top5=1.0, agreement=1.0)


def artifact(tmp_path, agreement: float) -> Artifact:
    parity = Parity(
        frames=50, inputs="images", max_abs=0.1, snr_db=30, outputs_snr_db={"output": 30}, top1_agreement=agreement
    )
    manifest = Manifest(
        kind="onnx",
        sha256="",
        size_bytes=1,
        parents=(),
        stage="int8",
        stage_version=1,
        config={},
        tools={},
        parity=parity,
    )
    return Artifact(tmp_path, manifest)


@pytest.mark.parametrize(("top1", "kept"), [(0.9, True), (0.895, True), (0.89, False), (0.95, True)])
def test_the_drop_in_accuracy(tmp_path, top1: float, kept: bool) -> None:
    found = Accuracy(images=400, top1=top1, top5=1.0, agreement=0.95)
    gates = GatePart(max_drop=0.6)
    if kept:
        require_kept(artifact(tmp_path, 1.0), found, FP32, gates)
        return
    with pytest.raises(GateMissed, match=r"from 90\.00% to 89\.00%, by 1\.00 points"):
        require_kept(artifact(tmp_path, 1.0), found, FP32, gates)


@pytest.mark.parametrize(("agreement", "kept"), [(0.9, True), (0.89, False)])
def test_agreement_without_labels(tmp_path, agreement: float, kept: bool) -> None:
    unlabelled = Accuracy(images=400, top1=None, top5=None, agreement=agreement)
    for made, accuracy in ((artifact(tmp_path, 1.0), unlabelled), (artifact(tmp_path, agreement), None)):
        if kept:
            require_kept(made, accuracy, FP32, GatePart())
            continue
        with pytest.raises(GateMissed, match=r"same class as FP32 on 89\.0%"):
            require_kept(made, accuracy, FP32, GatePart())


def boxes_of(**changes) -> DetectionAccuracy:
    fields = {
        "images": 50, "map": 0.4, "map50": 0.6, "map_small": 0.2, "map_medium": 0.4, "map_large": 0.6,
        "box_agreement": 1.0, "box_support": 1.0, "score_threshold": 0.3,
    }  # fmt: skip
    return DetectionAccuracy(**(fields | changes))


def objects(small: int = 0, medium: int = 0, large: int = 0) -> DetectionSet:
    """So many objects of each size, at the sizes' bounds, and a large one that does not count."""
    areas = np.float32([32**2 - 1] * small + [32**2] * medium + [96**2] * large + [1e6])
    ignored = np.arange(len(areas)) == len(areas) - 1
    found = Annotations(np.zeros((len(areas), 4), np.float32), np.zeros(len(areas), np.int64), ignored, areas)
    return DetectionSet("set", (), (), (found,), ())


def test_objects_are_counted_by_size() -> None:
    assert count_by_size(objects(3, 4, 5)) == {"small": 3, "medium": 4, "large": 5}


@pytest.mark.parametrize(
    ("changes", "gates", "words"),
    [
        ({"map": 0.397}, GatePart(), ""),
        ({"map": 0.395}, GatePart(), r"mAP falls from 0\.4000 to 0\.3950: 98\.8% are kept, and 99\.0% are wanted"),
        ({"map": 0.395}, GatePart(min_map_kept=None), ""),
        ({"map": 0.389}, GatePart(min_map_kept=None), r"mAP falls .* by 1\.10 points; 1 are allowed"),
        ({"map": 0.389}, GatePart(min_map_kept=None, max_drop=2), ""),
        ({"map_small": 0.189}, GatePart(), r"mAP of small objects falls from 0\.2000 to 0\.1890: 94\.5% are kept"),
        ({"map_large": 0.56}, GatePart(), "mAP of large objects falls"),
        ({"map_large": 0.56}, GatePart(min_map_kept_by_size=0.9), ""),
        ({"map_medium": 0.1}, GatePart(min_map_kept_by_size=None), ""),
        ({"map": 0.5, "map_small": 0.3, "box_agreement": 0.5}, GatePart(), ""),
    ],
)
def test_map_over_all_objects_and_over_each_size(changes: dict[str, float], gates: GatePart, words: str) -> None:
    truth = objects(30, 30, 30)
    if not words:
        assert require_boxes_kept("int8", boxes_of(**changes), boxes_of(), truth, gates) == []
        return
    with pytest.raises(GateMissed, match=f"int8: {words}"):
        require_boxes_kept("int8", boxes_of(**changes), boxes_of(), truth, gates)


def test_a_size_of_few_objects_is_not_judged_and_that_is_said() -> None:
    notes = require_boxes_kept("int8", boxes_of(map_small=0.1), boxes_of(), objects(29, 30, 30), GatePart())
    assert notes == ["mAP of small objects was not judged: 29 are labelled, and 30 are wanted"]


def test_a_size_of_which_fp32_finds_nothing_is_no_hindrance() -> None:
    fp32 = boxes_of(map_small=0.0)
    assert require_boxes_kept("int8", fp32, fp32, objects(30, 30, 30), GatePart()) == []


@pytest.mark.parametrize(
    ("agreement", "support", "kept"), [(0.9, 0.9, True), (0.89, 1.0, False), (1.0, 0.89, False), (1.0, 1.0, True)]
)
def test_boxes_without_labels(agreement: float, support: float, kept: bool) -> None:
    nothing = {"map": None, "map50": None, "map_small": None, "map_medium": None, "map_large": None}
    found = boxes_of(**nothing, box_agreement=agreement, box_support=support)
    if kept:
        assert require_boxes_kept("int8", found, boxes_of(**nothing), None, GatePart()) == []
        return
    with pytest.raises(GateMissed, match=f"has {agreement:.1%} of FP32's boxes on 50 pictures, and FP32 {support:.1%}"):
        require_boxes_kept("int8", found, boxes_of(**nothing), None, GatePart())


@pytest.mark.parametrize(("stage", "trainable"), [("int8", True), ("fp16", False)])
def test_where_int8_lost_too_much_training_is_named(stage: str, trainable: bool) -> None:
    lost, reference = OutputAccuracy(images=40, r2=0.8), OutputAccuracy(images=40, r2=0.9)
    with pytest.raises(GateMissed, match=f"{stage}: R2 falls") as missed:
        require_targets_kept(stage, lost, reference, GatePart())
    assert ("quantize.qat" in str(missed.value.hint)) == trainable


def test_a_search_refuses_many_changed_classes_even_where_nothing_is_lost() -> None:
    gates = GatePart(max_drop=0.25)
    require_few_changes(Accuracy(images=800, top1=0.8, top5=0.9, agreement=0.975), gates)
    with pytest.raises(GateMissed, match=r"another class than FP32 on 2\.6% .* allows 2\.5%"):
        require_few_changes(Accuracy(images=800, top1=0.8, top5=0.9, agreement=0.974), gates)


def test_without_labels_a_search_goes_by_agreement_alone() -> None:
    require_few_changes(Accuracy(images=800, top1=None, top5=None, agreement=0.9), GatePart(max_drop=0.25))


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"tag_agreement": 0.9, "map": 0.795}, None),
        ({"tag_agreement": 0.89, "map": 0.8}, r"labels and FP32's have an F1 of 89\.0%"),
        ({"tag_agreement": 0.95, "map": 0.785}, r"mAP falls from 0\.8000 to 0\.7850, by 1\.50 points"),
        ({"r2": 0.895}, None),
        ({"r2": 0.88}, r"R2 falls from 0\.9000 to 0\.8800"),
        ({"r2": float("nan")}, "R2 falls"),
        ({"mean_iou": 0.692, "mask_agreement": 0.8}, None),
        ({"mean_iou": 0.68}, r"mIoU falls from 0\.7000 to 0\.6800, by 2\.00 points"),
    ],
)
def test_labels_values_and_masks(found: dict[str, float], complaint: str | None) -> None:
    reference = OutputAccuracy(images=40, map=0.8, r2=0.9, mean_iou=0.7)
    accuracy = OutputAccuracy(images=40, **found)
    if complaint is None:
        require_targets_kept("int8", accuracy, reference, GatePart(max_drop=1))
        return
    with pytest.raises(GateMissed, match=complaint):
        require_targets_kept("int8", accuracy, reference, GatePart(max_drop=1))


def test_masks_are_held_against_fp32s_where_no_true_ones_are_known() -> None:
    gates, unlike = GatePart(), OutputAccuracy(images=40, mask_agreement=0.9)
    with pytest.raises(GateMissed, match=r"int8: the mean intersection over union with FP32's masks is 0\.9000 on 40"):
        require_near("int8", unlike, gates)
    require_near("int8", OutputAccuracy(images=40, mask_agreement=0.95), gates)
    require_near("int8", unlike.model_copy(update={"mean_iou": 0.7}), gates)
