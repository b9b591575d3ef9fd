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
from edgecnn.core.signal_preprocess import InputSpec
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import InputError
from edgecnn.graph.model import ends_in_sigmoid, ends_in_softmax
from edgecnn.train.graph_module import GraphModule
from edgecnn.train.loader import PictureBatches
from edgecnn.train.loop import Learned, Learning
from edgecnn.train.objectives import Goal, Regression, goal_of
from edgecnn.train.samples import Samples


@dataclass(frozen=True, eq=False)
class TrainedQuantized:
    """A network with Q/DQ after training.

    Attributes:
        module: In inference mode, on the CPU.
        learnt: Weights, biases and scales by the names of the graph's initializers.
        learned: What each epoch gave.
    """

    module: nn.Module
    learnt: dict[str, npt.NDArray[np.float32]]
    learned: Learned


def train_quantized(
    model: ir.Model, samples: Samples, spec: InputSpec, config: TrainPart, state: Path, progress: Progress
) -> TrainedQuantized:
    """Train weights, biases and scales; on one machine the result depends on the arguments alone.

    The scales are learnt with the weights (Jain et al., "Trained Quantization Thresholds", 2020). BatchNorm is folded
    already, so each layer computes with the numbers that it will have (Krishnamoorthi, "Quantizing deep convolutional
    networks for efficient inference", 2018).

    Args:
        model: FP32 with Q/DQ pairs; left as it is.
        samples: What it learns from.
        spec: The preprocessing of its input.
        config: How.
        state: A file that a run which was killed goes on from; it is left there.
        progress: Who is told.

    Raises:
        InputError: The network has operators without a gradient here, or the samples do not fit it.
        GateMissed: It diverges.
    """
    torch.manual_seed(config.seed)
    module = GraphModule(model)
    final, module.output = module.output, _raw_output(model)
    goal = _goal_of(module, samples, spec, config)
    batches = PictureBatches(samples, spec, config)
    blocks = [[name for name, _ in module.named_parameters()]]
    learned = Learning(module, blocks, goal, batches, None, config, state, progress).learn()
    module.output = final
    return TrainedQuantized(module, dict(module.arrays()), learned)


class _InOwnUnit(Regression):
    """Regression for a network that gives the values themselves, not standardized ones."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``Goal.loss``."""
        return super().loss((outputs - self.means.to(outputs.device)) / self.deviations.to(outputs.device), targets)

    def scores(self, outputs: torch.Tensor) -> torch.Tensor:
        """See ``RowGoal.scores``."""
        return outputs


def _goal_of(module: nn.Module, samples: Samples, spec: InputSpec, config: TrainPart) -> Goal:
    with torch.no_grad():
        found = module(torch.zeros(2, *spec.input_shape))
    targets: npt.NDArray[Any] = samples.targets
    wanted = targets.shape[1] if targets.ndim == 2 else int(np.max(targets)) + 1
    if (
        found.ndim != 2
        or len(found) != 2
        or wanted > found.shape[1]
        or (targets.ndim == 2 and wanted != found.shape[1])
    ):
        shape = " x ".join(map(str, found.shape))
        raise InputError(
            f"training with quantization: for two pictures the network gives {shape}, and {samples.name} has {wanted} "
            f"classes or values",
            "leave quantize.qat out, or mend data.train",
        )
    return _InOwnUnit(targets) if config.objective == "regression" else goal_of(config, targets, found.shape[1])


def _raw_output(model: ir.Model) -> str:
    """The name of the output, or where that is probabilities, of what they are made of."""
    value = model.graph.outputs[0]
    node = value.producer()
    if (ends_in_softmax(model) or ends_in_sigmoid(model)) and node is not None:
        while node is not None and node.op_type not in ("Softmax", "Sigmoid"):
            source = node.inputs[0]
            node = source.producer() if source is not None else None
        source = node.inputs[0] if node is not None else None
        value = source or value
    return str(value.name)
