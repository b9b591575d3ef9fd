"""The last change of a network: to the precision that the recipe asks for, or that the gates allow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgecnn.build import stages
from edgecnn.build.gates import (
    require_boxes_kept,
    require_few_changes,
    require_kept,
    require_near,
    require_targets_kept,
)
from edgecnn.build.judging import judged
from edgecnn.build.quantizer import Quantizer
from edgecnn.build.results import StageResult
from edgecnn.build.work import Work
from edgecnn.core.artifact import Accuracy, Artifact, DetectionAccuracy, OutputAccuracy
from edgecnn.core.classifier import Classifier
from edgecnn.core.recipe import GatePart
from edgecnn.errors import GateMissed
from edgecnn.vision.detection_set import DetectionSet

# Of max_fp16_share, what a search tries after nothing: the first few layers often do.
_SHARES = (0.2, 0.5, 1.0)


def to_precision(work: Work, folded: StageResult) -> tuple[StageResult | None, Literal["fp32", "fp16", "int8"]]:
    """The last stage: what the recipe's precision asks for, held against its gates."""
    wanted = work.recipe.quantize.precision
    rest = "fp16" if "fp16" in work.device.precisions else "fp32"
    if wanted == "auto" and "int8" not in work.device.precisions:
        work.notes.append(f"auto: {work.device.title} has no INT8, so {rest.upper()}")
        wanted = rest
    if wanted in ("int8", "auto"):
        try:
            return _to_int8(work, folded, search=wanted == "auto"), "int8"
        except GateMissed as error:
            if wanted == "int8":
                raise
            work.notes.append(f"auto: INT8 missed its bar, so {rest.upper()} ({error.message})")
            wanted = rest
    if wanted == "fp32":
        return None, "fp32"
    work.progress.note("cast to FP16")
    result = _kept(work, stages.cast(folded.artifact, work.frames, work.store), folded)
    if noisy := result.artifact.manifest.detail["in FP32 for accuracy"]:
        work.notes.append(f"{len(noisy)} nodes are left in FP32: in FP16 they disturb the output most")
    return result, "fp16"


def fp16_control(work: Work, folded: StageResult) -> StageResult | None:
    """The network in FP16 that goes with one in INT8, for devices on which INT8 turns out not to be faster.

    None where TensorRT does not run it, or where it misses the gates, which is noted.
    """
    if work.device.runtime != "tensorrt" or "fp16" not in work.device.precisions:
        return None
    work.progress.note("cast the control to FP16")
    notes = list(work.notes)
    try:
        return _kept(work, stages.cast(folded.artifact, work.frames, work.store), folded)
    except GateMissed as error:
        notes.append(f"no FP16 network goes with the one in INT8, to be timed against it: {error.message}")
        return None
    finally:
        work.notes[:] = notes


def _to_int8(work: Work, folded: StageResult, *, search: bool) -> StageResult:
    """INT8 that keeps the gates: the first of ``_tries`` that does."""
    missed: GateMissed | None = None
    for attempt in _tries(work, folded, search=search):
        if missed is not None:
            work.progress.note(missed.message)
        notes = list(work.notes)
        work.progress.note(attempt.said)
        trains = attempt.quantizer.trains
        try:
            made = attempt.quantizer.quantize(attempt.fp16_share, additions=attempt.additions)
            result = _kept(work, made, folded, _for_trained(work) if trains else None)
            if search and isinstance(result.accuracy, Accuracy) and not trains:
                require_few_changes(result.accuracy, work.recipe.gates)
        except GateMissed as error:
            work.notes[:] = notes
            missed = error
            continue
        detail = made.manifest.detail
        because = f" ({detail['because']})" if "because" in detail else ""
        work.notes.append(f"what is not INT8 is {detail['the rest']} in the file{because}")
        if pictures := detail.get("pictures trained on"):
            work.notes.append(f"trained with its quantization on {pictures} pictures")
        if not attempt.additions:
            work.notes.append(f"residual additions read {detail['the rest']} in place of INT8")
        if left := detail["left out for accuracy"]:
            part = 1 - detail["part of the MACs in INT8"]
            work.notes.append(f"{len(left)} layers, {part:.1%} of the multiply-accumulates, are left out of INT8")
        return result
    assert missed is not None
    raise missed


@dataclass(frozen=True)
class _Try:
    """One way to INT8, as ``Quantizer.quantize`` takes it, and what is said of it."""

    quantizer: Quantizer
    fp16_share: float
    additions: bool
    said: str


def _tries(work: Work, folded: StageResult, *, search: bool) -> Iterator[_Try]:
    """Calibrated, else trained on, else with as little as possible left out: additions, in a search layers too.

    Whether it is trained on, and how much may be left out, is the recipe's choice.
    """
    calibrated = Quantizer(work, folded.artifact)
    qat = work.recipe.quantize.qat
    if qat is None or qat.when != "always":
        yield _Try(calibrated, 0.0, True, "quantize")
    if qat is not None:
        yield _Try(Quantizer(work, folded.artifact, work.qat), 0.0, True, "quantize what was trained with quantization")
    # An addition computes next to nothing, but on the way from input to output there may be many.
    additions = calibrated.has_additions
    if additions:
        yield _Try(calibrated, 0.0, False, "quantize, with additions left out")
    if not search:
        return
    for share in (part * work.recipe.quantize.max_fp16_share for part in _SHARES):
        if share:
            said = f"quantize, with {share:.0%} of the multiply-accumulates left out"
            yield _Try(calibrated, share, not additions, said)


def _for_trained(work: Work) -> GatePart:
    """The gates of a network that was trained on: labels judge it, where there are some, and not what FP32 said."""
    if not work.labelled:
        return work.recipe.gates
    return work.recipe.gates.model_copy(update={"min_agreement": 0.0, "max_relative_error": math.inf})


def _kept(work: Work, artifact: Artifact, fp32: StageResult, gates: GatePart | None = None) -> StageResult:
    """A network of lower precision, held against the gates: the recipe's, or these."""
    gates = gates or work.recipe.gates
    assert fp32.usage is not None
    result = judged(work, artifact, fp32.usage, fp32.artifact)
    found, expected = result.accuracy, fp32.accuracy
    if isinstance(found, OutputAccuracy):
        assert expected is None or isinstance(expected, OutputAccuracy)
        require_near(artifact.manifest.stage, found, gates)
        require_targets_kept(artifact.manifest.stage, found, expected, gates)
    elif isinstance(fp32.usage, Classifier):
        assert not isinstance(found, DetectionAccuracy)
        assert not isinstance(expected, DetectionAccuracy | OutputAccuracy)
        require_kept(artifact, found, expected, gates)
    elif isinstance(found, DetectionAccuracy) and isinstance(expected, DetectionAccuracy):
        stage, truth = artifact.manifest.stage, work.evaluation
        truth = truth if isinstance(truth, DetectionSet) else None
        work.notes += require_boxes_kept(stage, found, expected, truth, gates)
        if found.score_threshold != expected.score_threshold:
            work.notes.append(
                f"boxes are shown from a score of {found.score_threshold:.4f} on in place of "
                f"{expected.score_threshold:g}: fitted so that as {'large a part' if truth else 'many'} of them "
                f"{'is right' if truth else 'are shown'} as with FP32"
            )
    return result
