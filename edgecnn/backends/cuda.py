"""cuda-python's runtime module, and the GPU that it uses."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from edgecnn.errors import EnvironmentMissing


@dataclass(frozen=True)
class GpuInUse:
    """A GPU by its name and compute capability, such as 8.7."""

    name: str
    compute_capability: str


def cuda_runtime() -> Any:
    """The module; its place changed with version 12.6.

    Raises:
        EnvironmentMissing: It is not installed.
    """
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise EnvironmentMissing(
        "the TensorRT backend needs cuda-python, which is not installed", "pip install cuda-python"
    )


def call(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """The first value of a call of the runtime, whose answer begins with an error code.

    Raises:
        EnvironmentMissing: The code is not 0.
    """
    error, *values = answer
    if int(error):
        _, text = cuda.cudaGetErrorString(error)
        raise EnvironmentMissing(
            f"CUDA: {text.decode()}", "check the driver with nvidia-smi, or the board with jetson_release"
        )
    return values[0] if values else None


def free_bytes() -> int:
    """Memory of the current device that nothing uses.

    Raises:
        EnvironmentMissing: There is no device, or cuda-python is not installed.
    """
    cuda = cuda_runtime()
    return int(call(cuda, cuda.cudaMemGetInfo()))


def gpu_in_use() -> GpuInUse:
    """The current device.

    Raises:
        EnvironmentMissing: There is none, or cuda-python is not installed.
    """
    cuda = cuda_runtime()
    properties = call(cuda, cuda.cudaGetDeviceProperties(call(cuda, cuda.cudaGetDevice())))
    return GpuInUse(properties.name.decode().rstrip("\0"), f"{properties.major}.{properties.minor}")
