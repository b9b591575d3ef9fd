"""The Python modules of TensorRT and of TensorRT-RTX, which differ in how they are loaded."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from pathlib import Path
from typing import Any

from edgecnn.core.engine import Compiler
from edgecnn.errors import EnvironmentMissing, missing_extra

_RTX = "onnxruntime_ep_nv_tensorrt_rtx"
_LIBRARIES = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")


def load_compiler(compiler: Compiler) -> Any:
    """The compiler's Python module."""
    if compiler == "tensorrt":
        return importlib.import_module("tensorrt")
    # Its symbols have to be global before the binding asks for them: it brings no path to find them by itself.
    found = importlib.util.find_spec(_RTX)
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    for pattern in _LIBRARIES:
        # The shortest name is the link that other libraries refer to, or the file itself.
        library = min(folder.glob(pattern), key=lambda path: len(path.name))
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module("tensorrt_rtx_bindings")


def require_compiler(compiler: Compiler) -> None:
    """Refuse a compiler that is not installed.

    Raises:
        EnvironmentMissing: It is not.
    """
    if compiler == "tensorrt_rtx" and not rtx_is_installed():
        raise missing_extra("tensorrt-rtx-cu13-bindings", "preflight")
    if compiler == "tensorrt" and importlib.util.find_spec("tensorrt") is None:
        raise EnvironmentMissing(
            "the package tensorrt is not installed here",
            "on a Jetson: sudo apt install python3-libnvinfer; elsewhere: pip install 'edgecnn[tensorrt]'",
        )


def rtx_is_installed() -> bool:
    """Whether the extra ``preflight`` is there."""
    return all(importlib.util.find_spec(name) for name in (_RTX, "tensorrt_rtx_bindings"))
