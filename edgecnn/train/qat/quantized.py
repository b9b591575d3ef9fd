"""Quantization-aware training: a network with Q/DQ learns from labelled samples as it did without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import nn

from edgecnn.core.progress import Progress
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.graph.model import input_specs
from edgecnn.train.loader import Batches
from edgecnn.train.loop import Learned, Learning
from edgecnn.train.objectives import Goal, Regression, goal_of
from edgecnn.train.qat.graph_module import GraphModule
from edgecnn.train.samples import Samples

# Of the outputs: sums in another order now and then round to another of the 256 numbers.
_SAME = 0.05


@dataclass(frozen=True, eq=False)
class TrainedQuantized:
    """A network with Q/DQ after training.

    Attributes:
        module: In inference mode, on the CPU.
        learnt: Weights, biases and scales by the names of the graph's initializers.
        learned: What each epoch gave.
    """

    module: GraphModule
    learnt: dict[str, npt.NDArray[np.float32]]
    learned: Learned


def train_quantized(
    model: ir.Model, output: str, goal: Goal, batches: Batches, config: TrainPart, state: Path, progress: Progress
) -> TrainedQuantized:
    """Train weights, biases and scales; on one machine the result depends on the arguments alone.

    The scales are learnt with the weights (Jain et al., "Trained Quantization Thresholds", 2020). BatchNorm is folded
    already, so each layer computes with the numbers that it will have (Krishnamoorthi, "Quantizing deep convolutional
    networks for efficient inference", 2018).

    Args:
        model: FP32 with Q/DQ pairs; left as it is.
        output: Name of the value that the goal judges.
        goal: What is minimized.
        batches: What it learns from.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        InputError: The network has operators without a gradient here, or mixes the pictures of a batch.
        GateMissed: It diverges.
    """
    torch.manual_seed(config.seed)
    module = GraphModule(model, output)
    _require_batches(module, tuple(int(size) for size in input_specs(model)[0].shape[1:]))
    blocks = [[name for name, _ in module.named_parameters()]]
    learned = Learning(module, blocks, goal, batches, None, config, state, progress).learn()
    return TrainedQuantized(module, dict(module.arrays()), learned)


class _InOwnUnit(Regression):
    """Regression for a network that gives the values themselves, not standardized ones."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        return super().loss((outputs - self.means.to(outputs.device)) / self.deviations.to(outputs.device), targets)

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``RowGoal.scores``."""
        return outputs


def goal_for_graph(samples: Samples, shape: tuple[Any, ...], config: TrainPart) -> Goal:
    """The goal for a graph whose output, logits or values in their own unit, has this shape.

    Raises:
        InputError: Samples and shape do not go together.
    """
    targets: npt.NDArray[Any] = samples.targets
    wanted = targets.shape[1] if targets.ndim == 2 else int(targets.max()) + 1
    if len(shape) != 2 or wanted > shape[1] or (targets.ndim == 2 and wanted != shape[1]):
        raise InputError(
            f"training with quantization: the network gives {' x '.join(map(str, shape))}, and {samples.name} has "
            f"{wanted} classes or values",
            "leave quantize.qat out, or mend data.train",
        )
    return _InOwnUnit(targets) if config.objective == "regression" else goal_of(config, targets, int(shape[1]))


def _require_batches(module: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a network that gives something else for two pictures together than for each alone."""
    noise = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            found, alone = module(noise), torch.cat([module(noise[:1]), module(noise[1:])])
            same = found.shape == alone.shape and bool((found - alone).norm() <= _SAME * alone.norm())
        except RuntimeError:  # Torch's word for shapes that do not go together
            same = False
    if not same:
        raise InputError(
            "training with quantization: the network gives something else for pictures in a batch than for each alone",
            "leave quantize.qat out",
        )
