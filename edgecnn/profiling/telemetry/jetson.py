"""What a Jetson's system files say beside those of every Linux: its GPU, DLA, power rails and throttling."""

from __future__ import annotations

import re
from pathlib import Path

from edgecnn.profiling.telemetry.reader import FileSensor, OpenFile, Sensor, SensorReader, place_name, read_text

# Names of the GPU's node in the device tree: TX2, Xavier, Orin on JetPack 5, Thor, and Nano or Orin on JetPack 6.
_GPU_NODES = ("gp10b", "gv11b", "ga10b", "gb10b", "gpu")
# Thor's GPU has a clock for each graphics cluster, and no load here: NVML has it.
_THOR_CLOCK = "gpu-gpc-0"
_OVERCURRENT = {
    "oc1_event_cnt": "undervoltage_events",
    "oc2_event_cnt": "average_overcurrent_events",
    "oc3_event_cnt": "instantaneous_overcurrent_events",
}
_CHANNELS = (1, 2, 3)  # a fourth, 7, is the sum of the shunts' voltages, and no rail


class RailSensor:
    """Power of a rail, mW, from its voltage and current.

    Raises:
        OSError: One of the files cannot be opened.
    """

    def __init__(self, name: str, millivolts: Path, milliamperes: Path) -> None:
        self.name = name
        self._millivolts = OpenFile(millivolts)
        self._milliamperes = OpenFile(milliamperes)

    def read(self) -> float | None:
        """The value now."""
        voltage, current = self._millivolts.number(), self._milliamperes.number()
        return None if voltage is None or current is None else voltage * current / 1000

    def close(self) -> None:
        """Close the files."""
        self._millivolts.close()
        self._milliamperes.close()


class StateSensor:
    """Whether a part is on, as its power management says.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._file = OpenFile(path)

    def read(self) -> float | None:
        """1 or 0."""
        state = self._file.text()
        return float(state == "active") if state else None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def gpu_reader(root: Path) -> SensorReader:
    """The GPU's load and clock."""
    sensors: list[Sensor] = []
    missing: list[str] = []
    devices = sorted((root / "sys/class/devfreq").glob("*"))
    device = next((each for each in devices if read_text(each / "device/of_node/name") in _GPU_NODES), None)
    clocks = device or next((each for each in devices if each.name == _THOR_CLOCK), None)
    if device is None:
        missing.append("load of the GPU: no device in /sys/class/devfreq is the GPU")
    else:
        _add(sensors, missing, "load of the GPU", "gpu_percent", device / "device/load", 0.1)
    if clocks is None:
        missing.append("clock of the GPU: no device in /sys/class/devfreq is the GPU")
    else:
        _add(sensors, missing, "clock of the GPU", "gpu_mhz", clocks / "cur_freq", 1e-6)
    return SensorReader(sensors, missing)


def dla_reader(root: Path) -> SensorReader:
    """Whether each DLA is on: NVIDIA says no load of it."""
    sensors: list[Sensor] = []
    missing: list[str] = []
    platform = root / "sys/devices/platform"
    # Below the host controller, which JetPack 6 puts below a bus.
    found = {
        path.parents[1].name: path
        for depth in ("*", "*/*", "*/*/*")
        for path in platform.glob(f"{depth}nvdla[01]/power/runtime_status")
    }
    for name, path in sorted(found.items()):
        try:
            sensors.append(StateSensor(f"dla{name[-1]}_active", path))
        except OSError:
            missing.append(f"state of DLA {name[-1]}: {name}/power/runtime_status cannot be read")
    return SensorReader(sensors, missing)


def power_reader(root: Path) -> SensorReader:
    """Power of every rail that has a sensor, mW."""
    sensors: list[Sensor] = []
    missing: list[str] = []
    for chip in sorted((root / "sys/bus/i2c/devices").glob("*")):
        for monitor in sorted((chip / "hwmon").glob("hwmon*")) if read_text(chip / "name") == "ina3221" else ():
            for channel in _CHANNELS:
                rail = read_text(monitor / f"in{channel}_label")
                if not rail or "NC" in re.split(r"\W|_", rail.upper()):
                    continue
                try:
                    volts, amperes = monitor / f"in{channel}_input", monitor / f"curr{channel}_input"
                    sensors.append(RailSensor(f"{place_name(rail)}_mw", volts, amperes))
                except OSError:
                    missing.append(f"power of {rail}: {monitor.name} cannot be read")
        # JetPack 4 has a driver of its own, under another subsystem.
        for label in sorted(chip.glob("iio:device*/rail_name_*")):
            rail, channel = read_text(label), label.name.rpartition("_")[2]
            if rail and "NC" not in re.split(r"\W|_", rail.upper()):
                path = label.parent / f"in_power{channel}_input"
                _add(sensors, missing, f"power of {rail}", f"{place_name(rail)}_mw", path, 1.0)
    if not sensors and not missing:
        missing.append("power: the board has no sensor of its rails that can be read")
    return SensorReader(sensors, missing)


def throttle_reader(root: Path) -> SensorReader:
    """How often the clocks were cut for the supply's sake, counted from now on."""
    sensors: list[Sensor] = []
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read_text(monitor / "name") != "soctherm_oc":
            continue
        for file, name in _OVERCURRENT.items():
            try:
                sensors.append(FileSensor(name, monitor / file, 1.0, since_begin=True))
            except OSError:
                continue
    return SensorReader(sensors, () if sensors else ("throttle events: the system does not count them (soctherm_oc)",))


def _add(sensors: list[Sensor], missing: list[str], what: str, name: str, path: Path, scale: float) -> None:
    try:
        sensors.append(FileSensor(name, path, scale))
    except OSError:
        missing.append(f"{what}: {path.name} of {path.parent.name} cannot be read")
