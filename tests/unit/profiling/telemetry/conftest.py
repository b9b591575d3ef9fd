"""Boards that are not here: the files that their system has, and a maker of roots with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROC = {
    "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\n"
    "cpu0 50 0 50 350 50 0 0 0 0 0\ncpu1 50 0 50 350 50 0 0 0 0 0\nintr 5 1 2\n",
    "proc/meminfo": "MemTotal: 7802896 kB\nMemFree: 1 kB\nMemAvailable: 4000000 kB\n"
    "SwapTotal: 1000 kB\nSwapFree: 400 kB\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1510400\n",
}
ORIN_NANO = PROC | {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "sys/class/devfreq/15340000.vic/device/of_node/name": "vic\0",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/class/devfreq/17000000.gpu/device/of_node/name": "gpu\0",
    "sys/class/devfreq/17000000.gpu/device/load": "437\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "918000000\n",
    "sys/bus/i2c/devices/1-0040/name": "ina3221\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in1_label": "VDD_IN\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in1_input": "5000\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input": "1200\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in2_input": "5000\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr2_input": "400\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in3_label": "NC\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in3_input": "0\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr3_input": "0\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in7_label": "sum of shunt voltages\n",
    "sys/bus/i2c/devices/1-0040/hwmon/hwmon3/in7_input": "12\n",
    "sys/class/hwmon/hwmon1/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon1/oc1_event_cnt": "3\n",
    "sys/class/hwmon/hwmon1/oc3_event_cnt": "17\n",
    "sys/devices/virtual/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/devices/virtual/thermal/thermal_zone0/temp": "50125\n",
    "sys/devices/virtual/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/devices/virtual/thermal/thermal_zone1/temp": "-256000\n",
    "sys/devices/virtual/thermal/thermal_zone2/type": "PMIC-Die\n",
    "sys/devices/virtual/thermal/thermal_zone2/temp": "100000\n",
    "sys/devices/platform/bus@0/13e00000.host1x/15880000.nvdla0/power/runtime_status": "active\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "etc/nvpmodel.conf": """
< PARAM TYPE=FILE NAME=GPU >
MAX_FREQ /sys/devices/platform/17000000.gpu/devfreq/17000000.gpu/max_freq
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
TPC_POWER_GATING TPC_PG_MASK 240
GPU MIN_FREQ 0
GPU MAX_FREQ 612000000
EMC MAX_FREQ 2133000000

< POWER_MODEL ID=1 NAME=25W >
GPU MAX_FREQ 918000000

< POWER_MODEL ID=2 NAME=MAXN_SUPER >
GPU MAX_FREQ -1
< PM_CONFIG DEFAULT=1 >
""",
}
NANO = PROC | {
    "etc/nv_tegra_release": "# R32 (release), REVISION: 7.4, GCID: 33514132, BOARD: t210ref, EABI: aarch64\n",
    "sys/class/devfreq/57000000.gpu/device/of_node/name": "gpu\0",
    "sys/class/devfreq/57000000.gpu/device/load": "0\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "76800000\n",
    "sys/bus/i2c/devices/6-0040/name": "ina3221x\n",
    "sys/bus/i2c/devices/6-0040/iio:device0/rail_name_0": "POM_5V_IN\n",
    "sys/bus/i2c/devices/6-0040/iio:device0/in_power0_input": "2132\n",
    "sys/bus/i2c/devices/6-0040/iio:device0/rail_name_1": "POM_5V_GPU\n",
    "sys/bus/i2c/devices/6-0040/iio:device0/in_power1_input": "78\n",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "39000\n",
}
SERVER = PROC | {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1000000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "500000\n",
    "sys/class/powercap/intel-rapl:0:1/name": "dram\n",
    "sys/class/powercap/intel-rapl:0:1/energy_uj": "2000000\n",
    "sys/class/powercap/intel-rapl:0:1/max_energy_range_uj": "65712999613\n",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "27800\n",
    "sys/class/thermal/thermal_zone1/type": "acpitz\n",
    "sys/class/thermal/thermal_zone1/temp": "29800\n",
    "sys/class/hwmon/hwmon0/name": "k10temp\n",
    "sys/class/hwmon/hwmon0/temp1_input": "61250\n",
}
BOARDS = {"proc": PROC, "orin nano": ORIN_NANO, "nano": NANO, "server": SERVER}


@pytest.fixture
def plant(tmp_path: Path) -> Callable[..., Path]:
    """Writes a board's files, and others beside or instead of them, into a folder, and gives that."""

    def make(board: str, more: dict[str, str] | None = None) -> Path:
        for name, text in (BOARDS[board] | (more or {})).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return make
