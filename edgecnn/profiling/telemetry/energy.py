"""From power over time to joules a frame and frames a watt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field

from edgecnn.profiling.telemetry.records import Series, TelemetryLog

# Which rails make a board's total: the first line whose rails are all there. A board's input holds everything behind
# it, so nothing is added to it.
_TOTALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("vdd_in_mw",), "the module's input"),  # TX2, Xavier NX, Orin Nano and NX
    (("pom_5v_in_mw",), "the board's input"),  # Nano
    (("vin_mw",), "the board's input"),  # Thor
    (("vdd_gpu_soc_mw", "vdd_cpu_cv_mw", "vin_sys_5v0_mw"), "the module's rails"),  # AGX Orin
    (("vdd_gpu_mw", "vdd_cpu_soc_mss_mw", "vin_sys_5v0_mw"), "the module's rails"),  # Thor without VIN
    (("gpu_mw", "cpu_mw", "soc_mw", "cv_mw", "vddrq_mw", "sys5v_mw"), "the module's rails"),  # AGX Xavier
    (("psys_mw",), "the whole computer"),
)
_PARTS = re.compile(r"gpu\d*_board_mw|package_\d+_mw|dram_\d+_mw")
# Power that is not known for longer than this part of the time makes the energy a guess.
_LONGEST_GAP = 0.1


class Energy(BaseModel):
    """Energy of a number of frames. Fields are none where they are not known, and ``reason`` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rails: tuple[str, ...] = Field(default=(), description="the series that were added up")
    scope: str = Field(default="", description="what these feed, such as: the module's input")
    mean_mw: float | None = None
    idle_mw: float | None = Field(default=None, description="what was subtracted for the net figures")
    joules_a_frame: float | None = None
    frames_a_watt: float | None = Field(default=None, description="frames a second for each watt, or frames a joule")
    net_joules_a_frame: float | None = Field(default=None, description="with idle power subtracted")
    net_frames_a_watt: float | None = None
    reason: str = ""


def energy_of(log: TelemetryLog, begin_ns: int, end_ns: int, frames: int, idle_mw: float | None) -> Energy:
    """Energy between two times.

    Power is integrated by the trapezoidal rule over the samples, and taken as constant before the first and after the
    last of them; gaps are bridged with a straight line.

    Args:
        log: With at least one series of power.
        begin_ns: Of the frames, by time.monotonic_ns.
        end_ns: Of the frames.
        frames: How many had their result between the two.
        idle_mw: Power of the same rails at rest, see ``mean_power_mw``; None where not measured.
    """
    rails, scope = total_rails(log)
    if not rails:
        said = next((sentence for sentence in log.missing if sentence.startswith("power")), "")
        return Energy(reason=said or "power: there is no sensor of it")
    if frames < 1 or end_ns <= begin_ns:
        return Energy(rails=rails, scope=scope, reason="energy: no frame was processed")
    mean_mw, reason = _mean(log, rails, begin_ns, end_ns)
    if mean_mw is None or mean_mw <= 0:
        return Energy(rails=rails, scope=scope, reason=reason or "energy: the sensors read no power")
    seconds = (end_ns - begin_ns) / 1e9
    joules = mean_mw / 1000 * seconds / frames
    energy = Energy(
        rails=rails,
        scope=scope,
        mean_mw=mean_mw,
        idle_mw=idle_mw,
        joules_a_frame=joules,
        frames_a_watt=1 / joules,
    )
    if idle_mw is None:
        return energy.model_copy(update={"reason": "idle power was not measured"})
    net = (mean_mw - idle_mw) / 1000 * seconds / frames
    if net <= 0:
        return energy.model_copy(update={"reason": "idle power was not below that of the run"})
    return energy.model_copy(update={"net_joules_a_frame": net, "net_frames_a_watt": 1 / net})


def mean_power_mw(log: TelemetryLog, begin_ns: int, end_ns: int) -> float | None:
    """Mean power of the rails that make the total, mW; None where it is not known."""
    rails, _ = total_rails(log)
    return _mean(log, rails, begin_ns, end_ns)[0] if rails and end_ns > begin_ns else None


def total_rails(log: TelemetryLog) -> tuple[tuple[str, ...], str]:
    """The series whose sum is the power of the whole, and in words what the whole is; empty where there is none."""
    names = {series.name for series in log.series}
    for rails, scope in _TOTALS:
        if names.issuperset(rails):
            return rails, scope
    parts = tuple(sorted(name for name in names if _PARTS.fullmatch(name)))
    return parts, "processor, memory and graphics cards, as far as they have sensors" if parts else ""


def _mean(log: TelemetryLog, rails: Sequence[str], begin_ns: int, end_ns: int) -> tuple[float | None, str]:
    """Mean power of the sum, or None and why."""
    total = 0.0
    for rail in rails:
        series = log.find(rail)
        assert series is not None
        points = _points(series, begin_ns, end_ns)
        if not points:
            return None, f"energy: {rail} gave no value in that time"
        gap = max(later - earlier for (earlier, _), (later, _) in pairwise(points))
        samples = sum(value is not None for value in series.values)
        if (gap > _LONGEST_GAP * (end_ns - begin_ns) and gap > 2 * _spacing(series)) or samples < 2:
            return None, f"energy: {rail} gave no value for {gap / 1e9:.1f} s of {(end_ns - begin_ns) / 1e9:.1f} s"
        area = sum((later - earlier) * (one + other) / 2 for (earlier, one), (later, other) in pairwise(points))
        total += area / (end_ns - begin_ns)
    return total, ""


def _spacing(series: Series) -> float:
    """The usual time between samples, ns."""
    steps = sorted(later - earlier for earlier, later in pairwise(series.times_ns))
    return steps[len(steps) // 2] if steps else 0


def _points(series: Series, begin_ns: int, end_ns: int) -> list[tuple[int, float]]:
    """Known values in a stretch of time, with values at both of its ends."""
    known = [(at, value) for at, value in zip(series.times_ns, series.values, strict=True) if value is not None]
    if not known or known[0][0] > end_ns or known[-1][0] < begin_ns:
        return []
    inside = [(at, value) for at, value in known if begin_ns < at < end_ns]
    return [(begin_ns, _value_at(known, begin_ns)), *inside, (end_ns, _value_at(known, end_ns))]


def _value_at(known: Sequence[tuple[int, float]], at_ns: int) -> float:
    """Between the neighbouring samples on a straight line; outside them the nearest."""
    before = [point for point in known if point[0] <= at_ns]
    after = [point for point in known if point[0] >= at_ns]
    if not before or not after:
        return (before or after)[-1 if before else 0][1]
    (early, one), (late, other) = before[-1], after[0]
    return one if late == early else one + (other - one) * (at_ns - early) / (late - early)
