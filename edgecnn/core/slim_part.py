"""The part of a training that says who teaches."""

from __future__ import annotations

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
