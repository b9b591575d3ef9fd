"""The bars of a change of precision."""

from __future__ import annotations

from edgecnn.core.artifact import Accuracy, Artifact, DetectionAccuracy, OutputAccuracy
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed
from edgecnn.vision.detection_set import DetectionSet

# COCO's bounds of small and medium objects, square pixels.
_SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}
# Of fewer objects one box more or less moves mAP by more than the bars allow.
_ENOUGH_OBJECTS = 30
_CHANGES_PER_LOSS = 10
_ADVICE_ON_DROP = "calibrate on more pictures, allow more with --max-drop, or take a higher --precision"
_ADVICE_TO_TRAIN = f"train with quantization (quantize.qat: {{}}), {_ADVICE_ON_DROP}"
_ADVICE = "calibrate on more pictures like those of the camera, or take a higher --precision"


def require_kept(artifact: Artifact, accuracy: Accuracy | None, reference: Accuracy | None, gates: GatePart) -> None:
    """Refuse a classifier that lost more than the recipe allows against FP32.

    Judged on the evaluation pictures where there are some, else on the frames of the parity measurement. Which class
    noise looks like says nothing: on synthetic frames only the distance between the outputs counts.

    Raises:
        GateMissed: Accuracy or agreement is below its bar.
    """
    stage, parity = artifact.manifest.stage, artifact.manifest.parity
    assert parity is not None
    assert parity.top1_agreement is not None
    agreement, count = (
        (accuracy.agreement, accuracy.images) if accuracy is not None else (parity.top1_agreement, parity.frames)
    )
    if agreement < gates.min_agreement and (accuracy is not None or parity.inputs == "images"):
        raise GateMissed(
            f"{stage}: names the same class as FP32 on {agreement:.1%} of {count} pictures; "
            f"at least {gates.min_agreement:.1%} are wanted",
            _ADVICE,
        )
    if accuracy is None or accuracy.top1 is None or reference is None or reference.top1 is None:
        return
    drop = 100 * (reference.top1 - accuracy.top1)
    if drop > gates.max_drop:
        raise GateMissed(
            f"{stage}: top-1 falls from {reference.top1:.2%} to {accuracy.top1:.2%}, by {drop:.2f} points; "
            f"{gates.max_drop:g} are allowed",
            _ADVICE_TO_TRAIN if stage == "int8" else _ADVICE_ON_DROP,
        )


def require_few_changes(accuracy: Accuracy, gates: GatePart) -> None:
    """Refuse, in a search, a classifier that changes its mind on many more pictures than it may lose.

    What is lost is the difference of mistakes made and mistakes mended, and on some hundred pictures as uncertain as
    the root of their sum: ways to quantize MobileNetV2 that changed 5% of 800 classes lost between 0.1 and 1.1 points.
    So a search that tries several networks would stop at the luckiest. Changes are counted more surely, and ten for
    each one that may be lost are allowed.

    Raises:
        GateMissed: There are more.
    """
    allowed = _CHANGES_PER_LOSS * gates.max_drop / 100
    changed = round((1 - accuracy.agreement) * accuracy.images)
    if accuracy.top1 is not None and changed > allowed * accuracy.images:
        raise GateMissed(
            f"int8: names another class than FP32 on {1 - accuracy.agreement:.1%} of {accuracy.images} pictures; "
            f"a search for a loss of {gates.max_drop:g} points at most allows {allowed:.1%}",
            "allow more with --max-drop, leave more out with quantize.max_fp16_share, or take a higher --precision",
        )


