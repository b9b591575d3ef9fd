"""What people hear of while a run goes on."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edgecnn.runtime import watch
from edgecnn.runtime.buffer import LATEST, WAIT
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.watch import Watch

LATE_S = 10.0


class _Watched:
    """A watch that looks often."""

    def __init__(self) -> None:
        self.metrics, self.said, self.over = Metrics(), [], threading.Event()  # type: ignore[var-annotated]
        self.board = {"gpu_celsius": 96.0, "gpu_throttle_alert_cooling_active": 0.0}
        policies = {"door": LATEST, "film": WAIT}
        self.watch = Watch(self.metrics, policies, self.over, self.said.append, None, lambda: self.board)
        self.thread = threading.Thread(target=self.watch.run, daemon=True)
        self.thread.start()

    def until(self, done: Callable[[], bool], step: Callable[[], None] = lambda: None) -> None:
        end = time.monotonic() + LATE_S
        while not done() and time.monotonic() < end:
            step()
            time.sleep(0.005)
        assert done(), self.said


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Watched]:
    monkeypatch.setattr(watch, "_LOOK_S", 0.01)
    monkeypatch.setattr(watch, "_COUNT_S", 0.05)
    made = _Watched()
    yield made
    made.watch.end()
    made.thread.join(LATE_S)
    assert not made.thread.is_alive()


def test_a_loss_and_a_return_are_a_line_each(watched: _Watched) -> None:
    door = watched.metrics.source("door")
    door.enter("running")
    time.sleep(0.05)
    door.enter("lost", "no picture for 5 s")
    watched.until(lambda: len(watched.said) == 1)
    for _ in range(3):
        door.enter("connecting")
        time.sleep(0.03)
        door.enter("lost", "refused")
        time.sleep(0.03)
    door.enter("connecting")
    door.enter("running")
    watched.until(lambda: len(watched.said) == 2)
    assert watched.said[0] == "source door: no picture for 5 s; it is tried again"
    assert re.fullmatch(r"source door: is back after \d+\.\d s", watched.said[1])


def test_overload_is_said_once_and_its_end(watched: _Watched) -> None:
    door = watched.metrics.source("door")

    def work(dropped: int) -> None:
        for _ in range(10):
            door.receive()
        door.drop("buffer", dropped)

    watched.until(lambda: len(watched.said) == 1, lambda: work(5))
    for _ in range(60):
        work(5)
        time.sleep(0.005)
    watched.until(lambda: len(watched.said) == 2, lambda: work(0))
    assert re.fullmatch(r"overload: \d+ of \d+ frames a second are dropped, .*", watched.said[0])
    assert watched.said[1] == "the overload is over: every frame is processed again"


def test_heat_is_said_once_and_its_end(watched: _Watched) -> None:
    watched.board = {"gpu_throttle_alert_cooling_active": 1.0, "gpu_celsius": 99.0}
    watched.until(lambda: len(watched.said) == 1)
    watched.board = {"gpu_throttle_alert_cooling_active": 1.0, "gpu_thermal_slowdown_active": 1.0}
    time.sleep(0.2)
    watched.board = {"gpu_throttle_alert_cooling_active": 0.0, "gpu_thermal_slowdown_active": 0.0}
    watched.until(lambda: len(watched.said) == 2)
    assert watched.said == [
        "the board is too hot and has made itself slower (gpu throttle alert cooling): better cooling, or a lower "
        "power mode",
        "the board has cooled down",
    ]


def test_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    Watch(Metrics(), {}, over, lambda _: None, 0.05).run()
    assert over.is_set()
