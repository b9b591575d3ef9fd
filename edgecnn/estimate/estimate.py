"""The estimate of a network on a board."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecnn.core.device import DeviceProfile, PowerMode
from edgecnn.core.estimate import Bound, DlaEstimate, Dominant, Estimate, Range
from edgecnn.errors import InputError
from edgecnn.estimate.cost import Booleans, Efficiency, Floats, Seconds, load_parameters, seconds_of, table_of
from edgecnn.estimate.dla import RATIO_HIGH, RATIO_LOW, DlaWork, border_seconds, dla_seconds
from edgecnn.estimate.energy import NO_BUDGET, estimate_energy
from edgecnn.estimate.interval import interval_of
from edgecnn.estimate.launches import Launch, find_launches
from edgecnn.estimate.memory import estimate_memory
from edgecnn.estimate.rates import Precision, Rates, rates_of

_DOMINANT = 5
_BYTES: dict[Precision, float] = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}
_BOUNDS: tuple[Bound, ...] = ("multiplying", "moving", "starting")


def estimate(
    model: ir.Model,
    device: DeviceProfile,
    mode: PowerMode | None,
    *,
    precision: Precision | None = None,
    batch: int = 1,
    dla: DlaWork | None = None,
) -> Estimate:
    """Latency, memory and energy.

    Args:
        model: Shapes and types inferred, for one picture; BatchNorm may stand in it.
        device: A board, with the TensorRT that is meant as its newest.
        mode: Its power mode; None for the highest clocks.
        precision: As if the network were converted to it; None for what the graph itself is, Q/DQ pairs and types.
        batch: Pictures at once.
        dla: What runs on the deep learning accelerator; None for the GPU alone.

    Raises:
        InputError: A shape is open, or the board has no GPU or does not have the precision.
    """
    own = precision_of(model)
    wanted = precision or own
    try:
        launches = find_launches(model)
        memory = estimate_memory(model, device, _BYTES[wanted] / _BYTES[own], batch)
    except ValueError as error:
        raise InputError(f"no estimate: {error}", "state the picture's with --size WIDTHxHEIGHT") from None
    parameters = load_parameters()
    timed, *others = (
        _time(launches, device, mode, wanted, precision, batch, efficiency)
        for efficiency in (parameters.efficiency, *(fit.efficiency for fit in parameters.left_out))
    )
    seconds = float(timed.total.sum())
    bounds = interval_of([float(other.total.sum()) for other in others], parameters.left_out)
    low, high = min(bounds[0] / seconds, 1.0), max(bounds[1] / seconds, 1.0)
    taken: DlaEstimate | None = None
    if dla is not None and device.dla_int8_dense_tops is not None:
        on_dla = np.array([launch.nodes[0] in dla.nodes for launch in launches])
        given = [launch for launch in launches if launch.nodes[0] in dla.nodes]
        seconds = float(timed.total[~on_dla].sum()) + border_seconds(dla, timed.rates.bytes)
        seconds += dla_seconds(given, device.dla_int8_dense_tops, wanted, batch)
        macs = sum(launch.macs for launch in launches)
        taken = DlaEstimate(
            mac_share=sum(launch.macs for launch in given) / max(macs, 1),
            loadables=dla.loadables,
            moved_bytes=dla.moved_bytes,
        )
        low, high = min(low, RATIO_LOW), max(high, RATIO_HIGH)
    latency = Range(low=1e3 * seconds * low, middle=1e3 * seconds, high=1e3 * seconds * high)
    energy = estimate_energy(mode, latency, batch)
    return Estimate(
        device=device.name,
        power_mode=mode.name if mode is not None else "",
        precision=wanted,
        batch=batch,
        latency_ms=latency,
        images_per_second=Range(
            low=1e3 * batch / latency.high, middle=1e3 * batch / latency.middle, high=1e3 * batch / latency.low
        ),
        memory_bytes=memory,
        energy_mj=energy,
        macs=batch * sum(launch.macs for launch in launches),
        kernels=len(launches),
        parts={bound: float(timed.bound_part(index)) for index, bound in enumerate(_BOUNDS)},
        off_tensor_cores=float(timed.total[~timed.on_tensor].sum() / timed.total.sum()),
        dominant=tuple(timed.dominant(launches)),
        dla=taken,
        notes=tuple(_notes(mode, energy)),
    )


def precision_of(model: ir.Model) -> Precision:
    """What a graph is: INT8 where it has Q/DQ pairs, FP16 where most of its weights are, else FP32."""
    if any(node.op_type == "DequantizeLinear" for node in model.graph):
        return "int8"
    sizes = {ir.DataType.FLOAT: 0, ir.DataType.FLOAT16: 0}
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype in sizes:
            sizes[value.const_value.dtype] += value.const_value.size
    return "fp16" if sizes[ir.DataType.FLOAT16] > sizes[ir.DataType.FLOAT] else "fp32"


@dataclass(frozen=True)
class _Timed:
    """Seconds of each kernel, and what bounds it."""

    seconds: Seconds
    on_tensor: Booleans
    rates: Rates

    @property
    def total(self) -> Floats:
        return self.seconds.total

    def _bounds(self) -> tuple[Floats, Floats, Floats]:
        work = np.maximum(self.seconds.multiply, self.seconds.move)
        multiplies = self.seconds.multiply >= self.seconds.move
        return np.where(multiplies, work, 0.0), np.where(multiplies, 0.0, work), self.seconds.launch

    def bound_part(self, index: int) -> float:
        return float(self._bounds()[index].sum() / self.total.sum())

    def dominant(self, launches: list[Launch]) -> list[Dominant]:
        total, bounds = self.total, np.stack(self._bounds()).argmax(axis=0)
        groups: dict[tuple[str, Bound], list[int]] = {}
        for index, launch in enumerate(launches):
            groups.setdefault((launch.kind, _BOUNDS[int(bounds[index])]), []).append(index)
        found = [
            Dominant(
                operators=kind,
                bound=bound,
                count=len(members),
                part=min(float(total[members].sum() / total.sum()), 1.0),
                slowest=launches[max(members, key=lambda member: total[member])].name,
            )
            for (kind, bound), members in groups.items()
        ]
        return sorted(found, key=lambda each: -each.part)[:_DOMINANT]


def _time(
    launches: list[Launch],
    device: DeviceProfile,
    mode: PowerMode | None,
    wanted: Precision,
    asked: Precision | None,
    batch: int,
    efficiency: Efficiency,
) -> _Timed:
    """Time kernels; where the graph itself is INT8, those that it does not quantize run in FP16."""
    if not launches:
        raise InputError("no estimate: nothing in the graph depends on its inputs", "export the network again")
    table = table_of(launches)
    rates = rates_of(device, mode, wanted)
    seconds = seconds_of(table, rates, wanted, efficiency, batch)
    if wanted == "int8" and asked is None:
        floats = seconds_of(table, rates_of(device, mode, "fp16"), "fp16", efficiency, batch)
        int8 = np.array([launch.int8 for launch in launches])
        seconds = Seconds(
            np.where(int8, seconds.multiply, floats.multiply),
            np.where(int8, seconds.move, floats.move),
            seconds.launch,
        )
    return _Timed(seconds, table.is_linear & (rates.tensor_macs > 0), rates)


def _notes(mode: PowerMode | None, energy: Range | None) -> list[str]:
    notes: list[str] = []
    if mode is not None and mode.gpu_mhz is None and not mode.name.upper().startswith("MAX"):
        notes.append(f"the GPU's clock in {mode.name} is not known here: the highest was taken")
    if energy is None:
        notes.append(NO_BUDGET)
    return notes
