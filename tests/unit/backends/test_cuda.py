"""Where cuda-python is, and what the GPU is."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from edgecnn.backends import cuda
from edgecnn.backends.cuda import GpuInUse, cuda_runtime, gpu_in_use
from edgecnn.errors import EnvironmentMissing


@pytest.mark.parametrize("place", ["cuda.bindings.runtime", "cuda.cudart"])
def test_cuda_python_is_found_at_its_old_and_its_new_place(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    for end in range(1, place.count(".") + 2):
        name = ".".join(place.split(".")[:end])
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert cuda_runtime() is sys.modules[place]


def test_without_cuda_python_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EnvironmentMissing, match="pip install cuda-python"):
        cuda_runtime()


def test_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name=b"Orin (nvgpu)\0\0\0", major=8, minor=7)
    runtime = SimpleNamespace(cudaGetDevice=lambda: (0, 1), cudaGetDeviceProperties=lambda device: (0, properties))
    monkeypatch.setattr(cuda, "cuda_runtime", lambda: runtime)
    assert gpu_in_use() == GpuInUse("Orin (nvgpu)", "8.7")


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = SimpleNamespace(
        cudaGetDevice=lambda: (100, None),
        cudaGetDeviceProperties=pytest.fail,
        cudaGetErrorString=lambda error: (0, b"no device is detected"),
    )
    monkeypatch.setattr(cuda, "cuda_runtime", lambda: runtime)
    with pytest.raises(EnvironmentMissing, match="CUDA: no device is detected") as caught:
        gpu_in_use()
    assert caught.value.exit_code == 3
