"""What the board says of itself: temperatures, power, load."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

# Asked now and then, from any thread. Names end in their unit: gpu_celsius, vdd_in_mw, cpu_percent.
Readings = Callable[[], Mapping[str, float]]


class Unit(NamedTuple):
    """What a reading's name ends in.

    Attributes:
        suffix: Of the name, behind an underscore.
        quantity: What it measures.
        unit: What people read.
        base: The unit without prefix, as metrics have it.
        factor: From the reading to that.
    """

    suffix: str
    quantity: str
    unit: str
    base: str
    factor: float


UNITS = (
    Unit("celsius", "temperature", "\N{DEGREE SIGN}C", "celsius", 1.0),
    Unit("mw", "power", "mW", "watts", 1e-3),
    Unit("percent", "load", "%", "ratio", 1e-2),
    Unit("mhz", "frequency", "MHz", "hertz", 1e6),
    Unit("bytes", "memory", "B", "bytes", 1.0),
    Unit("mv", "voltage", "mV", "volts", 1e-3),
    Unit("ma", "current", "mA", "amperes", 1e-3),
    Unit("rpm", "speed", "rpm", "revolutions_per_minute", 1.0),
)


def ask_board(readings: Readings | None) -> dict[str, float]:
    """What can be had just now: a sensor that is gone, or gives no number, costs no other."""
    if readings is None:
        return {}
    try:
        found = readings()
    except OSError:
        return {}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def unit_of(name: str) -> tuple[str, Unit | None]:
    """A reading's name without its unit, and the unit; None for one that is not known."""
    part, _, suffix = name.rpartition("_")
    unit = next((unit for unit in UNITS if unit.suffix == suffix), None)
    return (part, unit) if unit is not None and part else (name, None)
