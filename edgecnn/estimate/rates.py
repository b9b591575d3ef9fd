"""What a board can do at most in a second, in one of its power modes: products, bytes, clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecnn.core.device import DeviceProfile, Gpu, PowerMode
from edgecnn.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]

_CORES_OF_SM = {"5.3": 128, "6.2": 128, "7.2": 64, "8.7": 128, "11.0": 128}
_SMS_OF_TPC = 2
_PLAIN = "plain"
_MIB = 2**20
# The GPU's second-level cache, from memory: nobody has held these against CUDA's deviceQuery on the boards.
_CACHE_BYTES = {"5.3": _MIB // 4, "6.2": _MIB // 2, "7.2": _MIB // 2, "8.7": 2 * _MIB, "11.0": 32 * _MIB}
_AGX_ORIN_CACHE_BYTES = 4 * _MIB
_AGX_ORIN_CORES = 1536  # at least; Orin Nano and NX have 1024
# FP16 in pairs, and four INT8 products in one instruction, where there is no tensor core for it.
_CUDA_RATE = {"fp32": 1, "fp16": 2, "int8": 4}


@dataclass(frozen=True)
class Rates:
    """Of a GPU.

    Attributes:
        tensor_macs: Multiply-accumulates a second on tensor cores; 0 where they do not have the precision.
        cuda_macs: The same on CUDA cores.
        bytes: A second, from memory.
        hertz: The GPU's clock.
        sms: Multiprocessors that are on.
        cache_bytes: Second-level cache.
    """

    tensor_macs: float
    cuda_macs: float
    bytes: float
    hertz: float
    sms: int
    cache_bytes: int


def rates_of(device: DeviceProfile, mode: PowerMode | None, precision: Precision) -> Rates:
    """A board's rates.

    Args:
        device: A board with a GPU.
        mode: Its clocks and how many of its TPCs are on; None, and what it leaves open, for the highest.
        precision: Of the products. FP32 runs as TF32 on tensor cores that have it, which is TensorRT's default.

    Raises:
        InputError: The device has no GPU, or the GPU does not have the precision.
    """
    gpu, memory = device.gpu, device.memory
    if gpu is None or memory is None:
        raise InputError(f"{device.title} is no board with a GPU", "there is an estimate for boards: edgecnn devices")
    if precision not in device.precisions:
        known = ", ".join(device.precisions)
        raise InputError(f"{device.title} has no {precision.upper()}", f"choose one of: {known}")
    capability = gpu.compute_capability
    hertz = 1e6 * (mode.gpu_mhz if mode is not None and mode.gpu_mhz is not None else gpu.max_mhz)
    all_sms = gpu.cuda_cores // _CORES_OF_SM.get(capability, 128)
    sms = min(mode.tpcs * _SMS_OF_TPC, all_sms) if mode is not None and mode.tpcs is not None else all_sms
    part = hertz / (gpu.max_mhz * 1e6) * sms / all_sms
    fp16 = (gpu.fp16_dense_tflops or 0) * 1e12 / 2 if gpu.tensor_cores else 0.0
    tensor = {
        "fp32": fp16 / 2 if "tf32" in device.precisions else 0.0,
        "fp16": fp16,
        "int8": (gpu.int8_dense_tops or 0) * 1e12 / 2,
    }[precision]
    cuda = gpu.cuda_cores * gpu.max_mhz * 1e6 * _CUDA_RATE[precision]
    return Rates(
        tensor_macs=tensor * part,
        cuda_macs=cuda * part,
        bytes=1e9 * (mode.bandwidth_gb_s if mode is not None and mode.bandwidth_gb_s else memory.bandwidth_gb_s),
        hertz=hertz,
        sms=sms,
        cache_bytes=_cache_bytes(gpu),
    )


def find_mode(device: DeviceProfile, name: str | None) -> PowerMode | None:
    """A power mode by its name: ``25W``; ``plain/15W`` or ``super/15W`` where both flash configurations have it.

    Args:
        device: A board.
        name: None for the mode that it starts in, where that is known.

    Raises:
        InputError: It has no such mode.
    """
    if name is None:
        return device.default_mode
    having = {f"{mode.variant or _PLAIN}/{mode.name}": mode for mode in device.power_modes}
    # The newer flash configuration stands last.
    having |= {mode.name: mode for mode in device.power_modes}
    if name not in having:
        known = ", ".join(dict.fromkeys(mode.name for mode in device.power_modes))
        raise InputError(f"{device.title} has no power mode {name}", f"choose one of: {known}")
    return having[name]


def _cache_bytes(gpu: Gpu) -> int:
    if gpu.compute_capability == "8.7" and gpu.cuda_cores >= _AGX_ORIN_CORES:
        return _AGX_ORIN_CACHE_BYTES
    return _CACHE_BYTES.get(gpu.compute_capability, _MIB // 2)
