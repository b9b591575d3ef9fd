"""Sampling in a thread of its own while something else runs."""

from __future__ import annotations

import importlib
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType

from edgecnn.profiling.telemetry import jetson, machine
from edgecnn.profiling.telemetry.nvml import NvmlReader
from edgecnn.profiling.telemetry.rapl import rapl_reader
from edgecnn.profiling.telemetry.reader import JoinedReader, Reader, SensorReader, read_text
from edgecnn.profiling.telemetry.records import Series, TelemetryLog, unit_of
from edgecnn.profiling.telemetry.tegrastats import TegrastatsReader


class Sampler:
    """Takes a sample of every sensor again and again between ``__enter__`` and ``__exit__``; the reader is closed then.

    Args:
        reader: Of ``open_reader``.
        interval_s: Between samples; where reading takes longer, samples are left out rather than hurried.
        most_samples: How many are kept, the newest ones; None keeps all. One is enough for ``latest``.
    """

    def __init__(self, reader: Reader, interval_s: float = 0.1, *, most_samples: int | None = None) -> None:
        self._reader = reader
        self._interval_s = interval_s
        self._rows: deque[tuple[int, dict[str, float | None]]] = deque(maxlen=most_samples)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = ""
        self._missing: tuple[str, ...] | None = None
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Sampler:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and close the reader."""
        self._stop.set()
        self._thread.join()
        self._missing = self._reader.missing
        self._reader.close()

    def log(self) -> TelemetryLog:
        """All samples that are kept, while sampling or after it."""
        with self._lock:
            rows = list(self._rows)
        times = tuple(time_ns for time_ns, _ in rows)
        names = dict.fromkeys(name for _, row in rows for name in row)
        missing = self._reader.missing if self._missing is None else self._missing
        return TelemetryLog(
            series=tuple(
                Series(name=name, unit=unit_of(name), times_ns=times, values=tuple(row.get(name) for _, row in rows))
                for name in names
            ),
            missing=(*missing, *((self._ended,) if self._ended else ())),
        )

    def latest(self) -> dict[str, float]:
        """The newest sample: what had a value then."""
        with self._lock:
            row = self._rows[-1][1] if self._rows else {}
        return {name: value for name, value in row.items() if value is not None}

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            now_ns = time.monotonic_ns()
            try:
                row = self._reader.read()
            except Exception as error:  # a measurement is not lost for its telemetry; the log says what happened
                self._ended = f"telemetry ended early: {type(error).__name__}: {error}"
                return
            with self._lock:
                self._rows.append((now_ns, row))
            due = max(due + self._interval_s, time.monotonic())
            self._stop.wait(due - time.monotonic())


def open_reader(root: Path = Path("/"), interval_s: float = 0.1) -> Reader:
    """All sensors of this machine.

    Args:
        root: Where the system's files are looked up; tests give a folder of their own, and then no program is asked.
        interval_s: How often they will be read.
    """
    readers: list[Reader] = [
        machine.ProcessorReader(root),
        machine.MemoryReader(root),
        machine.clock_reader(root),
        machine.temperature_reader(root),
        machine.cooling_reader(root),
    ]
    own = root == Path("/")
    if not is_jetson(root):
        return JoinedReader([*readers, _nvml_reader() if own else SensorReader(()), rapl_reader(root)])
    gpu = jetson.gpu_reader(root)
    readers += [gpu, jetson.dla_reader(root), jetson.power_reader(root), jetson.throttle_reader(root)]
    if own and "gpu_percent" not in gpu.read():
        readers.append(_nvml_reader())
    if own and shutil.which("tegrastats"):
        readers.append(TegrastatsReader(interval_s))
    else:
        readers.append(SensorReader((), ("load of the memory controller: the program tegrastats is not there",)))
    return JoinedReader(readers)


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether the system is a Jetson's."""
    compatible = read_text(root / "proc/device-tree/compatible")
    return (root / "etc/nv_tegra_release").is_file() or "nvidia,tegra" in compatible


def _nvml_reader() -> Reader:
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        if not Path("/proc/driver/nvidia").exists():
            return SensorReader((), ("GPU: there is no NVIDIA driver",))
        return SensorReader((), ("GPU: nvidia-ml-py is not installed: pip install 'edgecnn[nvml]'",))
    try:
        return NvmlReader(pynvml)
    except RuntimeError as error:
        return SensorReader((), (f"GPU: NVML cannot be used: {error}",))
