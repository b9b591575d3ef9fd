"""Lines of tegrastats, captured on boards, give the right fields; no line raises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.profiling.telemetry.records import UNITS
from edgecnn.profiling.telemetry.tegrastats import fields_from_tegrastats, log_from_tegrastats

MB = 1024**2
NANO = (
    "RAM 1655/3956MB (lfb 311x4MB) SWAP 0/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [12%@102,10%@102,11%@102,12%@102] EMC_FREQ 3%@1600 GR3D_FREQ 0%@76 APE 25 PLL@36.5C CPU@39C iwlwifi@44C "
    "PMIC@50C GPU@37C AO@47.5C thermal@38C POM_5V_IN 2132/2132 POM_5V_GPU 78/78 POM_5V_CPU 275/275"
)
AGX_ORIN = (
    "11-21-2025 08:49:48 RAM 13983/62780MB (lfb 424x4MB) SWAP 126/31390MB (cached 0MB) "
    "CPU [90%@2201,10%@2201,off,off] EMC_FREQ 1%@2133 GR3D_FREQ 14%@[407,408] VIC_FREQ 115 NVDLA0_FREQ @1600 APE 174 "
    "CV0@73.625C CPU@77.281C Tboard@62C GPU@69.125C tj@77.281C VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW "
    "VIN_SYS_5V0 4968mW/5048mW VDDQ_VDD2_1V8AO 1091mW/1091mW"
)
ORIN_NANO = (
    "04-27-2026 15:00:54 RAM 779/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [0%@1344,0%@1344,0%@1344,0%@1344,0%@1344,0%@1344] GR3D_FREQ 0% cpu@50.125C soc2@49.125C soc0@49.25C "
    "gpu@50.562C tj@50.562C soc1@50.437C VDD_IN 6626mW/6625mW VDD_CPU_GPU_CV 1228mW/1230mW VDD_SOC 2380mW/2380mW"
)
JETPACK_6 = (
    "RAM 9/10MB EMC_FREQ 3%@2133 GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off NVDLA0 off cpu@52.562C "
    "VIN_SYS_5V0 4707mW/4707mW"
)
THOR = (
    "RAM 9/10MB GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 VDD_GPU 0mW/0mW VDD_CPU_SOC_MSS 4165mW/4165mW "
    "VIN_SYS_5V0 4126mW/4126mW"
)
THREE_FIELDS = "RAM 9/10MB GR3D_FREQ 12%@[1300,1300] cpu@52.968C/52.968C VDD_GPU_SOC 5139mW/5139mW/5139mW"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            NANO,
            {
                "ram_bytes": 1655 * MB,
                "ram_total_bytes": 3956 * MB,
                "swap_bytes": 0,
                "swap_total_bytes": 1978 * MB,
                "iram_bytes": 0,
                "iram_total_bytes": 252 * 1024,
                "cpu0_percent": 12,
                "cpu1_percent": 10,
                "cpu2_percent": 11,
                "cpu3_percent": 12,
                "cpu0_mhz": 102,
                "cpu1_mhz": 102,
                "cpu2_mhz": 102,
                "cpu3_mhz": 102,
                "cpu_percent": 11.25,
                "emc_percent": 3,
                "emc_mhz": 1600,
                "gpu_percent": 0,
                "gpu_mhz": 76,
                "ape_mhz": 25,
                "pll_celsius": 36.5,
                "cpu_celsius": 39,
                "iwlwifi_celsius": 44,
                "gpu_celsius": 37,
                "ao_celsius": 47.5,
                "thermal_celsius": 38,
                "pom_5v_in_mw": 2132,
                "pom_5v_gpu_mw": 78,
                "pom_5v_cpu_mw": 275,
            },
        ),
        (
            AGX_ORIN,
            {
                "ram_bytes": 13983 * MB,
                "ram_total_bytes": 62780 * MB,
                "swap_bytes": 126 * MB,
                "swap_total_bytes": 31390 * MB,
                "cpu0_percent": 90,
                "cpu1_percent": 10,
                "cpu2_percent": None,
                "cpu3_percent": None,
                "cpu0_mhz": 2201,
                "cpu1_mhz": 2201,
                "cpu2_mhz": 0,
                "cpu3_mhz": 0,
                "cpu_percent": 50,
                "emc_percent": 1,
                "emc_mhz": 2133,
                "gpu_percent": 14,
                "gpu_mhz": 408,
                "vic_mhz": 115,
                "dla0_mhz": 1600,
                "ape_mhz": 174,
                "cv0_celsius": 73.625,
                "cpu_celsius": 77.281,
                "tboard_celsius": 62,
                "gpu_celsius": 69.125,
                "tj_celsius": 77.281,
                "vdd_gpu_soc_mw": 3150,
                "vdd_cpu_cv_mw": 14312,
                "vin_sys_5v0_mw": 4968,
                "vddq_vdd2_1v8ao_mw": 1091,
            },
        ),
        (
            ORIN_NANO,
            {
                "ram_bytes": 779 * MB,
                "ram_total_bytes": 7620 * MB,
                "swap_bytes": 0,
                "swap_total_bytes": 3810 * MB,
                **{f"cpu{core}_percent": 0 for core in range(6)},
                **{f"cpu{core}_mhz": 1344 for core in range(6)},
                "cpu_percent": 0,
                "gpu_percent": 0,
                "cpu_celsius": 50.125,
                "soc2_celsius": 49.125,
                "soc0_celsius": 49.25,
                "gpu_celsius": 50.562,
                "tj_celsius": 50.562,
                "soc1_celsius": 50.437,
                "vdd_in_mw": 6626,
                "vdd_cpu_gpu_cv_mw": 1228,
                "vdd_soc_mw": 2380,
            },
        ),
        (
            JETPACK_6,
            {
                "ram_bytes": 9 * MB,
                "ram_total_bytes": 10 * MB,
                "emc_percent": 3,
                "emc_mhz": 2133,
                "gpu_percent": 0,
                "gpu_mhz": 0,
                "nvenc_percent": 79,
                "nvenc_mhz": 166,
                "nvdec_mhz": 0,
                "dla0_mhz": 0,
                "cpu_celsius": 52.562,
                "vin_sys_5v0_mw": 4707,
            },
        ),
        (
            THOR,
            {
                "ram_bytes": 9 * MB,
                "ram_total_bytes": 10 * MB,
                "gpu_mhz": 0,
                "nvenc0_mhz": 0,
                "vdd_gpu_mw": 0,
                "vdd_cpu_soc_mss_mw": 4165,
                "vin_sys_5v0_mw": 4126,
            },
        ),
        (
            THREE_FIELDS,
            {
                "ram_bytes": 9 * MB,
                "ram_total_bytes": 10 * MB,
                "gpu_percent": 12,
                "gpu_mhz": 1300,
                "cpu_celsius": 52.968,
                "vdd_gpu_soc_mw": 5139,
            },
        ),
        # Xavier's rails are named like other things on the line.
        ("CPU [5%@1190] GPU 155/155 CPU 311/467 SOC 933/933", {
            "cpu0_percent": 5, "cpu0_mhz": 1190, "cpu_percent": 5, "gpu_mw": 155, "cpu_mw": 311, "soc_mw": 933,
        }),
        ("RAM 1/2GB EMC_FREQ 0% NVDLA0 OFF VDD_GPU -12mW/3mW GPU@-256C VDD_NC 3mW/3mW", {
            "ram_bytes": 1024 * MB, "ram_total_bytes": 2048 * MB, "emc_percent": 0, "dla0_mhz": 0, "vdd_gpu_mw": -12,
            "gpu_celsius": None, "vdd_nc_mw": 3,
        }),
        ("", {}),
    ],
    ids=["nano", "agx orin", "orin nano", "jetpack 6", "thor", "three fields", "xavier", "odd values", "nothing"],
)  # fmt: skip
def test_every_field_of_a_line(line: str, wanted: dict[str, float | None]) -> None:
    assert fields_from_tegrastats(line) == wanted


@given(st.binary())
def test_bytes_of_any_kind(content: bytes) -> None:
    check(content.decode(errors="replace"))


_PARTS = st.sampled_from(
    [*NANO.split(), *AGX_ORIN.split(), *JETPACK_6.split(), "9" * 400, "@", "%", "[", "]", "/", ","]
)


@given(st.lists(st.one_of(_PARTS, st.text(max_size=5))), st.sampled_from([" ", ""]))
def test_parts_of_lines_in_any_order(parts: list[str], between: str) -> None:
    check(between.join(parts))


def check(line: str) -> None:
    for name, value in fields_from_tegrastats(line).items():
        assert name.rpartition("_")[2] in UNITS
        assert value is None or math.isfinite(value)


def test_a_log_file() -> None:
    log = log_from_tegrastats([NANO, "not a line\n", NANO.replace("GPU@37C", "")], interval_s=0.5)
    gpu = log.find("gpu_celsius")
    assert gpu is not None
    assert (gpu.unit, gpu.times_ns, gpu.values) == ("°C", (0, 500_000_000), (37, None))
