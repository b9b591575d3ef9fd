"""GPUs on cards, with a module that stands for NVIDIA's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from edgecnn.profiling.telemetry.nvml import NvmlReader


@pytest.fixture
def pynvml() -> Any:
    path = Path(__file__).parents[3] / "stand_ins/pynvml.py"
    spec = importlib.util.spec_from_file_location("pynvml_stand_in", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_gpus(pynvml: Any) -> None:
    reader = NvmlReader(pynvml)
    values = reader.read()
    assert values["gpu_percent"] == 87
    assert values["gpu_memory_percent"] == 31
    assert values["gpu_memory_bytes"] == 2**30
    assert (values["gpu_mhz"], values["gpu_memory_mhz"], values["gpu_celsius"]) == (1755, 7000, 61)
    assert values["gpu_board_mw"] == 120500
    assert (values["gpu_power_cap_active"], values["gpu_thermal_slowdown_active"]) == (1, 0)
    assert values["gpu1_celsius"] == 62
    assert values["gpu1_board_mw"] is None
    assert reader.missing == ()
    reader.close()
    assert pynvml.opened == 0


def test_what_a_gpu_does_not_say_is_named_once(pynvml: Any) -> None:
    def refuse(device: int) -> float:
        raise pynvml.NVMLError("Not Supported")

    pynvml.nvmlDeviceGetPowerUsage = refuse
    reader = NvmlReader(pynvml)
    assert "gpu_board_mw" not in reader.read()
    assert reader.missing == ("gpu_board_mw: NVML does not say it for this GPU",)


def test_no_driver(pynvml: Any) -> None:
    pynvml.BROKEN = True
    with pytest.raises(RuntimeError, match="Driver Not Loaded"):
        NvmlReader(pynvml)
