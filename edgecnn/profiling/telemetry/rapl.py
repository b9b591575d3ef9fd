"""Power of a PC's processor from its energy counters (RAPL), of Intel and AMD."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from edgecnn.profiling.telemetry.reader import OpenFile, SensorReader, place_name, read_text

# The processor's own parts are in its package already; memory and the whole platform are not.
_WHOLE = ("package", "psys", "dram")


class CounterSensor:
    """Mean power since the last reading, mW, from a counter of microjoules that begins anew at its end.

    Args:
        name: Of the series.
        counter: The file of the counter.
        wraps_at: What it counts to.
        now_ns: Clock.

    Raises:
        OSError: The counter cannot be opened.
    """

    def __init__(
        self, name: str, counter: Path, wraps_at: float, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.name = name
        self._file = OpenFile(counter)
        self._wraps_at = wraps_at
        self._now_ns = now_ns
        self._last = (now_ns(), self._file.number())

    def read(self) -> float | None:
        """The value now; None where the counter gave none now or before."""
        (begin_ns, before), (end_ns, after) = self._last, (self._now_ns(), self._file.number())
        self._last = (end_ns, after)
        if before is None or after is None or end_ns <= begin_ns:
            return None
        used = after - before
        if used < 0:
            used += self._wraps_at
        if used < 0:  # where it begins anew is not known
            return None
        # Microjoules in nanoseconds: a thousand watts' worth, which is a million milliwatts.
        return used / (end_ns - begin_ns) * 1e6

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def rapl_reader(root: Path) -> SensorReader:
    """Packages, memory and platform, as far as the processor counts them."""
    sensors: list[CounterSensor] = []
    missing: list[str] = []
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        kind = read_text(zone / "name")
        if not kind.startswith(_WHOLE):
            continue
        owner = zone.name.split(":")[1]
        name = f"{place_name(kind)}_mw" if zone.name.count(":") == 1 else f"{place_name(kind)}_{owner}_mw"
        try:
            wraps_at = float(read_text(zone / "max_energy_range_uj") or 0)
            sensors.append(CounterSensor(name, zone / "energy_uj", wraps_at))
        except PermissionError:
            missing.append(f"power of {kind}: its counter is read by root alone")
        except (OSError, ValueError):
            missing.append(f"power of {kind}: its counter cannot be read")
    if not sensors and not missing:
        missing.append("power of the processor: the system has no energy counter (RAPL)")
    return SensorReader(sensors, missing)