def require_boxes_kept(
    stage: str,
    accuracy: DetectionAccuracy,
    reference: DetectionAccuracy,
    truth: DetectionSet | None,
    gates: GatePart,
) -> list[str]:
    """Refuse a detector that lost more than the recipe allows against FP32.

    With labels judged by mAP, over all objects and over those of each size; without, by the boxes that both have.

    Args:
        stage: Its name, for messages.
        accuracy: Of the network in question.
        reference: Of the FP32 network on the same pictures.
        truth: The labelled objects, where there are some.
        gates: The bars.

    Returns:
        What was not judged, and why.

    Raises:
        GateMissed: mAP or agreement is below its bar.
    """
    if truth is None:
        kept = min(accuracy.box_agreement, accuracy.box_support)
        if kept < gates.min_agreement:
            raise GateMissed(
                f"{stage}: has {accuracy.box_agreement:.1%} of FP32's boxes on {accuracy.images} pictures, and FP32 "
                f"{accuracy.box_support:.1%} of its; at least {gates.min_agreement:.1%} are wanted",
                _ADVICE,
            )
        return []
    _require_map(stage, "mAP", accuracy.map, reference.map, gates.min_map_kept)
    drop = 100 * ((reference.map or 0.0) - (accuracy.map or 0.0))
    if drop > gates.max_drop:
        raise GateMissed(
            f"{stage}: mAP falls from {reference.map:.4f} to {accuracy.map:.4f}, by {drop:.2f} points; "
            f"{gates.max_drop:g} are allowed",
            _ADVICE_ON_DROP,
        )
    notes: list[str] = []
    for size, count in count_by_size(truth).items():
        if count >= _ENOUGH_OBJECTS:
            expected: float | None = getattr(reference, f"map_{size}")
            found: float | None = getattr(accuracy, f"map_{size}")
            _require_map(stage, f"mAP of {size} objects", found, expected, gates.min_map_kept_by_size)
        else:
            notes.append(
                f"mAP of {size} objects was not judged: {count} are labelled, and {_ENOUGH_OBJECTS} are wanted"
            )
    return notes


def require_near(stage: str, accuracy: OutputAccuracy, gates: GatePart) -> None:
    """Refuse a network whose vectors, values or masks are too far from FP32's; masks where no true ones are known.

    Raises:
        GateMissed: Error, cosine or intersection over union is beyond its bar.
    """
    masks = accuracy.mask_agreement if accuracy.mean_iou is None else None
    figures = (
        ("cosine with FP32's vectors", accuracy.cosine, gates.min_cosine),
        ("intersection over union with FP32's masks", masks, gates.min_mean_iou),
    )
    for name, found, bar in figures:
        if found is not None and not found >= bar:
            raise GateMissed(
                f"{stage}: the mean {name} is {found:.4f} on {accuracy.images} pictures; at least {bar:g} is wanted",
                _ADVICE,
            )
    error, bar = accuracy.relative_error, gates.max_relative_error
    if error is not None and not error <= bar:
        raise GateMissed(
            f"{stage}: a value differs from FP32's by {error:.1%} of its spread over {accuracy.images} pictures; "
            f"{bar:.1%} are allowed",
            _ADVICE,
        )


def require_targets_kept(
    stage: str, accuracy: OutputAccuracy, reference: OutputAccuracy | None, gates: GatePart
) -> None:
    """Refuse a network for several labels, values or masks that lost more than the recipe allows against FP32.

    Several labels are judged by those that both networks give, and where it is known which are right by the mean
    average precision too, which does not see that all scores move past a threshold together; values by R2; masks by
    the mean intersection over union with the true ones.

    Raises:
        GateMissed: There is too little left.
    """
    if accuracy.tag_agreement is not None and accuracy.tag_agreement < gates.min_agreement:
        raise GateMissed(
            f"{stage}: its labels and FP32's have an F1 of {accuracy.tag_agreement:.1%} on {accuracy.images} pictures; "
            f"at least {gates.min_agreement:.1%} is wanted",
            _ADVICE,
        )
    if reference is None:
        return
    figures = (
        ("mAP", accuracy.map, reference.map),
        ("R2", accuracy.r2, reference.r2),
        ("mIoU", accuracy.mean_iou, reference.mean_iou),
    )
    for name, found, expected in figures:
        if found is None or expected is None:
            continue
        drop = 100 * (expected - found)
        if not drop <= gates.max_drop:
            raise GateMissed(
                f"{stage}: {name} falls from {expected:.4f} to {found:.4f}, by {drop:.2f} points; "
                f"{gates.max_drop:g} are allowed",
                _ADVICE_TO_TRAIN if stage == "int8" else _ADVICE_ON_DROP,
            )


def count_by_size(truth: DetectionSet) -> dict[str, int]:
    """How many objects that count are small, medium and large, by COCO's bounds."""
    areas = [float(area) for found in truth.objects for area in found.areas[~found.ignored]]
    return {size: sum(low <= area < high for area in areas) for size, (low, high) in _SIZES.items()}


def _require_map(stage: str, name: str, found: float | None, expected: float | None, part: float | None) -> None:
    if part is None or found is None or not expected:  # FP32 finds none of them either
        return
    if found < part * expected:
        raise GateMissed(
            f"{stage}: {name} falls from {expected:.4f} to {found:.4f}: {found / expected:.1%} are kept, "
            f"and {part:.1%} are wanted",
            f"{_ADVICE}; --max-drop sets another bar",
        )
