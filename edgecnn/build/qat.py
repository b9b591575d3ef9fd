"""Quantization-aware training as a stage: a calibration in, a calibration out."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgecnn.build.frames import ort_network
from edgecnn.build.stages import PRECISION_FRAMES
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.build.training import PACKAGES
from edgecnn.build.training_plan import Plan, plan_training
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.quantize_part import QatPart
from edgecnn.core.recipe import Recipe, objective_of
from edgecnn.errors import InputError
from edgecnn.evaluate.parity import Array, require_snr
from edgecnn.graph.model import save_model
from edgecnn.quantize.calibration_file import load_calibrated, save_calibrated
from edgecnn.quantize.network import quantize_layers
from edgecnn.quantize.schemes import Scheme
from edgecnn.quantize.trained import trainable, with_trained
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.mask_set import MaskSet

# Two orders of adding up leave FP32 numbers apart by their last digits; the one that a rounding to 8 bits stands
# between is then a whole step off, and a step of a layer's input is what INT8's own error is made of.
_SAME_DB = 30.0


def plan_qat(work: Work) -> Plan | None:
    """What quantization-aware training would learn from, and how; None where the recipe does not want it.

    Raises:
        InputError: There is nothing to learn from, or it is judged on the same pictures, or the task has no labels.
    """
    recipe, qat = work.recipe, work.recipe.quantize.qat
    if qat is None or recipe.quantize.precision not in ("int8", "auto"):
        return None
    plan = _planned(recipe, qat, work.store)
    evaluation = work.evaluation.paths if work.evaluation is not None and work.labelled else ()
    shared = {path.resolve() for path in plan.train.paths} & {path.resolve() for path in evaluation}
    if shared:
        raise InputError(
            f"{len(shared)} pictures are for training with quantization and for evaluation, such as {min(shared)}",
            "keep the two apart: accuracy on pictures that were learnt from proves little",
        )
    return plan


def _planned(recipe: Recipe, qat: QatPart, store: Store) -> Plan:
    objective = objective_of(recipe.task)
    if objective in (None, "detection", "segmentation"):
        raise InputError(f"quantize.qat: nothing is known here to train for task: {recipe.task}", "leave it out")
    if recipe.data.train is None:
        raise InputError(
            "quantize.qat: data.train is missing, the labelled pictures to learn from",
            "name them: a folder for each class, or a CSV file with the columns path and label",
        )
    train = qat.train_part(objective, recipe.train)
    if recipe.train is not None:
        plan = plan_training(recipe, store)
        return Plan(plan.recipe.model_copy(update={"train": train}), plan.train, None, None)
    data = recipe.data.model_copy(update={"validation": None, "validation_share": 0.0})
    return plan_training(recipe.model_copy(update={"train": train, "data": data}), store)


def require_no_qat(work: Work) -> None:
    """Refuse to train a network whose preprocessing is in its graph.

    Raises:
        InputError: The recipe wants that.
    """
    if work.qat is not None:
        raise InputError(
            "quantize.qat: a network that takes the camera's frames cannot be trained here",
            "convert without --frame or preprocess.embed, or leave quantize.qat out",
        )


def train_on(work: Work, plan: Plan, calibration: Artifact, scheme: Scheme) -> Artifact:
    """Train a calibrated network with its quantization. A run that was killed goes on where it was.

    Args:
        work: The conversion.
        plan: What it learns from.
        calibration: What ``calibrate`` gave.
        scheme: The target's rules.

    Returns:
        The same as ``calibrate``: a folder for ``load_calibrated``, with other weights, biases and ranges.

    Raises:
        GateMissed: It diverges, or what was trained is not what ONNX Runtime computes.
    """
    config, spec, samples = plan.recipe.train, work.recipe.preprocess, plan.train
    assert config is not None
    assert not isinstance(samples, DetectionSet | MaskSet)

    def make(payload: Path) -> StageOutput:
        import torch

        from edgecnn.train.quantized import train_quantized

        calibrated = load_calibrated(calibration.path)
        working.mkdir(parents=True, exist_ok=True)
        done = train_quantized(
            trainable(calibrated, scheme), samples, spec, config, working / "state.pt", work.progress
        )
        trained = with_trained(calibrated, scheme, done.learnt)
        save_calibrated(trained, payload)

        def reference(frame: Array) -> dict[str, Array]:
            with torch.no_grad():
                return {name: done.module(torch.from_numpy(frame)).numpy()}

        written = working / "trained.onnx"
        model = quantize_layers(trained, scheme, trained.layers.keys()).model
        name = str(model.graph.outputs[0].name)
        save_model(model, written)
        parity = work.frames.parity(reference, ort_network(written), PRECISION_FRAMES)
        require_snr(parity, _SAME_DB, "qat")
        losses = [round(epoch.train_loss, 4) for epoch in done.learned.history]
        return StageOutput(parity=parity, detail={"pictures": len(samples), "loss of each epoch": losses})

    stage = Stage(
        "qat", 1, "record", "trained", {**identity_of(plan), "scheme": asdict(scheme)}, (calibration.sha256,), PACKAGES
    )
    working = work.store.root / "training" / stage.key()
    made = work.store.run(stage, make)
    shutil.rmtree(working, ignore_errors=True)
    return made


def identity_of(plan: Plan) -> dict[str, Any]:
    """What a training with quantization depends on beside the calibration that it begins with."""
    assert plan.recipe.train is not None
    train = plan.recipe.train.model_dump(exclude={"workers"})
    return {"train": train, "pictures": plan.train.sha256(), "preprocess": plan.recipe.preprocess.model_dump()}
