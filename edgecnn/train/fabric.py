"""Where a network is trained: one process by default, several with torchrun, on the CPU or GPUs."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as distributed
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from edgecnn.core.training_part import TrainPart


def fabric_of(config: TrainPart) -> Fabric:
    """Where to compute, and in which precision."""
    ranks, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    gpu = torch.cuda.is_available()
    names = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
    precision: Any = names.get(config.precision, "32-true")
    if config.precision == "auto" and gpu:
        precision = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    # Blocks that do not learn yet get no gradients, which has to be found out at every step.
    strategy: Any = DDPStrategy(find_unused_parameters=bool(config.unfreeze_epochs)) if ranks > 1 else "auto"
    fabric = Fabric(
        accelerator="cuda" if gpu else "cpu",
        devices=local,
        num_nodes=ranks // local,
        strategy=strategy,
        precision=precision,
    )
    fabric.launch()
    return fabric


def part_of_total(value: torch.Tensor, *, learning: bool) -> torch.Tensor:
    """What falls to each process of the sum of all processes' values, which counts as 1 where it is less.

    A loss that is divided by this is, in the mean over processes, one process's that has the whole batch. While they
    learn every process has to call it at the same place; what is judged, each process has whole.
    """
    total = value.detach().clone()
    if not (learning and distributed.is_available() and distributed.is_initialized()):
        return total.clamp(min=1)
    distributed.all_reduce(total)
    return total.clamp(min=1) / distributed.get_world_size()
