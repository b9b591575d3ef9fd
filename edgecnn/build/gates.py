"""The bars of a change of precision."""

from __future__ import annotations

from edgecnn.core.artifact import Accuracy, Artifact
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed


def require_kept(artifact: Artifact, accuracy: Accuracy | None, reference: Accuracy | None, gates: GatePart) -> None:
    """Refuse a network that lost more than the recipe allows against FP32.

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
            "calibrate on more pictures like those of the camera, or convert with --precision fp16",
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
