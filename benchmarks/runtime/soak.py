"""Cameras for half an hour with everything else failing: ``python -m benchmarks.runtime.soak``.

Two come from a server that is killed again and again, one of them with wrong bytes in its stream; the MQTT broker is
stopped each third time as well. Ends with 1 where the program ended, where threads, files or processes grew, where
frames are unaccounted for or events did not arrive exactly once, and where memory grows by more than 1 MB in ten
minutes after the first five.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.runtime.broker import Broker, Consumer
from benchmarks.runtime.parts import ROOT, RTSP_SERVER, bundle

_WARM_UP_S = 300.0
_SLOPE_MB = 1.0
_GROWTH = 4
_TOPIC = "cameras/soak"
# The broker is away at the first kill of the server, and then at each third.
_BROKER_EVERY = 3
_ARRIVAL_S = 30.0


@dataclass(frozen=True)
class Look:
    """The process at one time."""

    seconds: float
    resident_mb: float
    threads: int
    files: int
    children: int


@dataclass(frozen=True)
class Soaked:
    """What came of it."""

    code: int
    looks: list[Look]
    kills: int
    report: dict[str, Any]
    said: str
    arrived: dict[str, int]


def soak(model: Path, seconds: float, every_s: float) -> Soaked:
    """Run for so long, and kill the server every so often.

    Args:
        model: A bundle.
        seconds: In all.
        every_s: From one start of the server to its end; it is away for a fifth of that.
    """
    server, port = _serve(0)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        broker = Broker(Path(folder) / "broker")
        broker.start()
        consumer = Consumer(broker.port, _TOPIC)
        command = [sys.executable, "-m", "edgecnn", "run", str(model), "--threads", "1", "--json"]
        command += ["--source", f"door=rtsp://127.0.0.1:{port}/test", "--source", "yard=synthetic://640x480@10"]
        command += ["--source", f"gate=rtsp://127.0.0.1:{port}/corrupt"]
        command += ["--mqtt", f"mqtt://127.0.0.1:{broker.port}/{_TOPIC}", "--mqtt-spool", f"{folder}/spool"]
        with out.open("w") as output, err.open("w") as errors:
            running = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT)
        looks: list[Look] = []
        begin = time.monotonic()
        kills = 0
        try:
            while (now := time.monotonic() - begin) < seconds and running.poll() is None:
                if now >= (kills + 1) * every_s and now + every_s < seconds:
                    if kills % _BROKER_EVERY == 0:
                        broker.stop()
                    kills += 1
                    server.kill()
                    server.wait()
                    time.sleep(every_s / 5)
                    broker.start()
                    server, _ = _serve(port)
                time.sleep(min(1.0, every_s / 5))
                if running.poll() is None:
                    looks.append(_look(running.pid, time.monotonic() - begin))
            running.send_signal(signal.SIGINT)
            code = running.wait(10)
            text = out.read_text(encoding="utf-8")
            report = json.loads(text) if text else {}
            arrived = _arrived(consumer, report)
        finally:
            running.kill()
            consumer.close()
            broker.stop()
            server.kill()
            server.wait()
        return Soaked(code, looks, kills, report, err.read_text(encoding="utf-8"), arrived)


def _arrived(consumer: Consumer, report: dict[str, Any]) -> dict[str, int]:
    """Events that came to the consumer, by source, once all have or none come any more."""
    wanted = {name: source["processed"] for name, source in report.get("sources", {}).items()}
    end = time.monotonic() + _ARRIVAL_S
    while True:
        found = Counter(event["source"] for event in list(consumer.events))
        if found == wanted or time.monotonic() > end:
            return dict(found)
        time.sleep(0.1)


def complaints(soaked: Soaked, warm_up_s: float = _WARM_UP_S) -> list[str]:
    """What is wrong with it; nothing where all is well."""
    found: list[str] = []
    if soaked.code:
        found.append(f"the program ended with {soaked.code}: {soaked.said[-500:]}")
    for name, source in soaked.report.get("sources", {}).items():
        known = source["processed"] + sum(source["dropped"].values())
        if known != source["received"]:
            found.append(f"{name}: {source['received']} frames came, and {known} are accounted for")
        if source["processed"] != soaked.arrived.get(name):
            found.append(f"{name}: {source['processed']} events, of which {soaked.arrived.get(name)} arrived")
        if name != "yard" and source["reconnects"] < soaked.kills:
            found.append(f"{name}: {soaked.kills} kills of the server, and {source['reconnects']} reconnects")
    third = max(len(soaked.looks) // 3, 1)
    for what in ("threads", "files", "children"):
        parts = (soaked.looks[:third], soaked.looks[-third:])
        first, last = (max(getattr(look, what) for look in part) for part in parts)
        if last > first + _GROWTH * (what == "files"):
            found.append(f"{what} grew from {first} to {last}")
    warm = [look for look in soaked.looks if look.seconds > warm_up_s]
    if len(warm) > 2:
        slope = statistics.linear_regression(
            [look.seconds / 600 for look in warm], [look.resident_mb for look in warm]
        ).slope
        print(f"memory: {slope:+.2f} MB in ten minutes (bar {_SLOPE_MB:g})")
        if slope > _SLOPE_MB:
            found.append(f"memory grows by {slope:.2f} MB in ten minutes")
    return found


def _serve(port: int) -> tuple[subprocess.Popen[str], int]:
    server = subprocess.Popen([*RTSP_SERVER, str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    line = server.stdout.readline().strip()
    server.stdout.close()
    if not line.isdigit():
        sys.exit(f"no RTSP server: {line}")
    return server, int(line)


def _look(process: int, seconds: float) -> Look:
    place = Path(f"/proc/{process}")
    status = (place / "status").read_text(encoding="ascii")
    values = {name: int(status.partition(f"{name}:")[2].split()[0]) for name in ("VmRSS", "Threads")}
    children = (place / "task" / str(process) / "children").read_text(encoding="ascii")
    tasks = [path / "children" for path in (place / "task").iterdir()]
    children = " ".join(path.read_text(encoding="ascii") for path in tasks if path.exists())
    files = len(os.listdir(place / "fd"))
    return Look(seconds, values["VmRSS"] / 1024, values["Threads"], files, len(children.split()))


def main() -> None:
    """Soak and say what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=20.0, help="seconds between kills of the server")
    parser.add_argument("--keep", type=Path, help="where the looks at the process go, as JSON")
    options = parser.parse_args()
    soaked = soak(bundle("mobilenet"), 60 * options.minutes, options.every)
    if options.keep is not None:
        options.keep.write_text(json.dumps([asdict(look) for look in soaked.looks]), encoding="utf-8")
    last = soaked.looks[-1]
    print(f"{soaked.kills} kills of the server; {sum(soaked.arrived.values())} events; at the end {last}")
    found = complaints(soaked)
    for line in found:
        print(line)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
