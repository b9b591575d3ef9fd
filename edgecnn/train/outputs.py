"""What a network gives for samples as they are."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import nn

from edgecnn.train.loader import Batches

Array = npt.NDArray[Any]


def outputs_of(
    module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
) -> tuple[Array, Array]:
    """What a network gives for samples as they are, and their targets; see ``outputs_by_batch``."""
    found = [
        (outputs.numpy(), targets.numpy()) for outputs, targets in outputs_by_batch(module, batches, fabric, count)
    ]
    return np.concatenate([outputs for outputs, _ in found]), np.concatenate([targets for _, targets in found])


def outputs_by_batch(
    module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
) -> Generator[tuple[torch.Tensor, torch.Tensor]]:
    """What a network gives for samples as they are, batch by batch and float32 on the CPU, and their targets.

    The network is left in inference mode.
    """
    device = next(module.parameters()).device
    module.eval()
    for inputs, targets in batches.plain(count):
        with torch.inference_mode():
            if fabric is None:
                result = module(inputs.to(device))
            else:
                with fabric.autocast():
                    result = module(inputs.to(device))
            outputs = tensors_of(result)[0].float().cpu()
        yield outputs, targets


def tensors_of(result: Any) -> list[torch.Tensor]:
    """The tensors of what a network gives: one, or one and those of auxiliary outputs."""
    if isinstance(result, torch.Tensor):
        return [result]
    found: Sequence[Any] = list(result.values()) if isinstance(result, Mapping) else list(result)
    return [part for part in found if isinstance(part, torch.Tensor)]
