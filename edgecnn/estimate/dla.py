"""Time of what the deep learning accelerator takes.

Its two parameters are set by hand to NVIDIA's table of six networks on AGX Orin's two DLAs in four power modes
(Deep-Learning-Accelerator-SW, README, JetPack 5.1.1); ``make bench-estimate`` prints how near they come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.estimate.launches import Launch

# Of the peak of one DLA, and bytes a second that it moves.
EFFICIENCY = 0.8
BYTES_A_SECOND = 40e9
# Borders are reformatted by the GPU: written and read again.
_PASSES = 2
# Of the time to the estimate, for DLA: wider than the GPU's, as it was held against one board alone.
RATIO_LOW, RATIO_HIGH = 0.5, 2.0


@dataclass(frozen=True)
class DlaWork:
    """What a plan gives to the DLA.

    Attributes:
        nodes: Names of the nodes.
        loadables: Connected parts.
        moved_bytes: Reformatted between DLA and GPU in each run.
    """

    nodes: frozenset[str]
    loadables: int
    moved_bytes: int


def dla_seconds(launches: Sequence[Launch], tops: float, precision: str, batch: int = 1) -> float:
    """Time of kernels on one DLA.

    Args:
        launches: Those that DLA takes.
        tops: Dense INT8 of one DLA; FP16 runs at a quarter of it on Orin.
        precision: ``int8`` or ``fp16``.
        batch: Pictures at once.
    """
    rate = tops * 1e12 / 2 * EFFICIENCY * (1.0 if precision == "int8" else 0.25)
    width = 1 if precision == "int8" else 2
    return sum(
        batch * max(launch.macs / rate, (launch.taken + launch.given + launch.weights) * width / BYTES_A_SECOND)
        for launch in launches
    )


def border_seconds(work: DlaWork, bandwidth: float) -> float:
    """Time of reformatting at the borders, at a bandwidth in bytes a second."""
    return work.moved_bytes * _PASSES / bandwidth
