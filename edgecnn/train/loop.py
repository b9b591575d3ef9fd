"""The training loop: steps, schedule, averages, early stopping, and a state that a killed run goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from edgecnn.core.files import write_atomically
from edgecnn.core.progress import Progress
from edgecnn.core.training_part import TrainPart
from edgecnn.errors import GateMissed
from edgecnn.train.fabric import fabric_of
from edgecnn.train.layers import freeze
from edgecnn.train.loader import Batches
from edgecnn.train.objectives import Goal, mixed, total_loss
from edgecnn.train.optimizer import average_with, optimizer_of, rate_factor
from edgecnn.train.order import seed_of
from edgecnn.train.teacher import Teacher

# A state beside those at the ends of epochs, so that a kill costs no more than this.
_SAVE_EVERY_S = 300.0
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    Attributes:
        train_loss: Mean over its steps, on pictures as they were augmented.
        validation_loss: Of the weights that would be kept; None without validation pictures, as the next.
        validation_figure: The goal's figure, 1 is best.
        learning_rate: Of the last layer at its end.
        seconds: That it took with its validation, since the kill if there was one; equal runs differ in it.
    """

    train_loss: float
    validation_loss: float | None
    validation_figure: float | None
    learning_rate: float
    seconds: float = field(compare=False)


