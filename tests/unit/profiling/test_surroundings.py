"""Sensors while something is measured, and the energy of its frames alone."""

from __future__ import annotations

import time

import pytest

from edgecnn.profiling.records import Round, round_of
from edgecnn.profiling.surroundings import Surroundings

MS = 1_000_000


class _Board:
    """Takes 3 W at rest, and 5 W from the first call of ``work`` on."""

    def __init__(self, rail: str = "vdd_in_mw") -> None:
        self.missing = ("GPU: there is none",)
        self.closed = False
        self._rail, self._power = rail, 3000.0

    def work(self) -> None:
        self._power = 5000.0

    def read(self) -> dict[str, float | None]:
        return {self._rail: self._power, "cpu_celsius": 40.0}

    def close(self) -> None:
        self.closed = True


def rounds_of(begin_ns: int) -> tuple[Round, ...]:
    """Two, each of 10 frames of 20 ms, with a pause of 200 ms between them."""
    starts = [index * 20 * MS for index in range(10)]
    return tuple(round_of(0, begin_ns + late, 0, starts, {"infer": [20 * MS] * 10}) for late in (0, 400 * MS))


def test_energy_is_that_of_the_frames_and_rest_is_subtracted() -> None:
    board = _Board()
    with Surroundings(board) as around:
        board.work()
        time.sleep(0.3)
        begin = time.monotonic_ns()
        time.sleep(0.8)
    assert board.closed
    assert around.idle_mw == pytest.approx(3000)
    energy = around.energy(rounds_of(begin))
    assert energy.mean_mw == pytest.approx(5000)
    assert energy.joules_a_frame == pytest.approx(0.1)
    assert energy.frames_a_watt == pytest.approx(10)
    assert energy.net_joules_a_frame == pytest.approx(0.04)
    assert {series.name for series in around.telemetry.series} == {"vdd_in_mw", "cpu_celsius"}
    assert around.telemetry.missing == board.missing


def test_without_a_sensor_of_power_it_is_said_and_nothing_rests() -> None:
    board = _Board("cpu_percent")
    begin = time.monotonic()
    with Surroundings(board) as around:
        pass
    assert time.monotonic() - begin < 1.5
    energy = around.energy(rounds_of(time.monotonic_ns()))
    assert (energy.joules_a_frame, energy.reason) == (None, "power: there is no sensor of it")
