"""edgecnn evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgecnn.cli import console
from edgecnn.cli.usage_options import TilesOption, usage_with

if TYPE_CHECKING:
    from edgecnn.core.artifact import Accuracy, DetectionAccuracy, OutputAccuracy
    from edgecnn.deploy.bundle import Bundle

# Figures that compare with another bundle.
_AGAINST = (
    *("agreement", "box_agreement", "box_support", "relative_error", "tag_agreement"),
    *("mask_agreement", "pixel_agreement"),
)
_NAMES = {
    "map": "mAP",
    "r2": "R2",
    "f1": "F1",
    "mean_iou": "mIoU",
    "tag_agreement": "F1 with its labels",
    "mask_agreement": "IoU with its masks",
}
# Of each label or class by itself: in the JSON alone.
_BY_NAME = {"images", "average_precision", "label_f1", "class_iou"}


def command(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Labelled pictures: a folder with a folder for each class, or a CSV file (path,label; several labels "
            "as cat|dog; for regression a column for each value); for a detector COCO's JSON, or a folder with YOLO's "
            "or Pascal VOC's labels; for segmentation a folder with images/ and masks/, or Pascal VOC's.",
        ),
    ],
    against: Annotated[
        Optional[Path],
        typer.Option("--against", help="Another bundle: how often do both name the same class, or find the same box?"),
    ] = None,
    tiles: TilesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """How often is it right on labelled pictures? For a detector: COCO's mean average precision.

    Several labels: mean average precision, and F1 at the thresholds. Values: mean absolute error and R2. Masks: mean
    intersection over union. Networks for all tasks but the first two are compared with another bundle on any pictures,
    too.

    Example: edgecnn evaluate build/digits --data labelled/
    """
    from edgecnn.deploy.bundle import load_bundle
    from edgecnn.errors import InputError

    first = load_bundle(bundle)
    second = load_bundle(against) if against is not None else first
    if second.manifest.labels != first.manifest.labels or second.manifest.task != first.manifest.task:
        raise InputError(
            f"--against {against}: its classes are not those of {bundle}", "compare bundles of one set of classes"
        )
    match first.manifest.task:
        case "classification":
            accuracy = _judge_classes(first, second, data)
        case "detection":
            accuracy = _judge_boxes(first, second, data, tiles)
        case _:
            accuracy = _judge_outputs(first, second, data)
    document: dict[str, Any] = accuracy.model_dump(
        exclude_none=first.manifest.task not in ("classification", "detection")
    )
    for name in _AGAINST:
        if against is None:
            document.pop(name, None)
    if as_json:
        console.print_json(document)
        return
    print(f"{first.manifest.name}: {_sentence(accuracy, against)}")


def _judge_classes(first: Bundle, second: Bundle, data: str) -> Accuracy:
    from edgecnn.evaluate.accuracy import Predictions, accuracy_of, predict
    from edgecnn.vision.frame_sets import open_frame_set

    images = open_frame_set(data, first.manifest.preprocess).labelled_for(first.manifest.labels)

    def predictions_of(bundle: Bundle) -> Predictions:
        session, network, label = _opened(bundle)
        found = predict(network, images.places, bundle.manifest.preprocess, console.TerminalProgress(), label)
        session.close()
        return found

    found = predictions_of(first)
    return accuracy_of(found, images.labels, predictions_of(second) if second is not first else found)


def _judge_outputs(first: Bundle, second: Bundle, data: str) -> OutputAccuracy:
    from edgecnn.core.readings import Embedder, Regressor, Segmenter, Tagger
    from edgecnn.errors import InputError
    from edgecnn.evaluate.outputs import output_accuracy_of, predict_outputs
    from edgecnn.vision.frame_sets import open_frame_targets
    from edgecnn.vision.images import open_image_set
    from edgecnn.vision.mask_set import MaskSet, open_masks_or_pictures
    from edgecnn.vision.target_set import TargetSet

    usage = first.manifest.usage
    assert isinstance(usage, Tagger | Regressor | Embedder | Segmenter)  # the task says so
    match usage:
        case Tagger() | Regressor():
            images = open_frame_targets(data, "tags" if isinstance(usage, Tagger) else "values", usage.preprocess)
        case Segmenter():
            images = open_masks_or_pictures(data)
        case Embedder():
            images = open_image_set(data)
    known = images.labelled_for(usage.labels) if isinstance(images, TargetSet | MaskSet) else None
    if known is None and second is first:
        what = {"multilabel": "labels", "regression": "values", "segmentation": "masks"}.get(first.manifest.task)
        raise InputError(
            f"{first.path}: a network for {first.manifest.task} is judged by another one's outputs"
            + (f", or by pictures with {what}" if what else ""),
            "give the bundle to compare it with: --against BUNDLE"
            + (f"; or a CSV file with {what}: --data FILE.csv" if what else ""),
        )
    targets = known.targets if isinstance(known, TargetSet) else known

    def outputs_of(bundle: Bundle) -> Any:
        session, network, label = _opened(bundle)
        found = predict_outputs(network, images.places, usage, console.TerminalProgress(), label)
        session.close()
        return found

    found = outputs_of(first)
    return output_accuracy_of(found, outputs_of(second) if second is not first else found, usage, targets)


def _judge_boxes(first: Bundle, second: Bundle, data: str, tiles: str | None) -> DetectionAccuracy:
    from edgecnn.core.detector import Detector
    from edgecnn.core.frame import Detections
    from edgecnn.evaluate.detection import detection_accuracy_of, predict_detections
    from edgecnn.vision.annotations import open_detection_set

    images = open_detection_set(data).labelled_for(first.manifest.labels)

    def detections_of(bundle: Bundle) -> tuple[tuple[Detections, ...], float]:
        usage = usage_with(bundle.manifest.usage, tiles=tiles)
        assert isinstance(usage, Detector)  # the task says so
        session, network, label = _opened(bundle)
        found = predict_detections(network, images, usage, console.TerminalProgress(), label)
        session.close()
        return found, usage.score_threshold

    found, threshold = detections_of(first)
    reference, reference_threshold = detections_of(second) if second is not first else (found, threshold)
    return detection_accuracy_of(found, images, reference, reference_threshold, threshold)


def _opened(bundle: Bundle) -> tuple[Any, Any, str]:
    """A session, the network that it is, and what is being done."""
    from edgecnn.backends.session import open_session
    from edgecnn.evaluate.accuracy import network_of

    session = open_session(bundle.model, optimize=bundle.manifest.runs_optimized)
    return session, network_of(session.run, session.inputs[0].name), f"evaluate {bundle.path.name}"


def _sentence(accuracy: Accuracy | DetectionAccuracy | OutputAccuracy, against: Path | None) -> str:
    from edgecnn.core.artifact import Accuracy, OutputAccuracy

    if isinstance(accuracy, OutputAccuracy):
        figures = accuracy.model_dump(exclude=_BY_NAME, exclude_none=True)
        if against is None:
            figures = {name: figure for name, figure in figures.items() if name not in _AGAINST}
        errors: dict[str, float] = figures.pop("mean_absolute_error", {})
        parts = [f"{_NAMES.get(name, name.replace('_', ' '))} {figure:.4f}" for name, figure in figures.items()]
        parts += [f"mean absolute error of {name} {error:.4g}" for name, error in errors.items()]
        other = f" against {against}" if against is not None else ""
        return f"{', '.join(parts)}{other} on {accuracy.images} pictures"
    if isinstance(accuracy, Accuracy):
        same = f", same class as {against} on {accuracy.agreement:.2%}" if against is not None else ""
        return f"top-1 {accuracy.top1:.2%}, top-5 {accuracy.top5:.2%} of {accuracy.images} pictures{same}"
    sizes = {"small": accuracy.map_small, "medium": accuracy.map_medium, "large": accuracy.map_large}
    listed = ", ".join(f"{size} {'none' if found is None else f'{found:.2%}'}" for size, found in sizes.items())
    same = (
        f", {accuracy.box_agreement:.2%} of the boxes of {against}, which has {accuracy.box_support:.2%} of its"
        if against is not None
        else ""
    )
    return f"mAP {accuracy.map:.2%} ({listed}), mAP50 {accuracy.map50:.2%} of {accuracy.images} pictures{same}"
