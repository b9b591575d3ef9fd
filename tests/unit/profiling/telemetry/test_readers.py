"""Sensors of boards that are not here, from folders that stand for their root."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecnn.core.device import PowerMode
from edgecnn.profiling.telemetry import machine
from edgecnn.profiling.telemetry.power_mode import mode_from_query, read_power_mode
from edgecnn.profiling.telemetry.rapl import CounterSensor
from edgecnn.profiling.telemetry.sampler import open_reader

Plant = Callable[..., Path]
KB = 1024


def test_orin_nano(plant: Plant) -> None:
    root = plant("orin nano")
    reader = open_reader(root)
    (root / "proc/stat").write_text("cpu  150 0 100 750 100 0 0 0 0 0\ncpu0 90 0 50 360 50 0 0 0 0 0\n")
    (root / "sys/class/hwmon/hwmon1/oc3_event_cnt").write_text("19\n")
    assert reader.read() == {
        "cpu_percent": 50,
        "cpu0_percent": pytest.approx(80),
        "cpu1_percent": None,  # switched off
        "ram_bytes": 3802896 * KB,
        "swap_bytes": 600 * KB,
        "cpu0_mhz": pytest.approx(1510.4),
        "cpu_celsius": pytest.approx(50.125),
        "gpu_celsius": None,  # its zone is off
        "gpu_percent": pytest.approx(43.7),
        "gpu_mhz": pytest.approx(918),
        "dla0_active": 1,
        "vdd_in_mw": 6000,
        "vdd_cpu_gpu_cv_mw": 2000,
        "undervoltage_events": 0,
        "instantaneous_overcurrent_events": 2,
    }
    assert reader.missing == ("load of the memory controller: the program tegrastats is not there",)
    reader.close()


def test_nano_with_rails_of_jetpack_4(plant: Plant) -> None:
    reader = open_reader(plant("nano"))
    values = reader.read()
    assert (values["pom_5v_in_mw"], values["pom_5v_gpu_mw"]) == (2132, 78)
    assert (values["gpu_percent"], values["cpu_celsius"]) == (0, 39)
    assert any(sentence.startswith("throttle events") for sentence in reader.missing)


def test_what_a_jetson_lacks_is_a_sentence_each(plant: Plant) -> None:
    reader = open_reader(plant("proc", {"etc/nv_tegra_release": "# R36\n"}))
    said = "\n".join(reader.missing)
    for what in (
        "load of the GPU",
        "clock of the GPU",
        "power",
        "throttle events",
        "temperatures",
        "memory controller",
    ):
        assert what in said


def test_a_sensor_that_stops_is_a_gap(plant: Plant) -> None:
    root = plant("orin nano")
    reader = open_reader(root)
    for name in (
        "sys/devices/virtual/thermal/thermal_zone0/temp",
        "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input",
    ):
        (root / name).write_text("")
    values = reader.read()
    assert (values["cpu_celsius"], values["vdd_in_mw"], values["vdd_cpu_gpu_cv_mw"]) == (None, None, 2000)


def test_thor_has_a_clock_and_no_load(plant: Plant) -> None:
    files = {"etc/nv_tegra_release": "# R38\n", "sys/class/devfreq/gpu-gpc-0/cur_freq": "1575000000\n"}
    reader = open_reader(plant("proc", files))
    assert reader.read()["gpu_mhz"] == pytest.approx(1575)
    assert any(sentence.startswith("load of the GPU") for sentence in reader.missing)


def test_a_server(plant: Plant) -> None:
    reader = open_reader(plant("server"))
    values = reader.read()
    assert values["acpitz_celsius"] == pytest.approx(27.8)
    assert values["acpitz_2_celsius"] == pytest.approx(29.8)
    assert values["cpu_celsius"] == pytest.approx(61.25)
    assert {"package_0_mw", "dram_0_mw"} <= set(values)
    assert "core_mw" not in values


def test_counters_that_only_root_reads(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> int:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, flags)

    really = os.open
    monkeypatch.setattr(os, "open", refuse)
    reader = open_reader(plant("server"))
    assert "power of package-0: its counter is read by root alone" in reader.missing
    assert "package_0_mw" not in reader.read()


def test_power_is_the_counter_over_time_also_where_it_begins_anew(tmp_path: Path) -> None:
    counter = tmp_path / "energy_uj"
    counter.write_text("900\n")
    times = iter([0, 1_000_000, 2_000_000, 3_000_000])
    sensor = CounterSensor("package_0_mw", counter, wraps_at=1000, now_ns=lambda: next(times))
    readings: list[float | None] = []
    for text in ("950", "20", "no number"):
        counter.write_text(text)
        readings.append(sensor.read())
    # 50 and then 70 microjoules in a millisecond.
    assert readings == [pytest.approx(50), pytest.approx(70), None]


def test_clocks_of_a_large_server_are_not_all_read(plant: Plant) -> None:
    files = {f"sys/devices/system/cpu/cpufreq/policy{core}/scaling_cur_freq": "2000000\n" for core in range(20)}
    reader = machine.clock_reader(plant("proc", files))
    assert len(reader.read()) == 16
    assert reader.missing == ("clocks of the processor: only 16 of 20 are recorded",)


def test_power_mode(plant: Plant) -> None:
    assert read_power_mode(plant("orin nano")) == PowerMode(id=1, name="25W", gpu_mhz=918, default=True)
    assert mode_from_query("NV Power Mode: 15W\n0\n") == PowerMode(id=0, name="15W")
    assert mode_from_query("nothing") is None


def test_power_mode_without_its_table(plant: Plant) -> None:
    root = plant("orin nano", {"etc/nvpmodel.conf": ""})
    assert read_power_mode(root) == PowerMode(id=1, name="mode 1")
    assert read_power_mode(root / "elsewhere") is None


def test_this_machine() -> None:
    reader = open_reader()
    reader.read()
    assert reader.read()["ram_bytes"]
    reader.close()


def test_a_part_is_slowed_against_heat_where_any_of_its_devices_says_so(tmp_path: Path) -> None:
    devices = [("pwm-fan", 3), ("gpu-throttle-alert", 0), ("Processor", 0), ("Processor", 2), ("intel_powerclamp", -1)]
    for number, (kind, state) in enumerate(devices):
        folder = tmp_path / f"sys/class/thermal/cooling_device{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
        (folder / "cur_state").write_text(f"{state}\n")
    reader = machine.cooling_reader(tmp_path)
    assert reader.read() == {
        "gpu_throttle_alert_cooling_active": 0.0,
        "processor_cooling_active": 1.0,
        "intel_powerclamp_cooling_active": 0.0,
    }
    (tmp_path / "sys/class/thermal/cooling_device1/cur_state").write_text("1\n")
    assert reader.read()["gpu_throttle_alert_cooling_active"] == 1.0
    reader.close()
    assert machine.cooling_reader(tmp_path / "none").read() == {}
