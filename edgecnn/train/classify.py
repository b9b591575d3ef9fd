"""Supervised training of a classifier on pictures that fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgecnn.core.preprocess import Preprocess
from edgecnn.core.progress import Progress
from edgecnn.core.recipe import AugmentPart, TrainPart
from edgecnn.errors import GateMissed
from edgecnn.vision.images import ImageSet, read_image
from edgecnn.vision.preprocess import preprocess

# Part of all steps in which the learning rate rises to its highest; AdamW's moments are unreliable at first.
_WARM_UP = 0.1


def train_classifier(
    module: nn.Module, images: ImageSet, spec: Preprocess, config: TrainPart, progress: Progress
) -> list[float]:
    """Train a network in place with AdamW and cross entropy; the result depends on the seed alone.

    Args:
        module: Maps (N, C, H, W) to (N, classes).
        images: Labelled pictures.
        spec: Preprocessing, the one that the deployed network gets.
        config: How.
        progress: Who is told.

    Returns:
        The mean loss of each epoch.

    Raises:
        GateMissed: It diverges.
    """
    assert images.labels is not None
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(config.seed)
    inputs = torch.from_numpy(np.concatenate([preprocess(read_image(path), spec) for path in images.paths]))
    targets = torch.tensor(images.labels)
    module.apply(_reset)
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    # The last batch of an epoch is dropped where it is too small for BatchNorm's statistics.
    batches = max(len(inputs) // config.batch_size, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_and_cosine(config.epochs * batches))
    losses: list[float] = []
    module.train()
    with progress.task(f"train on {len(inputs)} pictures", config.epochs) as task:
        for _ in range(config.epochs):
            order = torch.randperm(len(inputs), generator=generator)
            total = 0.0
            for batch in range(batches):
                chosen = order[batch * config.batch_size : (batch + 1) * config.batch_size]
                pictures = _augment(inputs[chosen], config.augment, generator)
                loss = functional.cross_entropy(
                    module(pictures), targets[chosen], label_smoothing=config.label_smoothing
                )
                if not math.isfinite(found := float(loss.detach())):
                    raise GateMissed("train: the loss is not a number any more", "lower train.learning_rate")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += found
            losses.append(total / batches)
            task.advance()
    module.eval()
    return losses


def _reset(module: nn.Module) -> None:
    """Draw the weights anew, so that they depend on the seed and not on what ran before."""
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()


def _warm_up_and_cosine(steps: int) -> Callable[[int], float]:
    warm = max(int(steps * _WARM_UP), 1)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))

    return factor


def _augment(pictures: torch.Tensor, config: AugmentPart, generator: torch.Generator) -> torch.Tensor:
    """Rotate, zoom and shift each picture by its own random amount; the border repeats outwards."""
    count = len(pictures)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    angle = uniform(-config.degrees, config.degrees) * (math.pi / 180)
    zoom = 1 / uniform(*config.scale)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # affine_grid's coordinates run from -1 to 1: a shift by a part p of the side is 2p.
    shift_x, shift_y = (uniform(-config.translate, config.translate) * 2 for _ in range(2))
    theta = torch.stack([torch.stack([cosine, -sine, shift_x], 1), torch.stack([sine, cosine, shift_y], 1)], 1)
    grid = functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
