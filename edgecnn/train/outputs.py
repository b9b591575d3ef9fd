"""What a network gives for samples as they are."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from edgecnn.train.loader import Batches
from edgecnn.train.objectives import Array


def outputs_of(
    module: nn.Module, batches: Batches, fabric: Fabric | None = None, count: int | None = None
) -> tuple[Array, Array]:
    """What a network gives for samples as they are, in inference mode, and their targets."""
    device = next(module.parameters()).device
    training = [part for part in module.modules() if part.training]
    module.eval()
    outputs: list[Array] = []
    wanted: list[Array] = []
    with torch.inference_mode():
        for inputs, targets in batches.plain(count):
            if fabric is None:
                result = module(inputs.to(device))
            else:
                with fabric.autocast():
                    result = module(inputs.to(device))
            outputs.append(result.float().cpu().numpy())
            wanted.append(targets.numpy())
    for part in training:
        part.training = True
    return np.concatenate(outputs), np.concatenate(wanted)
