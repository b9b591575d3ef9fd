"""Parts of a training that end in a network which is cheaper to run: a teacher, pruning, and 2:4 sparsity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from edgecnn.core.part import Part


class TeacherPart(Part):
    """A network, usually a larger one, that has learnt the same task: what it says of each picture is learnt, too.

    Knowledge distillation (Hinton et al., 2015). It sees the batches as they were augmented.
    """

    source: str = Field(description="as model.source; it has the recipe's classes in the recipe's order")
    weights: str = Field(description="a state dict's path, such as a checkpoint of edgecnn train, or default")
    arguments: dict[str, JsonValue] = Field(
        default={}, description="keyword arguments for the function that builds the network"
    )
    size_hw: tuple[int, int] | None = Field(
        default=None, description="rows and columns that it sees the pictures in; none: those of preprocess"
    )
    temperature: float = Field(
        default=4.0, gt=0, description="what both networks' outputs are divided by before they are compared; of classes"
    )
    weight: float = Field(
        default=0.9, ge=0, le=1, description="of the distance from the teacher in the loss; the labels have the rest"
    )


class PrunePart(Part):
    """Channels are removed step by step, each followed by fine-tuning, as long as the figure allows.

    The figure is that of the pictures kept back; the smallest network that keeps it is the result.
    """

    max_drop: float = Field(
        default=1.0, ge=0, description="what the figure may lose against the whole network, in percentage points"
    )
    step: float = Field(
        default=0.2, gt=0, lt=1, description="part of the multiply-accumulates that each step removes of those left"
    )
    least_macs: float = Field(
        default=0.25, ge=0, lt=1, description="it ends where this part of the multiply-accumulates is left"
    )
    epochs: int = Field(default=5, gt=0, description="of fine-tuning after each step")
    learning_rate: float | None = Field(default=None, gt=0, description="of fine-tuning; none: train.learning_rate")
    multiple: Literal[8, 16] = Field(
        default=8,
        description="layers keep a multiple of so many channels: tensor cores multiply tiles that are 16 channels wide "
        "in INT8 and 8 in FP16, and what is in between costs as much as the next multiple",
    )
