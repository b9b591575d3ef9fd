"""What a latency depends on beside the model: the machine and its software, and what goes on there at the time."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecnn.core.device import l4t_version
from edgecnn.profiling.records import Conditions, Environment

_PACKAGES = (
    "edgecnn",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "onnxruntime",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
    "cuda-python",
)
_CPU = "sys/devices/system/cpu"
_UNKNOWN = "unknown"
# An offline zone of a Jetson says so.
_OFFLINE_CELSIUS = -256


def read_environment(root: Path = Path("/")) -> Environment:
    """The machine and what is installed.

    Args:
        root: Where the system's files are looked up; tests give a folder of their own.
    """
    packages: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Environment(
        machine=_machine(root),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory(root),
        l4t=l4t_version(_read(root / "etc/nv_tegra_release")),
        power_mode=_read(root / "var/lib/nvpmodel/status") or None,
        packages=packages,
    )


def unknown_environment() -> Environment:
    """Of a measurement that another program made elsewhere, and that does not say where."""
    return Environment(
        machine=_UNKNOWN,
        architecture=_UNKNOWN,
        system=_UNKNOWN,
        cores=0,
        memory_bytes=0,
        l4t=None,
        power_mode=None,
        packages={},
    )


def read_conditions(root: Path = Path("/")) -> Conditions:
    """What goes on now.

    Args:
        root: Where the system's files are looked up.
    """
    return Conditions(
        taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        load_average=os.getloadavg()[0],
        governor=_read(root / _CPU / "cpu0/cpufreq/scaling_governor") or None,
        clocks_mhz=_clocks(root),
        temperatures_celsius=_temperatures(root),
        throttle_events=_throttle_events(root),
    )


def _clocks(root: Path) -> dict[str, tuple[float, float, float]]:
    """Of the first core of each kind in kHz, and of what devfreq governs, as a Jetson's GPU, in Hz."""
    found: dict[str, tuple[float, float, float]] = {}
    for folder in sorted(root.glob(f"{_CPU}/cpufreq/policy*")):
        found[f"cpu {folder.name}"] = _three(folder, ("scaling_cur_freq", "scaling_min_freq", "scaling_max_freq"), 1e3)
    for folder in sorted(root.glob("sys/class/devfreq/*")):
        name = _read(folder / "device/of_node/name") or folder.name
        found[name] = _three(folder, ("cur_freq", "min_freq", "max_freq"), 1e6)
    return {name: values for name, values in found.items() if values[0]}


def _three(folder: Path, names: tuple[str, str, str], divisor: float) -> tuple[float, float, float]:
    now, least, most = (_number(folder / name) / divisor for name in names)
    return now, least, most


def _temperatures(root: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        text = _read(folder / "temp")
        if text.lstrip("-").isdigit() and (celsius := int(text) / 1000) > _OFFLINE_CELSIUS:
            found[_read(folder / "type") or folder.name] = celsius
    return found


def _throttle_events(root: Path) -> dict[str, int]:
    """A Jetson's counters of overcurrent and undervoltage, and those of an Intel processor."""
    found: dict[str, int] = {}
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        name = _read(folder / "name")
        if name.startswith("soctherm_oc"):
            found |= {f"{name} {path.name}": int(_number(path)) for path in sorted(folder.glob("oc*_event_cnt"))}
    for path in sorted(root.glob(f"{_CPU}/cpu0/thermal_throttle/*_throttle_count")):
        found[f"cpu {path.name}"] = int(_number(path))
    return found


def _machine(root: Path) -> str:
    board = _read(root / "proc/device-tree/model")
    if board:
        return board
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or _UNKNOWN


def _memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _number(path: Path) -> float:
    text = _read(path)
    return float(text) if text.isdigit() else 0.0


def _read(path: Path) -> str:
    """A system file's text without the NUL that device trees end in; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
