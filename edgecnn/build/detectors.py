"""What a conversion finds out about a detector: its layout, its preprocessing where nobody states it, its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecnn.build.frames import Frames, ort_network
from edgecnn.build.labels import known_labels, read_labels, resolve_labels
from edgecnn.core.artifact import Artifact
from edgecnn.core.detector import Detector
from edgecnn.core.layouts import detect_layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.recipe import Recipe
from edgecnn.core.signal_preprocess import of_pictures
from edgecnn.core.tensors import TensorSpec
from edgecnn.errors import InputError
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.freeze import freeze_batch
from edgecnn.graph.model import output_specs
from edgecnn.graph.opset import raise_opset
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.vision.annotations import open_detection_set
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.images import ImageSet, open_image_set
from edgecnn.vision.mask_set import MaskSet
from edgecnn.vision.settle_layout import settle_layout
from edgecnn.vision.target_set import TargetSet

# What a layout's values look like shows on a few pictures with something in them.
_SETTLING_FRAMES = 16
_PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "linear"}
# How the networks that a layout is known from were trained, by their published code.
_USUAL: dict[str, dict[str, Any]] = {
    "yolox": {**_PLAIN, "color": "bgr", "resize": "letterbox", "anchor": "top_left", "scale": 1.0},
    "yolov5": {**_PLAIN, "resize": "letterbox"},
    "yolov8": {**_PLAIN, "resize": "letterbox"},
    "end_to_end": {**_PLAIN, "resize": "letterbox"},
    "suppressed": {**_PLAIN, "resize": "letterbox"},
    "nanodet": {
        **_PLAIN,
        "color": "bgr",
        "scale": 1.0,
        "mean": (103.53, 116.28, 123.675),
        "std": (57.375, 57.12, 58.395),
    },
    "rtdetr": {**_PLAIN},
    "rtdetr_top": {**_PLAIN},
    "torchvision": {**_PLAIN},
    "fastestdet": {**_PLAIN, "color": "bgr"},
    "boxes_scores": {**_PLAIN, "scale": 1.0, "mean": (127.0,) * 3, "std": (128.0,) * 3},
}
_COCO = 80
_LABELLED = ("data.yaml", "labels", "annotations", "Annotations")


def usual_preprocess(model: ir.Model, size_hw: tuple[int, int]) -> Preprocess | None:
    """What detectors with such outputs are usually fed with; none where the outputs are of no known detector.

    Args:
        model: With a picture of three channels as its input; changed in place.
        size_hw: Height and width of the input.
    """
    model = raise_opset(model)
    run_passes(model, (freeze_batch, infer_shapes, clean_up, infer_shapes))
    outputs = output_specs(model)
    if classes_of(outputs) is not None:
        return None
    try:
        layout = detect_layout(outputs, size_hw)
    except InputError:
        return None
    return Preprocess(size_hw=size_hw, **_USUAL["rtdetr" if layout.names_once else layout.kind])


def classes_of(outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes a classifier with these outputs has; none where it is no classifier: (batch, classes, 1...)."""
    shape = outputs[0].shape
    classes = shape[1] if len(shape) >= 2 else 0
    if len(outputs) != 1 or not isinstance(classes, int) or classes < 2 or any(size != 1 for size in shape[2:]):
        return None
    return classes


def find_detector(recipe: Recipe, model: Artifact, known: tuple[str, ...], frames: Frames) -> tuple[Detector, str]:
    """How a detector is used, by its outputs' shapes, what they say about a few frames, and what the recipe states.

    Args:
        recipe: Of the detector.
        model: FP32, with its outputs as they came.
        known: Names of classes that the labelled pictures have; taken where the recipe has none and as many are wanted.
        frames: What to look at.

    Returns:
        The detector, and where its labels are from if the recipe has none.

    Raises:
        InputError: The outputs are of no known layout, or have another number of classes than there are labels.
    """
    part, spec = recipe.detection, of_pictures(recipe.preprocess)
    size_hw = spec.size_hw
    stated, names = part.layout.stated(), read_labels(recipe)
    layout = detect_layout(model.manifest.outputs, size_hw, len(names) if names is not None else None, stated)
    network = ort_network(model.path)
    layout = settle_layout(layout, map(network, frames.inputs(_SETTLING_FRAMES)), size_hw, stated)
    if layout.classes is None:
        raise InputError(
            f"recipe {recipe.name}: the outputs do not show how many classes there are",
            "name them with labels, or state detection.layout.classes",
        )
    labels, origin = resolve_labels(recipe, layout.classes), ""
    if names is None and len(known) == layout.classes:
        labels, origin = known, "labels: those of the labelled pictures, as the recipe names none"
    elif names is None and layout.classes == _COCO:
        labels, origin = (
            known_labels("coco-80"),
            "labels assumed: COCO's, as the network has 80 classes; a recipe can name others",
        )
    detector = Detector(
        spec,
        labels,
        layout,
        part.score_threshold,
        1.0 if layout.names_once and "iou_threshold" not in part.model_fields_set else part.iou_threshold,
        part.max_detections,
        part.class_agnostic,
        part.tiles,
        part.watch,
    )
    return detector, origin


def require_comparable(detector: Detector, recipe: Recipe) -> None:
    """Refuse another precision than FP32 for a network whose outputs have another length for every picture.

    Raises:
        InputError: It is so.
    """
    if detector.layout.kind == "torchvision" and recipe.quantize.precision != "fp32":
        raise InputError(
            f"recipe {recipe.name}: precision {recipe.quantize.precision} for a network with torchvision's postprocess "
            "in it: how many boxes it gives depends on every score, so that no two precisions can be compared",
            "take --precision fp32, or export the raw heads and state detection.layout: {kind: anchors, ...}",
        )


def open_boxes(source: str) -> DetectionSet | ImageSet:
    """Pictures with labelled boxes, or plain ones where a folder or CSV file of pictures is all there is.

    Raises:
        InputError: There are none, or what labels them is damaged.
    """
    path = Path(source)
    labelled = any((path / name).exists() for name in _LABELLED) or any(path.glob("*.json"))
    if path.suffix.lower() == ".csv" or (path.is_dir() and not labelled):
        return unlabelled(open_image_set(source))
    return open_detection_set(source)


def unlabelled(images: DetectionSet | ImageSet | TargetSet | MaskSet) -> ImageSet:
    """The pictures, or windows of signals, alone."""
    begins = images.begins if isinstance(images, ImageSet | TargetSet) else None
    return ImageSet(images.name, images.paths, None, (), begins)
