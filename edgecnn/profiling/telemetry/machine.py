"""What every Linux says: load and clocks of the processor, memory in use, temperatures."""

from __future__ import annotations

import re
from pathlib import Path

from edgecnn.profiling.telemetry.reader import FileSensor, OpenFile, SensorReader, place_name, read_text

# Clocks beyond these are left out: on a large server they would take longer than everything else together.
_MOST_CLOCKS = 16
_STAT_BYTES = 64 * 1024
_MEMINFO_BYTES = 4096
_KB = 1024
_OFFLINE_MILLIDEGREES = -256000
_ZONES = {"x86_pkg_temp": "cpu"}
_PROCESSOR_CHIPS = ("k10temp", "coretemp")


class ProcessorReader:
    """Load of all cores together and of each, in percent of the time since the last reading, from /proc/stat.

    Args:
        root: The system's root.
    """

    def __init__(self, root: Path) -> None:
        self.missing: tuple[str, ...] = ()
        self._file: OpenFile | None = None
        self._last: dict[str, tuple[int, int]] = {}
        try:
            self._file = OpenFile(root / "proc/stat")
        except OSError:
            self.missing = ("load of the processor: /proc/stat cannot be read",)
        else:
            self._last = self._counts()

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        if self._file is None:
            return {}
        counts = self._counts()
        values: dict[str, float | None] = {}
        for name in dict.fromkeys([*counts, *self._last]):
            idle, total = counts.get(name, (0, 0))
            idle_before, total_before = self._last.get(name, (idle, total))
            passed = total - total_before
            # A core that was switched off has no line; nothing passes within one tick of the kernel's clock.
            values[f"{name}_percent"] = 100 * max(1 - (idle - idle_before) / passed, 0) if passed > 0 else None
        self._last |= counts
        return values

    def _counts(self) -> dict[str, tuple[int, int]]:
        """Idle and all ticks, by ``cpu`` and ``cpu0`` ..."""
        assert self._file is not None
        found: dict[str, tuple[int, int]] = {}
        for line in self._file.text(_STAT_BYTES).splitlines():
            name, *fields = line.split()
            if not re.fullmatch(r"cpu\d*", name) or len(fields) < 5:
                break
            ticks = [int(field) for field in fields[:8]]  # what follows, a guest's time, is in these already
            found[name] = (ticks[3] + ticks[4], sum(ticks))
        return found

    def close(self) -> None:
        """See ``Reader.close``."""
        if self._file is not None:
            self._file.close()


class MemoryReader:
    """Memory in use that cannot be given back, and swap in use, from /proc/meminfo.

    Args:
        root: The system's root.
    """

    def __init__(self, root: Path) -> None:
        self.missing: tuple[str, ...] = ()
        self._file: OpenFile | None = None
        try:
            self._file = OpenFile(root / "proc/meminfo")
        except OSError:
            self.missing = ("memory in use: /proc/meminfo cannot be read",)

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        if self._file is None:
            return {}
        said = dict(re.findall(r"^(\w+): +(\d+) kB", self._file.text(_MEMINFO_BYTES), re.MULTILINE | re.ASCII))
        kilobytes = {name: int(value) for name, value in said.items()}
        values: dict[str, float | None] = {}
        for series, whole, free in (("ram_bytes", "MemTotal", "MemAvailable"), ("swap_bytes", "SwapTotal", "SwapFree")):
            both = whole in kilobytes and free in kilobytes
            values[series] = float((kilobytes[whole] - kilobytes[free]) * _KB) if both else None
        return values

    def close(self) -> None:
        """See ``Reader.close``."""
        if self._file is not None:
            self._file.close()


def clock_reader(root: Path) -> SensorReader:
    """Clocks of the processor, one for each group of cores that share it, named after the first of them."""
    policies = sorted(
        (root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*"), key=lambda path: int(path.name[6:])
    )
    sensors: list[FileSensor] = []
    for policy in policies[:_MOST_CLOCKS]:
        try:
            sensors.append(FileSensor(f"cpu{policy.name[6:]}_mhz", policy / "scaling_cur_freq", 1e-3))
        except OSError:
            continue
    missing: list[str] = []
    if not sensors:
        missing.append("clocks of the processor: the system has no cpufreq")
    elif len(policies) > _MOST_CLOCKS:
        missing.append(f"clocks of the processor: only {_MOST_CLOCKS} of {len(policies)} are recorded")
    return SensorReader(sensors, missing)


def temperature_reader(root: Path) -> SensorReader:
    """Temperatures of all thermal zones but the power controller's, which says the same all the time."""
    sensors: list[FileSensor] = []
    missing: list[str] = []
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"), key=lambda path: (len(path.name), path.name))
    zones = zones or sorted((root / "sys/devices/virtual/thermal").glob("thermal_zone*"))
    for zone in zones:
        kind = re.sub(r"[-_](therm|thermal)$", "", read_text(zone / "type"), flags=re.IGNORECASE)
        if not kind or kind.upper().startswith("PMIC"):
            continue
        place = _ZONES.get(kind, place_name(kind))
        taken = sum(sensor.name.startswith(f"{place}_") for sensor in sensors)
        name = f"{place}_celsius" if not taken else f"{place}_{taken + 1}_celsius"
        try:
            sensors.append(FileSensor(name, zone / "temp", 1e-3, invalid=_OFFLINE_MILLIDEGREES))
        except OSError:
            missing.append(f"temperature of {kind}: {zone.name} cannot be read")
    if not any(sensor.name == "cpu_celsius" for sensor in sensors):
        sensors += _chip_sensors(root)
    if not sensors:
        missing.append("temperatures: the system has no thermal zone")
    return SensorReader(sensors, missing)


class CoolingSensor:
    """Whether the system makes a part slower, as it is too hot.

    Args:
        name: Of the series.
        paths: ``cur_state`` of all cooling devices of one type; 0 is no cooling.

    Raises:
        OSError: One cannot be opened.
    """

    def __init__(self, name: str, paths: list[Path]) -> None:
        self.name = name
        self._files = [OpenFile(path) for path in paths]

    def read(self) -> float | None:
        """1 or 0."""
        states = [state for file in self._files if (state := file.number()) is not None]
        return float(max(states) > 0) if states else None

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def cooling_reader(root: Path) -> SensorReader:
    """Which parts are made slower against heat: the kernel's cooling devices (sysfs-class-thermal) but fans."""
    kinds: dict[str, list[Path]] = {}
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind = read_text(device / "type")
        if kind and "fan" not in kind.lower():
            kinds.setdefault(place_name(kind), []).append(device / "cur_state")
    sensors: list[CoolingSensor] = []
    missing: list[str] = []
    for kind, paths in kinds.items():
        try:
            sensors.append(CoolingSensor(f"{kind}_cooling_active", paths))
        except OSError:
            missing.append(f"cooling by {kind}: its state cannot be read")
    return SensorReader(sensors, missing)


def _chip_sensors(root: Path) -> list[FileSensor]:
    """The processor's own sensor, where no thermal zone has it."""
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(chip / "name") in _PROCESSOR_CHIPS:
            try:
                return [FileSensor("cpu_celsius", chip / "temp1_input", 1e-3)]
            except OSError:
                continue
    return []
