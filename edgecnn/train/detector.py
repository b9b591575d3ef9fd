"""From pictures with boxes to a detector that has learnt them."""

from __future__ import annotations

from pathlib import Path

import torch

from edgecnn.core.detector import Detector
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import ModelPart
from edgecnn.core.training_part import TrainPart
from edgecnn.train.boxed_pictures import BoxedBatches
from edgecnn.train.detection_goal import Detection
from edgecnn.train.layers import blocks_of, set_batch_norm_momentum
from edgecnn.train.light_detector import LightDetector
from edgecnn.train.loop import Learning
from edgecnn.train.network import LOOKED_AT, Trained
from edgecnn.train.zoo import begin_with, build_module
from edgecnn.vision.detection_set import DetectionSet


def train_detector(
    model: ModelPart,
    train: DetectionSet,
    validation: DetectionSet | None,
    usage: Detector,
    config: TrainPart,
    state: Path,
    progress: Progress,
) -> Trained:
    """Build a detector and train it; on one machine the result depends on the arguments alone.

    Args:
        model: Which network, with a head.
        train: What it learns from, with the class numbers of ``usage``.
        validation: What it is watched on, likewise.
        usage: How it will be used.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        InputError: The network has not the maps that a head wants, or does not begin with such weights.
        GateMissed: It diverges.
    """
    torch.manual_seed(config.seed)
    module = build_module(model)
    assert model.head is not None  # the recipe saw to it
    assert isinstance(module, LightDetector)
    if config.pretrained is not None:
        begin_with(module, model, config.pretrained)
    if config.batch_norm_momentum is not None:
        set_batch_norm_momentum(module, config.batch_norm_momentum)
    goal = Detection(usage, model.head)
    train_batches = BoxedBatches(train, usage.preprocess, config)
    validation_batches = BoxedBatches(validation, usage.preprocess, config) if validation is not None else None
    module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    blocks = _blocks_of(module, model.source)
    learned = Learning(module, blocks, goal, train_batches, validation_batches, config, state, progress).learn()
    on_train = goal.judged(module, train_batches, count=LOOKED_AT)
    on_validation = goal.judged(module, validation_batches) if validation_batches is not None else None
    module.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return Trained(module.eval(), learned, goal.figure_name, on_train, on_validation)


def _blocks_of(module: LightDetector, source: str) -> list[list[str]]:
    """Names of parameters in blocks: the trunk's, then neck and heads as the last."""
    prefix = "trunk.body."
    trunk = [[prefix + name for name in block] for block in blocks_of(module.trunk.body, source)]
    rest = [name for name, _ in module.named_parameters() if not name.startswith(prefix)]
    return [*trunk, rest]
