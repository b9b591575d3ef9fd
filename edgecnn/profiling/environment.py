"""What a latency depends on beside the model: the machine, its settings, the versions of what ran."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgecnn.profiling.records import Environment

_PACKAGES = ("edgecnn", "numpy", "opencv-python", "onnxruntime", "tensorrt")
_BUSY = 0.5
_SPREAD = 0.25
_DRIFT = 0.10


def read_environment(root: Path = Path("/")) -> Environment:
    """The environment now.

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
        taken_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=_machine(root),
        architecture=platform.machine(),
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory(root),
        governor=_read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        load_average=os.getloadavg()[0],
        jetpack=_read(root / "etc/nv_tegra_release").split(", GCID")[0].removeprefix("# ") or None,
        power_mode=_read(root / "var/lib/nvpmodel/status") or None,
        packages=packages,
    )


def warnings_for(environment: Environment, total_ns: Sequence[int]) -> tuple[str, ...]:
    """Reasons why the figures may not be repeatable, each with what to do about it.

    Args:
        environment: As it was when the measurement began.
        total_ns: The time of each frame, in order.
    """
    found: list[str] = []
    if environment.load_average > _BUSY * environment.cores:
        found.append(
            f"the machine was busy: load {environment.load_average:.1f} on {environment.cores} cores; "
            "stop other programs and measure again"
        )
    if environment.governor not in (None, "performance"):
        found.append(
            f"the CPU's clock is not fixed (governor {environment.governor}); on a Jetson run: sudo jetson_clocks"
        )
    middle = statistics.median(total_ns)
    quartiles = statistics.quantiles(total_ns, n=4)
    if quartiles[2] - quartiles[0] > _SPREAD * middle:
        spread = (quartiles[2] - quartiles[0]) / middle
        found.append(
            f"the times spread widely: the middle half covers {spread:.0%} of the median; "
            "measure longer on a quiet machine"
        )
    third = len(total_ns) // 3
    drift = statistics.median(total_ns[-third:]) / statistics.median(total_ns[:third]) - 1
    if abs(drift) > _DRIFT:
        found.append(
            f"the times drifted by {drift:+.0%} from the first third to the last; watch clocks and temperature"
        )
    return tuple(found)


def _machine(root: Path) -> str:
    board = _read(root / "proc/device-tree/model")
    if board:
        return board
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _memory(root: Path) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _read(path: Path) -> str:
    """A system file's text without the NUL that device trees end in; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
