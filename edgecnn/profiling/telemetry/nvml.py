"""NVIDIA's management library, for GPUs on cards and for what Thor's system files leave out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

# Reasons for a low clock, by the bits of nvml.h: software's power cap, hardware's power brake; and by heat, of both.
_POWER_REASONS = 0x4 | 0x80
_THERMAL_REASONS = 0x20 | 0x40


class NvmlReader:
    """Load, clocks, temperature, power and throttling of every GPU: ``gpu_...``, then ``gpu1_...``.

    Args:
        nvml: The module pynvml, of the package nvidia-ml-py.

    Raises:
        RuntimeError: There is no driver or no GPU.
    """

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        try:
            nvml.nvmlInit()
            count = int(nvml.nvmlDeviceGetCount())
            self._devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        except nvml.NVMLError as error:
            raise RuntimeError(str(error)) from None
        reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        # Older drivers have it by its older name.
        self._reasons = reasons or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
        first = self._values(self._devices[0], "gpu") if self._devices else {}
        self.missing = tuple(
            f"{name}: NVML does not say it for this GPU" for name, value in first.items() if value is None
        )
        self._absent = {name for name, value in first.items() if value is None}

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        values: dict[str, float | None] = {}
        for index, device in enumerate(self._devices):
            values |= self._values(device, f"gpu{index}" if index else "gpu")
        return {name: value for name, value in values.items() if name not in self._absent}

    def close(self) -> None:
        """See ``Reader.close``."""
        with contextlib.suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def _values(self, device: Any, place: str) -> dict[str, float | None]:
        nvml = self._nvml
        use = self._ask(nvml.nvmlDeviceGetUtilizationRates, device)
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, device)
        reasons = self._ask(self._reasons, device)
        return {
            f"{place}_percent": None if use is None else float(use.gpu),
            f"{place}_memory_percent": None if use is None else float(use.memory),
            f"{place}_memory_bytes": None if memory is None else float(memory.used),
            f"{place}_mhz": self._number(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_GRAPHICS),
            f"{place}_memory_mhz": self._number(nvml.nvmlDeviceGetClockInfo, device, nvml.NVML_CLOCK_MEM),
            f"{place}_celsius": self._number(nvml.nvmlDeviceGetTemperature, device, nvml.NVML_TEMPERATURE_GPU),
            f"{place}_board_mw": self._number(nvml.nvmlDeviceGetPowerUsage, device),
            f"{place}_power_cap_active": None if reasons is None else float(bool(reasons & _POWER_REASONS)),
            f"{place}_thermal_slowdown_active": None if reasons is None else float(bool(reasons & _THERMAL_REASONS)),
        }

    def _number(self, ask: Callable[..., Any], *arguments: Any) -> float | None:
        value = self._ask(ask, *arguments)
        return None if value is None else float(value)

    def _ask(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:
            return None
