"""The machine, read from a folder that stands for the root, and what makes figures doubtful."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn.profiling.environment import read_environment, warnings_for
from edgecnn.profiling.records import Environment, Profile

JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\n",
    "proc/meminfo": "MemTotal:        7802896 kB\nMemFree:          123 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:cool\n",
}
SERVER = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 2.50GHz\nmodel name\t: Some CPU\n",
    "proc/meminfo": "MemTotal:       16000000 kB\n",
}


def root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_jetson(tmp_path: Path) -> None:
    found = read_environment(root(tmp_path, JETSON))
    assert found.machine == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.memory_bytes == 7802896 * 1024
    assert found.governor == "schedutil"
    assert found.jetpack == "R36 (release), REVISION: 4.3"
    assert found.power_mode == "pmode:0002 fmode:cool"


def test_a_server(tmp_path: Path) -> None:
    found = read_environment(root(tmp_path, SERVER))
    assert (found.machine, found.memory_bytes) == ("Some CPU @ 2.50GHz", 16000000 * 1024)
    assert (found.governor, found.jetpack, found.power_mode) == (None, None, None)


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    found = read_environment(tmp_path)
    assert found.machine == (platform.processor() or "unknown")
    assert (found.memory_bytes, found.governor, found.jetpack, found.power_mode) == (0, None, None, None)
    assert found.cores >= 1
    assert found.load_average >= 0
    assert found.taken_at.endswith("+00:00")
    assert {"edgecnn", "numpy", "onnxruntime"} <= set(found.packages)
    assert found.architecture in found.model_dump_json()


def test_files_that_may_not_be_read_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "etc" / "nv_tegra_release").mkdir(parents=True)
    assert read_environment(tmp_path).jetpack is None


@pytest.fixture
def quiet(profile_of: Callable[..., Profile]) -> Environment:
    return profile_of([1_000_000]).environment


STEADY = [3_000_000 + index % 7 for index in range(200)]


def test_steady_times_on_a_quiet_machine_are_not_warned_of(quiet: Environment) -> None:
    assert warnings_for(quiet, STEADY) == ()
    assert warnings_for(quiet.model_copy(update={"governor": "performance"}), STEADY) == ()


@pytest.mark.parametrize(
    ("change", "times", "warning"),
    [
        ({"load_average": 3.1}, STEADY, "the machine was busy: load 3.1 on 6 cores"),
        ({"governor": "ondemand"}, STEADY, "the CPU's clock is not fixed (governor ondemand)"),
        ({}, [3_000_000, 4_500_000] * 100, "the middle half covers 40% of the median"),
        ({}, np.linspace(3.0e6, 3.6e6, 300).astype(int).tolist(), "the times drifted by +13%"),
        ({}, [3_000_000] * 100 + [3_450_000] * 50, "the times drifted by +15% from the first third to the last"),
        ({}, [3_450_000] * 50 + [3_000_000] * 100, "the times drifted by -13%"),
    ],
)
def test_each_doubt_has_its_warning(quiet: Environment, change: dict[str, Any], times: list[int], warning: str) -> None:
    (found,) = warnings_for(quiet.model_copy(update=change), times)
    assert warning in found


def test_doubts_add_up(quiet: Environment) -> None:
    busy = quiet.model_copy(update={"load_average": 6.0, "governor": "powersave"})
    assert len(warnings_for(busy, [1_000_000] * 50 + [2_000_000] * 50 + [4_000_000] * 50)) == 4


@pytest.mark.parametrize("load", [0.0, 3.0])
def test_half_of_the_cores_may_be_busy(quiet: Environment, load: float) -> None:
    assert warnings_for(quiet.model_copy(update={"load_average": load}), STEADY) == ()
