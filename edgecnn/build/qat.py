"""Quantization-aware training as a stage: a calibration in, a calibration out."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgecnn.build.frames import ort_network
from edgecnn.build.stages import PRECISION_FRAMES
from edgecnn.build.store import Stage, StageOutput, Store
from edgecnn.build.training import PACKAGES
from edgecnn.build.training_plan import Plan, detector_of, plan_training
from edgecnn.build.work import Work
from edgecnn.core.artifact import Artifact
from edgecnn.core.head_part import HeadPart
from edgecnn.core.quantize_part import QatPart
from edgecnn.core.recipe import Recipe, objective_of
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.evaluate.parity import Array, require_snr
from edgecnn.graph.cleanup import clean_up
from edgecnn.graph.detection_outputs import raw_name
from edgecnn.graph.model import logits_of, save_model
from edgecnn.graph.prepare import infer_shapes, run_passes
from edgecnn.quantize.calibration_file import load_calibrated, save_calibrated
from edgecnn.quantize.network import quantize_layers
from edgecnn.quantize.schemes import Scheme
from edgecnn.quantize.trained import trainable, with_trained
from edgecnn.vision.detection_set import DetectionSet
from edgecnn.vision.mask_set import MaskSet

if TYPE_CHECKING:
    from edgecnn.train.loader import Batches
    from edgecnn.train.objectives import Goal

# Raised when training begins to give other results: what is made of them depends on it too.
_VERSION = 1
# Two orders of adding up leave FP32 numbers apart by their last digits. Where such a number stands between two steps of
# 8 bits, it is then a whole step off, as every number may be in INT8: of these one in some hundred, and so with some
# hundredth of the power of INT8's own error, which is 10 dB from FP32 at worst. MobileNetV3-small came to 38 dB.
_SAME_DB = 20.0


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
    torchvisions = recipe.task == "detection" and recipe.model.head is None
    if objective in (None, "segmentation") or torchvisions:
        what = "a detector without model.head" if torchvisions else f"task: {recipe.task}"
        raise InputError(f"quantize.qat: nothing is known here to train for {what}", "leave it out")
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
    config = plan.recipe.train
    assert config is not None

    def make(payload: Path) -> StageOutput:
        import torch

        from edgecnn.train.qat.quantized import train_quantized

        calibrated = load_calibrated(calibration.path)
        model = trainable(calibrated, scheme)
        run_passes(model, (infer_shapes,))
        output = _learnt_output(model, plan)
        goal, batches = _lessons(plan, output, config)
        working.mkdir(parents=True, exist_ok=True)
        state, name = working / "state.pt", str(output.name)
        done = train_quantized(model, name, goal, batches, config, state, work.progress)
        trained = with_trained(calibrated, scheme, done.learnt)
        save_calibrated(trained, payload)

        def reference(frame: Array) -> dict[str, Array]:
            with torch.no_grad():
                return {name: done.module(torch.from_numpy(frame)).numpy()}

        written = quantize_layers(trained, scheme, trained.layers.keys()).model
        written.graph.outputs[:] = [value for node in written.graph for value in node.outputs if value.name == name]
        run_passes(written, (clean_up, infer_shapes))
        save_model(written, working / "trained.onnx")
        parity = work.frames.parity(reference, ort_network(working / "trained.onnx"), PRECISION_FRAMES)
        require_snr(parity, _SAME_DB, "qat")
        losses = [round(epoch.train_loss, 4) for epoch in done.learned.history]
        return StageOutput(parity=parity, detail={"pictures": len(plan.train), "loss of each epoch": losses})

    stage = Stage(
        "qat",
        _VERSION,
        "record",
        "trained",
        {**identity_of(plan), "scheme": asdict(scheme)},
        (calibration.sha256,),
        PACKAGES,
    )
    working = work.store.root / "training" / stage.key()
    made = work.store.run(stage, make)
    shutil.rmtree(working, ignore_errors=True)
    return made


def _learnt_output(model: ir.Model, plan: Plan) -> ir.Value:
    """What the goal judges: logits or values; of a detector, which is decoded in the graph, what that begins with."""
    layout = plan.recipe.detection.layout
    if not isinstance(plan.train, DetectionSet):
        return logits_of(model)
    assert layout.boxes is not None
    return next(value for node in model.graph for value in node.outputs if value.name == raw_name(layout.boxes))


def _lessons(plan: Plan, output: ir.Value, config: TrainPart) -> tuple[Goal, Batches]:
    """What is minimized, and what is learnt from."""
    from edgecnn.train.detection.boxed_pictures import BoxedBatches
    from edgecnn.train.detection.detection_goal import LightDetection
    from edgecnn.train.loader import PictureBatches
    from edgecnn.train.qat.quantized import goal_for_graph

    recipe = plan.recipe
    if isinstance(plan.train, DetectionSet):
        assert isinstance(recipe.model.head, HeadPart)
        usage = detector_of(recipe)
        return LightDetection(usage, recipe.model.head), BoxedBatches(plan.train, usage.preprocess, config)
    assert output.shape is not None
    assert not isinstance(plan.train, MaskSet)  # the plan saw to it
    goal = goal_for_graph(plan.train, tuple(output.shape.dims), config)
    return goal, PictureBatches(plan.train, recipe.preprocess, config)


def identity_of(plan: Plan) -> dict[str, Any]:
    """What a training with quantization depends on beside the calibration that it begins with."""
    assert plan.recipe.train is not None
    train = plan.recipe.train.model_dump(exclude={"workers"})
    return {
        "version": _VERSION,
        "train": train,
        "pictures": plan.train.sha256(),
        "preprocess": plan.recipe.preprocess.model_dump(),
    }
