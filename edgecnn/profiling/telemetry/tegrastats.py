"""Lines of NVIDIA's tegrastats, of JetPack 4 to 7: read from text, and from the program while it runs.

The forms are those that NVIDIA's developer guides describe and that users have posted; they change with every L4T.
"""

from __future__ import annotations

import math
import re
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator

from edgecnn.profiling.telemetry.reader import place_name
from edgecnn.profiling.telemetry.records import Series, TelemetryLog, unit_of

_NUMBER = r"-?\d+(?:\.\d+)?"
_BYTES = {"kB": 1024, "MB": 1024**2, "GB": 1024**3}
_MEMORY = re.compile(rf"\b(RAM|SWAP|IRAM) ({_NUMBER})/({_NUMBER})(kB|MB|GB)", re.ASCII)
_CORES = re.compile(r"\bCPU \[([^\]]*)\]")
# 12%@102, 12%, @[407,407], 3%@[1300,1300], 115, off: behind an engine's name.
_ENGINE = re.compile(
    rf"\b(EMC|GR3D|GR3D2|VIC|APE|MSENC|NVENC\d*|NVDEC\d*|NVJPG\d*|NVDLA\d*|PVA\d*|OFA|SE)(?:_FREQ)? "
    rf"(?:({_NUMBER})%)?(?:@?\[({_NUMBER}(?:,{_NUMBER})*)\]|@?({_NUMBER})(?![%\d.])|(off|OFF))?",
    re.ASCII,
)
_TEMPERATURE = re.compile(rf"([A-Za-z][\w.-]*)@({_NUMBER})C(?:/{_NUMBER}C)?(?=\s|$)", re.ASCII)
# 2132/2132 on JetPack 4, 3150mW/2971mW later; the first is the one now.
_POWER = re.compile(rf"\b([A-Za-z]\w*) ({_NUMBER})(?:mW)?/{_NUMBER}(?:mW)?(?:/{_NUMBER}(?:mW)?)?(?=\s|$)", re.ASCII)
_PLACES = {"gr3d": "gpu", "gr3d2": "gpu2", "nvdla": "dla"}
_OFFLINE_CELSIUS = -256.0
# A line this many intervals old says nothing about now.
_STALE_INTERVALS = 10


def fields_from_tegrastats(line: str) -> dict[str, float | None]:
    """The values in one line, by the names of series; whatever is in it, nothing is raised.

    A part that is off has a clock of 0 and no load; a temperature of -256 means that its zone is off.
    """
    return {name: value if value is None or math.isfinite(value) else None for name, value in _fields(line)}


def _fields(line: str) -> Iterator[tuple[str, float | None]]:
    for name, used, whole, unit in _MEMORY.findall(line):
        yield f"{name.lower()}_bytes", float(used) * _BYTES[unit]
        yield f"{name.lower()}_total_bytes", float(whole) * _BYTES[unit]
    cores = _CORES.search(line)
    if cores is not None:
        yield from _core_fields(cores.group(1).split(","))
    for name, load, clocks, clock, off in _ENGINE.findall(line):
        place = re.sub(r"^(gr3d2?|nvdla)", lambda found: _PLACES[found.group()], name.lower())
        if load:
            yield f"{place}_percent", float(load)
        if clocks or clock or off:
            yield f"{place}_mhz", max(map(float, clocks.split(","))) if clocks else float(clock or 0)
    for name, degrees in _TEMPERATURE.findall(line):
        if name.upper() != "PMIC":  # says 50 or 100 whatever happens
            yield f"{place_name(name)}_celsius", None if float(degrees) <= _OFFLINE_CELSIUS else float(degrees)
    for name, power in _POWER.findall(line):
        if name not in ("RAM", "SWAP", "IRAM") and name.upper() != "NC":
            yield f"{place_name(name)}_mw", float(power)


def _core_fields(cores: list[str]) -> Iterator[tuple[str, float | None]]:
    loads: list[float] = []
    for index, core in enumerate(cores):
        found = re.fullmatch(rf"\s*({_NUMBER})%(?:@({_NUMBER}))?\s*", core, re.ASCII)
        if found is not None:
            loads.append(float(found.group(1)))
            yield f"cpu{index}_percent", loads[-1]
            if found.group(2):
                yield f"cpu{index}_mhz", float(found.group(2))
        elif core.strip().lower() == "off":
            yield f"cpu{index}_percent", None
            yield f"cpu{index}_mhz", 0.0
    if loads:
        yield "cpu_percent", sum(loads) / len(loads)


def log_from_tegrastats(lines: Iterable[str], interval_s: float) -> TelemetryLog:
    """What a file of ``tegrastats --logfile`` says, its first line at time 0.

    Args:
        lines: Of the file; those without a value are left out.
        interval_s: The ``--interval`` that it was written with.
    """
    rows = [fields for line in lines if (fields := fields_from_tegrastats(line))]
    names = dict.fromkeys(name for row in rows for name in row)
    times = tuple(round(index * interval_s * 1e9) for index in range(len(rows)))
    return TelemetryLog(
        series=tuple(
            Series(name=name, unit=unit_of(name), times_ns=times, values=tuple(row.get(name) for row in rows))
            for name in names
        )
    )


class TegrastatsReader:
    """The program itself, for what no system file says to everyone: load of the memory controller, clocks of engines.

    Args:
        interval_s: Between its lines.

    Raises:
        OSError: There is no such program.
    """

    def __init__(self, interval_s: float = 0.1) -> None:
        self._limit_s = _STALE_INTERVALS * max(interval_s, 0.1)
        self._lock = threading.Lock()
        self._fields: dict[str, float | None] = {}
        self._at = 0.0
        self._process = subprocess.Popen(
            ["tegrastats", "--interval", str(max(round(interval_s * 1000), 1))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )
        self._thread = threading.Thread(target=self._follow, name="tegrastats", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fields = fields_from_tegrastats(line)
            with self._lock:
                self._fields, self._at = fields, time.monotonic()

    @property
    def missing(self) -> tuple[str, ...]:
        """See ``Reader.missing``."""
        with self._lock:
            if not self._fields:
                return ("load of the memory controller: tegrastats wrote nothing",)
            if "emc_percent" not in self._fields:
                return ("load of the memory controller: tegrastats says it to root alone",)
        return ()

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        with self._lock:
            fresh = time.monotonic() - self._at <= self._limit_s
            return dict(self._fields) if fresh else dict.fromkeys(self._fields)

    def close(self) -> None:
        """See ``Reader.close``."""
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
