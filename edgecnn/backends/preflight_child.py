"""The process in which NVIDIA's compiler runs: a crash or a hang of native code stays in here.

``python -m edgecnn.backends.preflight_child MODEL CAPABILITY`` prints one JSON document on standard output.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from pathlib import Path

from edgecnn.backends.trt_build import ParseRefused, build_plan
from edgecnn.errors import EdgecnnError

_LIBRARIES = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")


def _load_libraries() -> None:
    """Make TensorRT-RTX's symbols global before its binding asks for them: it brings no path to find them by itself."""
    found = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    for pattern in _LIBRARIES:
        # The shortest name is the link that other libraries refer to, or the file itself.
        library = min(folder.glob(pattern), key=lambda path: len(path.name))
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def main() -> None:
    """Parse, compile, tell."""
    model, capability = Path(sys.argv[1]), sys.argv[2]
    # Native code may write to standard output: keep that for the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    _load_libraries()
    trt = importlib.import_module("tensorrt_rtx_bindings")
    document: dict[str, object] = {"version": importlib.metadata.version("tensorrt-rtx-cu13-bindings"), "messages": []}
    messages: list[str] = []
    try:
        document["engine_bytes"] = len(build_plan(trt, model, capability=capability, verbose=messages.append))
    except ParseRefused as error:
        document["parse_errors"] = [[found.node, found.operator, found.message] for found in error.complaints]
    except EdgecnnError as error:
        document["compile_error"] = error.message
    document["messages"] = messages
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        json.dump(document, stream)
    # The libraries' own tear-down crashes at times without a driver; the answer is out.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
