"""All sinks of one run, as a process: what they leave behind, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import pytest

Run = Any  # the fixture edgecnn of conftest.py
INPUT, ENVIRONMENT = 2, 3
LONG_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return bytes(answer.read())


def wait_for(found: Any) -> Any:
    end = time.monotonic() + LONG_S
    while True:
        try:
            if result := found():
                return result
        except (urllib.error.URLError, ConnectionError):
            pass
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_at_once_end_whole_on_a_signal(
    request: pytest.FixtureRequest, digits: Path, cache: Path, tmp_path: Path, number: int
) -> None:
    for package, extra in (("paho", "mqtt"), ("uvicorn", "serve"), ("prometheus_client", "serve")):
        pytest.importorskip(package, reason=f"pip install 'edgecnn[{extra}]'")
    page, metrics, nobody = free_port(), free_port(), free_port()
    command = [
        *(sys.executable, "-m", "edgecnn", "run", digits, "--source", "door=synthetic://320x240@10"),
        *("--events", tmp_path / "events.jsonl", "--events-rotate", "2kB:500", "--save", tmp_path / "out.mkv"),
        *("--page", str(page), "--metrics", str(metrics)),
        *("--mqtt", f"mqtt://user:geheim@127.0.0.1:{nobody}/cameras/door", "--mqtt-spool", tmp_path / "spool"),
    ]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "EDGECNN_CACHE": str(cache)}
    )
    request.addfinalizer(running.kill)
    exposed = wait_for(
        lambda: (
            (text := get(f"http://127.0.0.1:{metrics}/metrics").decode())
            and re.search(r'sink_results_written_total\{sink="mqtt"\} [1-9]\d', text)
            and text
        )
    )
    assert 'edgecnn_sink_up{sink="events"} 1.0' in exposed
    assert json.loads(get(f"http://127.0.0.1:{page}/status"))["title"].startswith("digits-lenet5 (int8)")
    assert get(f"http://127.0.0.1:{page}/picture?source=door").startswith(b"\xff\xd8")
    running.send_signal(number)
    _, said = running.communicate(timeout=LONG_S)
    assert running.returncode == 0, said
    assert f"the run is shown at http://127.0.0.1:{page}/\n" in said
    assert said.count("cannot be reached") == 1
    assert re.search(r"\d+ events wait in .*/spool/\w+ for the next run", said)
    assert "geheim" not in said
    assert "Traceback" not in said
    files = sorted(
        tmp_path.glob("events.jsonl*"), key=lambda path: -int(path.suffix[1:]) if path.suffix != ".jsonl" else 0
    )
    events = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    assert [event["frame"] for event in events] == sorted({event["frame"] for event in events})
    assert len(events) >= 10
    assert len({event["id"].partition("/")[0] for event in events}) == 1
    video = cv2.VideoCapture(str(tmp_path / "out.mkv"))
    assert video.read()[0]
    video.release()
    assert not list(tmp_path.glob(".*"))


def test_events_into_a_pipe_that_ends_early(digits: Path, cache: Path) -> None:
    command = f"{sys.executable} -m edgecnn run {digits} --source synthetic://@30 --events - | head -n 3"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True,
        text=True,
        env={**os.environ, "EDGECNN_CACHE": str(cache)},
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--events-rotate", "1MB"), "there is no --events FILE"),
        (("--events", "x.jsonl", "--events-rotate", "many"), "is not a size"),
        (("--events", "-", "--events-rotate", "1MB"), "cannot be rotated"),
        (("--events", "-", "--json"), "is taken by --json"),
        (("--mqtt", "broker/topic"), "not of the form mqtt"),
        (("--mqtt-ca", "ca.pem"), "there is no --mqtt"),
        (("--page", "x:y"), "not of the form [HOST:]PORT"),
        (("--page", "0.0.0.0:0", "--page-token", "short"), "can be guessed"),
        (("--metrics", "99999"), "not of the form [HOST:]PORT"),
        (("--save", "out.avi"), "must end in .mp4 or .mkv"),
    ],
)
def test_what_makes_no_sense_is_refused(
    edgecnn: Run, digits: Path, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    done = edgecnn("run", digits, "--source", "synthetic://", *options, cwd=tmp_path)
    assert done.code == INPUT
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_a_disk_that_becomes_full_costs_the_events_and_no_more(edgecnn: Run, digits: Path, tmp_path: Path) -> None:
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("a small disk cannot be mounted: run the tests as root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        save, events = tmp_path / "out.mp4", disk / "events.jsonl"
        source = ("--source", "synthetic://320x240@60", "--max-frames", 150)
        done = edgecnn("run", digits, *source, "--events", events, "--save", save)
        assert done.code == ENVIRONMENT
        assert "150 of" in done.err
        assert done.err.count(f"{events}: no room left on the disk; it is tried again") <= 1
        assert "not everything was written: events" in done.err
        assert save.stat().st_size > 0
        lines = events.read_text(encoding="utf-8").splitlines()
        assert len(lines) > 10
        assert all(json.loads(line)["source"] is not None for line in lines)
    finally:
        subprocess.run(["umount", disk], check=True)