@dataclass
class _Progress:
    """Where training is: everything but tensors that the next step depends on."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass(frozen=True)
class Learned:
    """A finished run; the network holds the weights.

    Attributes:
        history: Of each epoch.
        kept_epoch: The epoch whose weights were kept, from 1.
        resumed_at: The epoch and the step of it that a state was found for, both from 0; None for a run in one go.
    """

    history: tuple[Epoch, ...]
    kept_epoch: int
    resumed_at: tuple[int, int] | None


class Learning:
    """The training of a network in place, once.

    One process, unless ``torchrun`` started several: then each takes its part of every batch, on its own GPU or on
    the CPU, and all end with the weights of the first.

    Args:
        module: The network.
        blocks: Names of its parameters in blocks, from the input to the output; see ``layers.blocks_of``.
        goal: What is minimized.
        train: What it learns from.
        validation: What it is watched on.
        config: How.
        state_path: Where the state is kept until the end; where there is one, training goes on from it.
        progress: Who is told.
        teacher: Whose answers are learnt, too, if any.

    Raises:
        GateMissed: It diverges.
    """

    def __init__(
        self,
        module: nn.Module,
        blocks: Sequence[Sequence[str]],
        goal: Goal,
        train: Batches,
        validation: Batches | None,
        config: TrainPart,
        state_path: Path,
        progress: Progress,
        teacher: Teacher | None = None,
    ) -> None:
        self.module, self.blocks, self.goal, self.config = module, blocks, goal, config
        self.train, self.validation = train, validation
        self.state_path, self.progress = state_path, progress
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        self.fabric = fabric_of(config)
        # On a CPU most networks' steps are quicker so, MobileNetV2's by half; VGG's and ShuffleNet's a tenth slower.
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.steps = train.steps()
        self.factor = rate_factor(config, config.epochs * self.steps)
        self.average = AveragedModel(module, avg_fn=average_with(config.ema), use_buffers=True) if config.ema else None
        self.optimizer: Any = optimizer_of(module, blocks, config)
        wrapped: Any = self.fabric.setup(module, self.optimizer)
        self.wrapped, self.optimizer = wrapped
        if self.average is not None:
            self.average.to(self.fabric.device)
        self.teacher = teacher.to(self.fabric.device) if teacher is not None else None
        self.at = _Progress()
        self.best: State | None = None
        self.saved_at = time.monotonic()

    def learn(self) -> Learned:
        """Train to the end, or from where a killed run was to the end."""
        resumed = self._resume()
        with self.progress.task("train", self.config.epochs) as task:
            for _ in range(self.at.epoch):
                task.advance()
            while self.at.epoch < self.config.epochs and not self._is_stale():
                self._epoch()
                task.advance()
        kept: State = self.best if self.best is not None else _copied(self._kept_module().state_dict())
        self.module.load_state_dict(self.fabric.broadcast(kept))
        self.module.to("cpu", memory_format=torch.contiguous_format).eval()  # pyright: ignore[reportCallIssue]
        for parameter in self.module.parameters():
            parameter.requires_grad_(True)
        history = tuple(Epoch(**entry) for entry in self.at.history)
        return Learned(history, self.at.best_epoch if self.best is not None else len(history), resumed)

    def _epoch(self) -> None:
        begun = time.monotonic()
        self.wrapped.train()
        freeze(self.module, self._learning())
        for inputs, targets in self.train.epoch(
            self.at.epoch, self.at.step, self.fabric.global_rank, self.fabric.world_size
        ):
            self._step(inputs.to(self.fabric.device), targets.to(self.fabric.device))
            if time.monotonic() - self.saved_at > _SAVE_EVERY_S:
                self._save()
        loss, figure = self._validated()
        mean = self.at.loss_sum / self.steps
        rate, seconds = self.optimizer.param_groups[-1]["lr"], time.monotonic() - begun
        self.at.history.append(asdict(Epoch(mean, loss, figure, rate, seconds)))
        self.at.epoch, self.at.step, self.at.loss_sum = self.at.epoch + 1, 0, 0.0
        if self.config.patience is not None and figure is not None and figure > self.at.best:
            self.at.best, self.at.best_epoch = figure, self.at.epoch
            self.best = _copied(self._kept_module().state_dict())
        self._save()

    def _step(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        place = (self.config.seed, self.at.epoch, self.at.step)
        number = self.at.epoch * self.steps + self.at.step
        # Dropout's random numbers depend on the place alone, so they need not be saved.
        torch.manual_seed(seed_of(*place, self.fabric.global_rank))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["scale"] * self.factor(number)
        if self.config.mixup:
            inputs, targets = mixed(inputs, self.goal.shares(targets), self.config.mixup, seed_of(*place, 2))
        result = self.wrapped(inputs)
        loss = total_loss(self.goal, result, targets)
        if self.teacher is not None:
            with self.fabric.autocast():
                loss = self.teacher.blended(loss, result, inputs)
        if not math.isfinite(found := float(loss.detach())):
            raise GateMissed("train: the loss is not a number any more", "lower train.learning_rate")
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.config.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.at.step += 1
        self.at.loss_sum += found

    def _learning(self) -> list[str]:
        """Names of the parameters that learn in this epoch."""
        blocks = self.blocks
        if self.config.unfreeze_epochs:
            # The last block from the first epoch on, the others evenly spread over the epochs of unfreezing.
            part = min(self.at.epoch / self.config.unfreeze_epochs, 1)
            blocks = blocks[len(blocks) - 1 - math.floor((len(blocks) - 1) * part) :]
        return [name for block in blocks for name in block]

    def _is_stale(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.at.epoch - self.at.best_epoch >= patience and self.best is not None

    def _kept_module(self) -> nn.Module:
        return self.average.module if self.average is not None else self.module

    def _validated(self) -> tuple[float | None, float | None]:
        """Loss and figure on the validation pictures, as the first process finds them."""
        found: tuple[float, float] | tuple[None, None] = (None, None)
        if self.validation is not None:
            judged = self.goal.judged(self._kept_module(), self.validation, self.fabric)
            found = judged.loss, judged.figure
        return self.fabric.broadcast(found)

    def _save(self) -> None:
        """Write the state, whole or not at all."""
        if self.fabric.is_global_zero:
            state = {
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "best": self.best,
                "at": asdict(self.at),
            }
            with write_atomically(self.state_path) as part:
                torch.save(state, part)
        self.saved_at = time.monotonic()
        self.fabric.barrier()

    def _resume(self) -> tuple[int, int] | None:
        if not self.state_path.is_file():
            return None
        state: Any = torch.load(self.state_path, map_location=self.fabric.device, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best = state["best"]
        self.at = _Progress(**state["at"])
        self.progress.note(f"going on at epoch {self.at.epoch + 1}, step {self.at.step + 1}")
        return self.at.epoch, self.at.step


def _copied(state: State) -> State:
    return {name: value.detach().clone() for name, value in state.items()}
