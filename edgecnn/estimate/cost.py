"""Seconds of each kernel: the slower of multiplying and moving, and the time that a kernel takes to begin and end.

A roofline (Williams, Waterman and Patterson 2009) for each kernel, with few parameters, each of which means something:
``make bench-estimate`` fits them to published results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from edgecnn.core.documents import load_document
from edgecnn.estimate.launches import Launch
from edgecnn.estimate.rates import Precision, Rates

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

PARAMETERS = Path(__file__).with_name("parameters.yaml")
_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}
# Tensor cores compute channels in blocks: these many inputs and outputs at once, of any precision but FP32 and FP16.
_BLOCK_INT8 = (32, 16)
_BLOCK = (16, 8)


class Efficiency(BaseModel):
    """How near kernels come to a board's rates. All without a unit unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tensor_fp32: float = Field(gt=0, description="of the peak of tensor cores, in TF32")
    tensor_fp16: float = Field(gt=0, description="of the peak of tensor cores")
    tensor_int8: float = Field(gt=0, description="of the peak of tensor cores")
    cuda_fp32: float = Field(gt=0, description="of the peak of CUDA cores")
    cuda_fp16: float = Field(gt=0, description="of the peak of CUDA cores")
    winograd: float = Field(gt=0, description="how much faster CUDA cores are in 3 x 3 convolutions of single steps")
    depthwise: float = Field(gt=0, description="of the peak of CUDA cores, in depthwise convolutions")
    tensor_fill: float = Field(ge=0, description="outputs for each multiprocessor at which tensor cores are half busy")
    cuda_fill: float = Field(ge=0, description="the same of CUDA cores")
    bandwidth: float = Field(gt=0, description="of the memory's peak")
    cached: float = Field(gt=0, description="how much faster activations move that fit into the cache")
    launch_cycles: float = Field(ge=0, description="of the GPU's clock, from a kernel's end to the next one's work")
    graph_launch: float = Field(gt=0, le=1, description="part of launch_cycles that a kernel of a CUDA graph takes")


@dataclass(frozen=True)
class Table:
    """Kernels as columns; what a field means is said in ``Launch``."""

    macs: Floats
    rows: Floats
    outputs: Floats
    depth: Floats
    groups: Floats
    activations: Floats
    weights: Floats
    is_linear: Booleans
    is_depthwise: Booleans
    is_winograd: Booleans


def table_of(launches: Sequence[Launch]) -> Table:
    """Columns of kernels."""

    def column(name: str) -> Floats:
        return np.array([getattr(launch, name) for launch in launches], dtype=np.float64)

    return Table(
        macs=column("macs"),
        rows=column("rows"),
        outputs=column("outputs"),
        depth=column("depth"),
        groups=column("groups"),
        activations=column("taken") + column("given"),
        weights=column("weights"),
        is_linear=np.array([launch.kind in ("conv", "product") for launch in launches]),
        is_depthwise=np.array([launch.kind == "depthwise" for launch in launches]),
        is_winograd=np.array([launch.winograd for launch in launches]),
    )


@dataclass(frozen=True)
class Seconds:
    """Of each kernel; its time is ``launch`` and the larger of the others."""

    multiply: Floats
    move: Floats
    launch: Floats

    @property
    def total(self) -> Floats:
        """Of each kernel."""
        return np.maximum(self.multiply, self.move) + self.launch


def seconds_of(
    table: Table,
    rates: Rates,
    precision: Precision,
    efficiency: Efficiency,
    batch: int = 1,
    *,
    cuda_graph: bool = False,
) -> Seconds:
    """The time of each kernel.

    Args:
        table: For one picture.
        rates: Of the board, in the precision.
        precision: Of products and activations; in INT8 what multiplies nothing moves FP16.
        efficiency: Parameters.
        batch: Pictures at once.
        cuda_graph: Whether kernels are started as one CUDA graph.
    """
    rows = table.rows * batch
    on_tensor = table.is_linear & (rates.tensor_macs > 0)
    inputs_block, outputs_block = _BLOCK_INT8 if precision == "int8" else _BLOCK
    depth = np.where(on_tensor, _in_blocks(table.depth, inputs_block), table.depth)
    outputs = np.where(on_tensor, _in_blocks(table.outputs, outputs_block), table.outputs)
    outputs = np.where(table.is_linear, outputs, 1.0)
    # A kernel with few outputs leaves multiprocessors empty.
    each = np.maximum(rows * outputs * table.groups / rates.sms, 1.0)
    tensor_part = {"fp32": efficiency.tensor_fp32, "fp16": efficiency.tensor_fp16, "int8": efficiency.tensor_int8}
    cuda_part = efficiency.cuda_fp32 if precision == "fp32" else efficiency.cuda_fp16
    cuda = np.where(table.is_winograd, cuda_part * efficiency.winograd, cuda_part)
    cuda = np.where(table.is_depthwise, efficiency.depthwise, cuda) * rates.cuda_macs
    speed = np.where(on_tensor, tensor_part[precision] * max(rates.tensor_macs, 1.0), cuda)
    fill = np.where(on_tensor, efficiency.tensor_fill, efficiency.cuda_fill)
    products = np.where(table.is_linear, rows * table.groups * outputs * depth, table.macs * batch)
    multiply = products / speed * (1 + fill / each)
    width = np.where(table.is_linear | table.is_depthwise, _BYTES[precision], max(_BYTES[precision], 2.0))
    activations = table.activations * batch * width
    speedup = np.where(activations <= rates.cache_bytes, efficiency.cached, 1.0)
    move = (activations / speedup + table.weights * width) / (rates.bytes * efficiency.bandwidth)
    cycles = efficiency.launch_cycles * (efficiency.graph_launch if cuda_graph else 1.0)
    launch = np.full(len(table.macs), cycles / rates.hertz)
    return Seconds(multiply, move, launch)


def load_parameters() -> Parameters:
    """The parameters that come with the package."""
    return load_document(PARAMETERS, Parameters, "parameters")


class LeftOut(BaseModel):
    """A fit without some of the points, and what it says of these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    without: str = Field(description="a board or a family of networks, all of its points")
    efficiency: Efficiency
    ratios: tuple[float, ...] = Field(min_length=1, description="of each of these points: published time to estimate")


class Parameters(BaseModel):
    """What ``make bench-estimate`` found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 2
    efficiency: Efficiency
    left_out: tuple[LeftOut, ...] = Field(min_length=1, description="for the interval")


def _in_blocks(counts: Floats, block: int) -> Floats:
    return np.ceil(counts / block) * block
