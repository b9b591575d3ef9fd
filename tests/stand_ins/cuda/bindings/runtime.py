"""A stand-in for cuda-python's runtime: one GPU, whose compute capability ``STAND_IN_GPU`` says.

Its memory is the processor's; ``STAND_IN_FREE`` says how much of it is free.
"""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace

cudaHostAllocDefault, cudaHostAllocMapped = 0, 2
cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
_memory = {}


def cudaGetDevice():
    return (0, 0)


def cudaGetDeviceProperties(_device):
    major, minor = os.environ.get("STAND_IN_GPU", "8.7").split(".")
    return (0, SimpleNamespace(name=b"Orin\0\0", major=int(major), minor=int(minor), integrated=1, canMapHostMemory=1))


def cudaGetErrorString(_error):
    return (0, b"it is not said how much is free")


def cudaMemGetInfo():
    free = int(os.environ.get("STAND_IN_FREE", "0"))
    return (0, free, 2 * free) if free else (1, None, None)


def cudaHostAlloc(size, _flags):
    buffer = ctypes.create_string_buffer(size)
    _memory[ctypes.addressof(buffer)] = buffer
    return (0, ctypes.addressof(buffer))


def cudaHostGetDevicePointer(pointer, _flags):
    return (0, pointer)


def cudaFreeHost(pointer):
    del _memory[pointer]
    return (0,)


def cudaStreamCreate():
    return (0, 1)


def cudaStreamDestroy(_stream):
    return (0,)


def cudaStreamSynchronize(_stream):
    return (0,)


def cudaStreamBeginCapture(_stream, _mode):
    return (0,)


def cudaStreamEndCapture(_stream):
    return (1, None)  # nothing can be recorded
