"""The window on a display that is only in memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecnn.core.frame import Classification, Frame
from edgecnn.errors import EnvironmentMissing
from edgecnn.runtime.sinks.window import WindowSink

LONG_S = 30.0
RESULT = Classification((1,), (1.0,), ("b",))


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def frame(index: int, color: tuple[int, int, int] = (10, 200, 30)) -> Frame:
    return Frame(index, 0, np.full((240, 320, 3), color, np.uint8), "door")


@pytest.fixture
def display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("no display in memory: apt-get install xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", "800x600x24", "-fbdir", tmp_path],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as answer:
        name = f":{answer.readline().strip()}"
    monkeypatch.setenv("DISPLAY", name)
    monkeypatch.setenv("QT_X11_NO_MITSHM", "1")
    yield name
    server.terminate()
    server.wait(LONG_S)


def pixels(folder: Path) -> np.ndarray:
    """The screen, BGR, from the file that the server keeps it in: XWD, whose head says its own length."""
    content = (folder / "Xvfb_screen0").read_bytes()
    words = np.frombuffer(content[:100], ">u4")
    begin = int(words[0]) + int(words[19]) * 12
    return np.frombuffer(content[begin : begin + 800 * 600 * 4], np.uint8).reshape(600, 800, 4)[:, :, :3]


def shows(folder: Path, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels(folder).astype(int) - color).max(axis=2) < 6).sum() > 20_000)


def open_window(stop: Callable[[], None], folder: Path) -> WindowSink:
    """One that shows a frame: on a display without a window manager Qt leaves every few windows black for ever."""
    for _ in range(10):
        window = WindowSink("digits", stop)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            window.write(frame(0), RESULT, 0)
            time.sleep(0.1)
            if shows(folder, (10, 200, 30)):
                return window
        window.close()
    raise AssertionError("ten windows stayed black")


def test_the_newest_frame_is_on_the_screen(display: str, tmp_path: Path) -> None:
    stopped = threading.Event()
    window = open_window(stopped.set, tmp_path)
    window.write(frame(1, (220, 20, 60)), RESULT, 0)
    wait_for(lambda: shows(tmp_path, (220, 20, 60)))
    window.close()
    wait_for(lambda: not shows(tmp_path, (220, 20, 60)))
    assert not stopped.is_set()


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_run(display: str, tmp_path: Path, key: str) -> None:
    if shutil.which("xdotool") is None:
        pytest.skip("nothing presses keys: apt-get install xdotool")
    stopped = threading.Event()
    window = open_window(stopped.set, tmp_path)

    def press() -> bool:
        # Qt may still exchange the window that was found for another.
        subprocess.run(["xdotool", "search", "--name", "door", "windowfocus", "key", key], capture_output=True)
        return stopped.wait(0.5)

    wait_for(press)
    window.write(frame(1), RESULT, 0)
    window.close()


def test_without_a_display_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(EnvironmentMissing, match="there is no display"):
        WindowSink("digits", lambda: None)


def test_a_display_that_does_not_answer_ends_the_window_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":12345")
    window = WindowSink("digits", lambda: None)

    def write() -> None:
        for index in range(1000):
            window.write(frame(index), RESULT, 0)

    with pytest.raises(EnvironmentMissing, match=r"the window could not be opened: .*display"):
        write()
    window.close()
