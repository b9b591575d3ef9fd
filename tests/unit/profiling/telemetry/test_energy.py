"""Energy of power curves whose integral is known."""

from __future__ import annotations

import pytest

from edgecnn.profiling.telemetry.energy import energy_of, mean_power_mw, total_rails
from edgecnn.profiling.telemetry.records import Series, TelemetryLog

SECOND = 1_000_000_000


def log_of(missing: tuple[str, ...] = (), **rails: list[float | None]) -> TelemetryLog:
    """Rails by their name without the unit, sampled once a second from time 0."""
    return TelemetryLog(
        series=tuple(
            Series(
                name=f"{name}_mw",
                unit="mW",
                times_ns=tuple(index * SECOND for index in range(len(values))),
                values=tuple(values),
            )
            for name, values in rails.items()
        ),
        missing=missing,
    )


def test_a_ramp() -> None:
    # From 0 to 10 W in 10 s: 50 J, for 100 frames.
    energy = energy_of(log_of(vdd_in=[1000.0 * step for step in range(11)]), 0, 10 * SECOND, 100, idle_mw=2000)
    assert energy.rails == ("vdd_in_mw",)
    assert energy.scope == "the module's input"
    assert energy.mean_mw == pytest.approx(5000)
    assert energy.joules_a_frame == pytest.approx(0.5)
    assert energy.frames_a_watt == pytest.approx(2)
    assert energy.net_joules_a_frame == pytest.approx(0.3)
    assert energy.net_frames_a_watt == pytest.approx(1 / 0.3)
    assert energy.reason == ""


def test_a_part_of_a_ramp_between_samples() -> None:
    log = log_of(vdd_in=[1000.0 * step for step in range(11)])
    assert mean_power_mw(log, 2 * SECOND + SECOND // 2, 3 * SECOND + SECOND // 2) == pytest.approx(3000)
    assert mean_power_mw(log, 2 * SECOND + SECOND // 4, 2 * SECOND + SECOND // 2) == pytest.approx(2375)


def test_a_short_gap_is_bridged_and_a_long_one_is_not() -> None:
    values: list[float | None] = [4000.0] * 101
    values[50] = None
    assert mean_power_mw(log_of(vdd_in=values), 0, 100 * SECOND) == pytest.approx(4000)
    values[30:70] = [None] * 40
    energy = energy_of(log_of(vdd_in=values), 0, 100 * SECOND, 100, None)
    assert energy.mean_mw is None
    assert energy.reason == "energy: vdd_in_mw gave no value for 41.0 s of 100.0 s"


@pytest.mark.parametrize(
    ("rails", "total"),
    [
        (("vdd_in", "vdd_cpu_gpu_cv", "vdd_soc"), ("vdd_in_mw",)),
        (("pom_5v_in", "pom_5v_gpu", "pom_5v_cpu"), ("pom_5v_in_mw",)),
        (
            ("vdd_gpu_soc", "vdd_cpu_cv", "vin_sys_5v0", "vddq_vdd2_1v8ao"),
            ("vdd_gpu_soc_mw", "vdd_cpu_cv_mw", "vin_sys_5v0_mw"),
        ),
        (("vin", "vdd_gpu", "vdd_cpu_soc_mss", "vin_sys_5v0"), ("vin_mw",)),
        (("package_0", "core_0", "dram_0", "gpu_board"), ("dram_0_mw", "gpu_board_mw", "package_0_mw")),
        (("vdd_soc",), ()),
    ],
)
def test_which_rails_make_the_total(rails: tuple[str, ...], total: tuple[str, ...]) -> None:
    assert total_rails(log_of(**{rail: [1.0] for rail in rails}))[0] == total


def test_sums_of_rails() -> None:
    log = log_of(
        vdd_gpu_soc=[3000.0] * 5, vdd_cpu_cv=[2000.0] * 5, vin_sys_5v0=[4000.0] * 5, vddq_vdd2_1v8ao=[900.0] * 5
    )
    assert mean_power_mw(log, 0, 4 * SECOND) == pytest.approx(9000)


def test_without_a_sensor() -> None:
    energy = energy_of(log_of(missing=("fan: none", "power: no rails"), vdd_soc=[1.0]), 0, SECOND, 1, None)
    assert (energy.joules_a_frame, energy.reason) == (None, "power: no rails")
    assert energy_of(TelemetryLog(), 0, SECOND, 1, None).reason == "power: there is no sensor of it"


@pytest.mark.parametrize(
    ("frames", "end_ns", "idle", "reason"),
    [
        (0, 10 * SECOND, None, "energy: no frame was processed"),
        (5, 0, None, "energy: no frame was processed"),
        (5, 10 * SECOND, None, "idle power was not measured"),
        (5, 10 * SECOND, 9000, "idle power was not below that of the run"),
    ],
)
def test_why_a_figure_is_not_there(frames: int, end_ns: int, idle: float | None, reason: str) -> None:
    energy = energy_of(log_of(vdd_in=[4000.0] * 11), 0, end_ns, frames, idle)
    assert energy.net_joules_a_frame is None
    assert energy.reason == reason


def test_times_without_samples() -> None:
    energy = energy_of(log_of(vdd_in=[4000.0] * 11), 20 * SECOND, 30 * SECOND, 5, None)
    assert energy.reason == "energy: vdd_in_mw gave no value in that time"
