"""TensorRT on the device: an engine built there from the bundle's ONNX file, kept beside it, and run."""

from __future__ import annotations

import ctypes
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.backends.session import require_feeds
from edgecnn.backends.trt_build import build_plan, load_plugins
from edgecnn.core.files import hash_file, write_atomically
from edgecnn.core.tensors import Arrays, TensorSpec
from edgecnn.errors import EnvironmentMissing, InputError


class TensorRtSession:
    """A session on one CUDA stream, with static shapes.

    ``run`` copies its feeds into page-locked host buffers, the engine's inputs; the arrays that it returns are the
    page-locked output buffers and are overwritten by the next ``run``.

    The plan is kept beside the model as ``<hash of model, TensorRT version, GPU>.plan``, so an engine is built where it
    runs and never loaded elsewhere. It is a plain plan: trtexec and DeepStream load it too.

    Args:
        model: The ONNX file.

    Raises:
        EnvironmentMissing: No CUDA device, or cuda-python is not installed.
        InputError: The model has dynamic shapes.
    """

    def __init__(self, model: Path) -> None:
        self._trt: Any = importlib.import_module("tensorrt")
        self._cuda: Any = _cuda_runtime()
        plan = self._plan_for(model)
        logger = self._trt.Logger(self._trt.Logger.WARNING)
        load_plugins(self._trt, logger)
        self._engine: Any = self._trt.Runtime(logger).deserialize_cuda_engine(plan)
        if self._engine is None:
            raise InputError(
                f"model {model}: TensorRT cannot load the engine it built",
                "delete the .plan file beside it and run again",
            )
        self._context: Any = self._engine.create_execution_context()
        self._stream: Any = self._call(self._cuda.cudaStreamCreate())
        self.description = f"TensorRT {self._trt.__version__}"
        self._host: dict[str, npt.NDArray[Any]] = {}
        self._device: dict[str, int] = {}
        specs: dict[bool, list[TensorSpec]] = {True: [], False: []}
        try:
            for index in range(self._engine.num_io_tensors):
                spec, is_input = self._bind(self._engine.get_tensor_name(index), model)
                specs[is_input].append(spec)
        except BaseException:
            self.close()
            raise
        self.inputs, self.outputs = tuple(specs[True]), tuple(specs[False])

    def run(self, feeds: Arrays) -> Arrays:
        """One inference; see ``Session``."""
        require_feeds(feeds, self.inputs)
        cuda, stream = self._cuda, self._stream
        for spec in self.inputs:
            host = self._host[spec.name]
            np.copyto(host, feeds[spec.name])
            kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._call(cuda.cudaMemcpyAsync(self._device[spec.name], host.ctypes.data, host.nbytes, kind, stream))
        if not self._context.execute_async_v3(int(stream)):
            raise InputError(
                "TensorRT could not run the engine", "run again with --debug and look at TensorRT's messages"
            )
        for spec in self.outputs:
            host = self._host[spec.name]
            kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._call(cuda.cudaMemcpyAsync(host.ctypes.data, self._device[spec.name], host.nbytes, kind, stream))
        self._call(cuda.cudaStreamSynchronize(stream))
        return {spec.name: self._host[spec.name] for spec in self.outputs}

    def close(self) -> None:
        """Free the buffers and the engine."""
        for pointer in self._device.values():
            self._call(self._cuda.cudaFree(pointer))
        for host in self._host.values():
            self._call(self._cuda.cudaFreeHost(host.ctypes.data))
        self._host.clear()
        self._device.clear()
        self._call(self._cuda.cudaStreamDestroy(self._stream))
        del self._context, self._engine

    def _bind(self, name: str, model: Path) -> tuple[TensorSpec, bool]:
        """Allocate a tensor's host and device buffers and tell the context; its spec, and whether it is an input."""
        shape = tuple(self._engine.get_tensor_shape(name))
        if min(shape, default=1) < 0:
            raise InputError(
                f"model {model}: input {name} has a dynamic shape {shape}",
                "convert it with edgecnn convert, which fixes shapes",
            )
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        pointer = self._call(self._cuda.cudaMallocHost(size))
        block = (ctypes.c_byte * size).from_address(int(pointer))
        self._host[name] = np.ctypeslib.as_array(block).view(dtype).reshape(shape)
        self._device[name] = int(self._call(self._cuda.cudaMalloc(size)))
        self._context.set_tensor_address(name, self._device[name])
        is_input = self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
        return TensorSpec(name=name, dtype=dtype.name, shape=shape), is_input

    def _plan_for(self, model: Path) -> bytes:
        """The plan for this model on this GPU with this TensorRT: the kept one, or a new one."""
        device = self._call(self._cuda.cudaGetDevice())
        gpu = self._call(self._cuda.cudaGetDeviceProperties(device))
        gpu_name = gpu.name.decode().rstrip("\0").replace(" ", "-")
        kept = model.with_name(
            f"{hash_file(model)[:16]}-{self._trt.__version__}-{gpu_name}-sm{gpu.major}{gpu.minor}.plan"
        )
        if kept.is_file():
            return kept.read_bytes()
        plan = build_plan(self._trt, model)
        with write_atomically(kept) as part:
            part.write_bytes(plan)
        return plan

    def _call(self, answer: tuple[Any, ...]) -> Any:
        """The value of a CUDA runtime call, whose first element is an error code."""
        error, *values = answer
        if int(error):
            _, text = self._cuda.cudaGetErrorString(error)
            raise EnvironmentMissing(
                f"CUDA: {text.decode()}", "check the driver with nvidia-smi, or the board with jetson_release"
            )
        return values[0] if values else None


def _cuda_runtime() -> Any:
    """cuda-python's runtime module; its place changed with version 12.6."""
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise EnvironmentMissing(
        "the TensorRT backend needs cuda-python, which is not installed", "pip install cuda-python"
    )
