"""What a board can do at most, from its profile (Williams, Waterman and Patterson 2009, Roofline)."""

from __future__ import annotations

from edgecnn.core.device import DeviceProfile
from edgecnn.profiling.records import Environment, Roofs

_GIGA = 1e9
_TERA = 1e12
# A board's memory as its system counts it is some hundred megabytes less than what is sold.
_LEAST_MEMORY, _MOST_MEMORY = 0.8, 1.1


def roofs_of(device: DeviceProfile | None, precision: str, environment: Environment, backend: str) -> Roofs | None:
    """The roofs of the board at its highest clock; None unless it is the target, and TensorRT ran the network there.

    Args:
        device: The target's profile.
        precision: Of the network; FP32 runs outside the tensor cores, whose figure is not in the profile.
        environment: Where it was measured.
        backend: What ran it.
    """
    if device is None or device.gpu is None or device.memory is None or not backend.startswith("TensorRT"):
        return None
    here = environment.memory_bytes / _GIGA / device.memory.size_gb
    family = device.family or ""
    if environment.l4t is None or family not in environment.machine.lower() or not _LEAST_MEMORY < here < _MOST_MEMORY:
        return None
    gpu = device.gpu
    peak = {"int8": gpu.int8_dense_tops, "fp16": gpu.fp16_dense_tflops}.get(precision)
    if peak is None:
        return None
    return Roofs(
        title=f"{device.title} at {gpu.max_mhz:g} MHz, {precision.upper()}",
        operations_per_s=peak * _TERA,
        bytes_per_s=device.memory.bandwidth_gb_s * _GIGA,
    )
