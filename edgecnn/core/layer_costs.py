"""costs.json of a bundle: what each layer of its graph computes and moves, and which nodes and tensors are whose."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

COSTS = "costs.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LayerCost(_Part):
    """One layer, for one input. A quantized one includes its Q/DQ pairs."""

    name: str
    op_type: str
    reads: tuple[str, ...] = Field(default=(), description="the layers whose outputs it reads")
    macs: int | None = Field(description="multiply-accumulates; null where sizes are not known")
    moved_bytes: int | None = Field(description="weights, inputs and outputs, each once, in the graph's types")


class LayerCosts(_Part):
    """All layers of a graph.

    Attributes:
        nodes: For every node, the layer that it belongs to: itself, or the one that a Q/DQ node or a cast serves.
        tensors: For every tensor that a node makes, the layer that makes it.
    """

    schema_version: Literal[1] = 1
    layers: tuple[LayerCost, ...]
    nodes: dict[str, str]
    tensors: dict[str, str]
