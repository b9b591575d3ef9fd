"""The memory of an engine's inputs and outputs: allocated once, page-locked, shared where CPU and GPU share theirs."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.backends.cuda import call


class Buffer:
    """One tensor on both sides.

    On a GPU with memory of its own the two sides are copied to each other. On a Jetson both are the same memory: the
    page-locked buffer is mapped into the GPU's addresses, and nothing is copied.

    Args:
        cuda: cuda-python's runtime.
        shape: Of the tensor.
        dtype: Of its elements.
        shared: Whether CPU and GPU share their memory.

    Attributes:
        host: The array.
        device: The GPU's address of it.
    """

    def __init__(self, cuda: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *, shared: bool) -> None:
        self._cuda = cuda
        self._shared = shared
        size = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        flags = cuda.cudaHostAllocMapped if shared else cuda.cudaHostAllocDefault
        self._pointer = int(call(cuda, cuda.cudaHostAlloc(size, flags)))
        try:
            self.device = int(
                call(cuda, cuda.cudaHostGetDevicePointer(self._pointer, 0))
                if shared
                else call(cuda, cuda.cudaMalloc(size))
            )
        except BaseException:
            call(cuda, cuda.cudaFreeHost(self._pointer))
            raise
        block = (ctypes.c_byte * size).from_address(self._pointer)
        count = int(np.prod(shape, dtype=np.int64))
        self.host: npt.NDArray[Any] = np.ctypeslib.as_array(block).view(dtype)[:count].reshape(shape)

    def send(self, stream: Any) -> None:
        """Copy to the GPU, in the order of a stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(self.device, self._pointer, kind, stream)

    def fetch(self, stream: Any) -> None:
        """Copy from the GPU, in the order of a stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(self._pointer, self.device, kind, stream)

    def free(self) -> None:
        """Give the memory back; the array is not to be used after that."""
        if not self._shared:
            call(self._cuda, self._cuda.cudaFree(self.device))
        call(self._cuda, self._cuda.cudaFreeHost(self._pointer))

    def _copy(self, target: int, source: int, kind: Any, stream: Any) -> None:
        if not self._shared:
            call(self._cuda, self._cuda.cudaMemcpyAsync(target, source, self.host.nbytes, kind, stream))
