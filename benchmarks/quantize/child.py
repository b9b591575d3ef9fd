"""Run a program and know its time and memory.

The program is started by a small process, this file run as a script. Linux counts into a program's peak what its
parent held when it was started, and the benchmark itself holds hundreds of megabytes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_GIB = 1 << 30


@dataclass(frozen=True)
class Finished:
    """A program that has ended.

    Attributes:
        code: Its exit code; negative for the signal that ended it.
        seconds: From start to end, by the wall's clock.
        peak_mb: The largest resident set of it or of one of its children, 10^6 bytes.
        out: Standard output.
        log: Standard error.
    """

    code: int
    seconds: float
    peak_mb: float
    out: str
    log: str

    @property
    def reason(self) -> str:
        """In one line why it failed: its error message, its last words, or the signal."""
        if self.code == -signal.SIGKILL:
            return f"stopped after {self.seconds:.0f} s and {self.peak_mb:.0f} MB"
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
        return (errors or lines)[-1][:300] if lines else f"exit code {self.code} without a word"


def run_child(
    command: Sequence[str | Path],
    folder: Path,
    *,
    timeout_s: float,
    memory_gib: float,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        command: The program and its arguments.
        folder: Where its output is kept, as ``out.txt`` and ``log.txt``.
        timeout_s: It is killed after this.
        memory_gib: It gets no more data memory than this, so that the machine lives on.
        environment: Variables beside the present ones.

    Raises:
        FileNotFoundError: There is no such program.
    """
    if not Path(command[0]).exists():
        raise FileNotFoundError(f"no {command[0]}")
    out, log, report = folder / "out.txt", folder / "log.txt", folder / "spent.json"
    with out.open("wb") as out_stream, log.open("wb") as log_stream:
        subprocess.run(
            [sys.executable, "-I", "-S", __file__, str(report), str(timeout_s), str(memory_gib), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=out_stream,
            stderr=log_stream,
            env={**os.environ, **(environment or {})},
            check=True,
        )
    spent = json.loads(report.read_text(encoding="utf-8"))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, log)]
    return Finished(spent["code"], spent["seconds"], spent["peak_mb"], *texts)


def _launch(report: str, timeout_s: str, memory_gib: str, *command: str) -> None:
    limit = int(float(memory_gib) * _GIB)
    begin = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
    killer = threading.Timer(float(timeout_s), os.killpg, (process.pid, signal.SIGKILL))
    killer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    spent = {
        "code": process.returncode,
        "seconds": time.perf_counter() - begin,
        "peak_mb": usage.ru_maxrss * 1024 / 1e6,  # Linux counts in KiB
    }
    Path(report).write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    _launch(*sys.argv[1:])
