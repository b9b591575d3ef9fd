"""From samples to a network that has learnt them, and its answers on samples that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edgecnn.core.progress import Progress
from edgecnn.core.recipe import ModelPart
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.train.features import features_of
from edgecnn.train.layers import blocks_of, head_of, set_batch_norm_momentum, unscale
from edgecnn.train.loader import Batches, FeatureBatches, PictureBatches
from edgecnn.train.loop import Learned, Learning
from edgecnn.train.objectives import Goal, Judged, Regression, goal_of
from edgecnn.train.samples import Samples
from edgecnn.train.slimming.slim import Slim, require_slimmable, slimmed
from edgecnn.train.teacher import teacher_of
from edgecnn.train.zoo import begin_with, build_module

# Training pictures that are looked at without augmentation, to compare with the validation pictures.
LOOKED_AT = 1000


@dataclass(frozen=True, eq=False)
class Trained:
    """A network after training.

    Attributes:
        module: In inference mode, on the CPU.
        learned: What each epoch gave.
        figure_name: What the figure is that it is judged by.
        train: What it makes of training samples, at most 1,000.
        validation: What it makes of those kept back, if there are any.
        teacher: What its teacher makes of these, if it has one.
        slim: What became of it after its training, if anything was to.
    """

    module: nn.Module
    learned: Learned
    figure_name: str
    train: Judged
    validation: Judged | None
    teacher: Judged | None = None
    slim: Slim | None = None


def train_network(
    model: ModelPart,
    train: Samples,
    validation: Samples | None,
    spec: InputSpec,
    config: TrainPart,
    state: Path,
    features: Path,
    progress: Progress,
) -> Trained:
    """Build a network and train it; on one machine the result depends on the arguments alone.

    Args:
        model: Which network.
        train: What it learns from.
        validation: What it is watched on.
        spec: The preprocessing, the one that the deployed network gets.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        features: Folder of what frozen networks made of pictures.
        progress: Who is told.

    Raises:
        InputError: The network and the samples do not go together.
        GateMissed: It diverges.
    """
    module = begun_network(model, config)
    name, head = head_of(module, model.source)
    outputs = int(head.weight.shape[0])
    wanted = train.targets.shape[1] if train.targets.ndim == 2 else int(train.targets.max()) + 1
    if wanted > outputs or (train.targets.ndim == 2 and wanted != outputs):
        raise InputError(
            f"model {model.source}: its last layer has {outputs} outputs, and {train.name} has {wanted} classes",
            "mend model.num_classes, or for a network of your own model.arguments",
        )
    goal = goal_of(config, train.targets, outputs)
    teacher = teacher_of(config.teacher, outputs, goal) if config.teacher is not None else None
    learning: nn.Module = module
    train_batches: Batches
    validation_batches: Batches | None = None
    if config.layers == "head":
        learning = head
        rows = features_of(module, name, train, spec, config, config.views, features, progress)
        train_batches = FeatureBatches(rows, train.targets, config)
        if validation is not None:
            rows = features_of(module, name, validation, spec, config, 1, features, progress)
            validation_batches = FeatureBatches(rows, validation.targets, config)
        blocks = [[inner for inner, _ in head.named_parameters()]]
    else:
        train_batches = PictureBatches(train, spec, config)
        validation_batches = PictureBatches(validation, spec, config) if validation is not None else None
        blocks = blocks_of(module, model.source)
    shape = (1, *spec.input_shape)
    require_slimmable(module, model.source, shape, config, validation_batches)
    training = Learning(learning, blocks, goal, train_batches, validation_batches, config, state, progress, teacher)
    learned = training.learn()

    def learn_again(network: nn.Module, how: TrainPart, batches: Batches, name: str) -> None:
        place = state.with_name(f"{name}.pt")
        blocks = blocks_of(network, model.source)
        Learning(network, blocks, goal, batches, validation_batches, how, place, progress, teacher).learn()

    slim = None
    if config.layers == "all":
        module, slim = slimmed(
            module, model.source, shape, goal, train_batches, validation_batches, config, learn_again
        )
        learning, (_, head) = module, head_of(module, model.source)
    on_train = goal.judged(learning, train_batches, count=LOOKED_AT)
    on_validation = goal.judged(learning, validation_batches) if validation_batches is not None else None
    of_teacher = None
    if teacher is not None and validation_batches is not None:
        of_teacher = goal.judged(teacher.cpu(), validation_batches)
    if isinstance(goal, Regression):
        unscale(head, goal.means, goal.deviations)
    module.eval()
    return Trained(module, learned, goal.figure_name, on_train, on_validation, of_teacher, slim)


def begun_network(model: ModelPart, config: TrainPart) -> nn.Module:
    """A network with the weights that its training begins with, drawn from the seed where there are no others.

    Raises:
        InputError: There is no such network, or it does not begin with such weights.
    """
    torch.manual_seed(config.seed)
    module = build_module(model)
    if config.pretrained is not None:
        begin_with(module, model, config.pretrained)
    if config.batch_norm_momentum is not None:
        set_batch_norm_momentum(module, config.batch_norm_momentum)
    return module


def train_on_places(
    module: nn.Module,
    blocks: Sequence[Sequence[str]],
    goal: Goal,
    train: Batches,
    validation: Batches | None,
    config: TrainPart,
    state: Path,
    progress: Progress,
) -> Trained:
    """Train all layers of a network whose targets have places in the picture: boxes or masks.

    Args:
        module: The network, with the weights that it begins with.
        blocks: See ``Learning``.
        goal: What is minimized.
        train: What it learns from.
        validation: What it is watched on.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        GateMissed: It diverges.
    """
    learned = Learning(module, blocks, goal, train, validation, config, state, progress).learn()
    on_train = goal.judged(module, train, count=LOOKED_AT)
    on_validation = goal.judged(module, validation) if validation is not None else None
    return Trained(module.eval(), learned, goal.figure_name, on_train, on_validation)
