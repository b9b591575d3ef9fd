"""The machine, read from a folder that stands for the root."""

from __future__ import annotations

import platform
from pathlib import Path

from edgecnn.profiling.environment import read_conditions, read_environment

JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\n",
    "proc/meminfo": "MemTotal:        7802896 kB\nMemFree:          123 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "var/lib/nvpmodel/status": "pmode:0002 fmode:cool\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1344000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "115200\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1728000\n",
    "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
    "sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "4\n",
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
    assert (found.l4t, found.power_mode) == ("36.4.3", "pmode:0002 fmode:cool")


def test_what_goes_on_at_a_jetson(tmp_path: Path) -> None:
    found = read_conditions(root(tmp_path, JETSON))
    assert found.governor == "schedutil"
    assert found.clocks_mhz == {"cpu policy0": (1344, 115.2, 1728), "gpu": (306, 306, 1020)}
    assert found.temperatures_celsius == {"cpu-thermal": 48.5}
    assert found.throttle_events == {"soctherm_oc oc1_event_cnt": 0, "soctherm_oc oc3_event_cnt": 4}


def test_a_server(tmp_path: Path) -> None:
    found = read_environment(root(tmp_path, SERVER))
    assert (found.machine, found.memory_bytes) == ("Some CPU @ 2.50GHz", 16000000 * 1024)
    assert (found.l4t, found.power_mode) == (None, None)


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    found = read_environment(tmp_path)
    assert found.machine == (platform.processor() or "unknown")
    assert (found.memory_bytes, found.l4t, found.power_mode) == (0, None, None)
    assert found.cores >= 1
    now = read_conditions(tmp_path)
    assert (now.governor, now.clocks_mhz, now.temperatures_celsius, now.throttle_events) == (None, {}, {}, {})
    assert now.load_average >= 0
    assert now.taken_at.endswith("+00:00")
    assert {"edgecnn", "numpy", "onnxruntime"} <= set(found.packages)
    assert found.architecture in found.model_dump_json()


def test_files_that_may_not_be_read_count_as_missing(tmp_path: Path) -> None:
    (tmp_path / "etc" / "nv_tegra_release").mkdir(parents=True)
    assert read_environment(tmp_path).l4t is None
