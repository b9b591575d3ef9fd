"""The bars of a change of precision."""

from __future__ import annotations

from edgecnn.core.artifact import Accuracy, Artifact, DetectionAccuracy
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed
from edgecnn.vision.detection_set import DetectionSet

# COCO's bounds of small and medium objects, square pixels.
_SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, float("inf"))}
# Of fewer objects one box more or less moves mAP by more than the bars allow.
_ENOUGH_OBJECTS = 30
_ADVICE = "calibrate on more pictures like those of the camera, or convert with --precision fp16"


def require_kept(artifact: Artifact, accuracy: Accuracy | None, reference: Accuracy | None, gates: GatePart) -> None:
    """Refuse a classifier that lost more than the recipe allows against FP32.

    Judged on the evaluation pictures where there are some, else on the frames of the parity measurement.

    Raises:
        GateMissed: Accuracy or agreement is below its bar.
    """
    stage, parity = artifact.manifest.stage, artifact.manifest.parity
    assert parity is not None
    assert parity.top1_agreement is not None
    agreement, count = (
        (accuracy.agreement, accuracy.images) if accuracy is not None else (parity.top1_agreement, parity.frames)
    )
    if agreement < gates.min_agreement:
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
            "calibrate on more pictures, allow more with --max-drop, or convert with --precision fp16",
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
    _require_map(stage, "mAP", accuracy.map, reference.map, gates)
    notes: list[str] = []
    for size, count in count_by_size(truth).items():
        if count >= _ENOUGH_OBJECTS:
            expected: float | None = getattr(reference, f"map_{size}")
            _require_map(stage, f"mAP of {size} objects", getattr(accuracy, f"map_{size}"), expected, gates)
        else:
            notes.append(
                f"mAP of {size} objects was not judged: {count} are labelled, and {_ENOUGH_OBJECTS} are wanted"
            )
    return notes


def count_by_size(truth: DetectionSet) -> dict[str, int]:
    """How many objects that count are small, medium and large, by COCO's bounds."""
    areas = [float(area) for found in truth.objects for area in found.areas[~found.ignored]]
    return {size: sum(low <= area < high for area in areas) for size, (low, high) in _SIZES.items()}


def _require_map(stage: str, name: str, found: float | None, expected: float | None, gates: GatePart) -> None:
    if found is None or not expected:  # FP32 finds none of them either
        return
    drop, fall = 100 * (expected - found), f"{name} falls from {expected:.4f} to {found:.4f}"
    if gates.min_map_kept is not None and found < gates.min_map_kept * expected:
        raise GateMissed(
            f"{stage}: {fall}: {found / expected:.1%} are kept, and {gates.min_map_kept:.1%} are wanted",
            f"{_ADVICE}; --max-drop sets another bar",
        )
    if drop > gates.max_drop:
        raise GateMissed(
            f"{stage}: {fall}, by {drop:.2f} points; {gates.max_drop:g} are allowed",
            "calibrate on more pictures, allow more with --max-drop, or convert with --precision fp16",
        )
