"""The process in which NVIDIA's compiler runs, see ``build_process``.

``python -m edgecnn.backends.build_child`` reads a request, one line of JSON, on standard input, and ends when that is
closed; on standard output it tells of its progress and then the answer, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import IO, Any

from edgecnn.backends.build_process import BuildAnswer, BuildRequest
from edgecnn.backends.compiler_module import load_compiler
from edgecnn.backends.cuda import gpu_in_use
from edgecnn.backends.trt_build import Built, MemoryRanOut, ParseRefused, build_plan, inspect_plan
from edgecnn.core.engine import COMPILER_TITLES
from edgecnn.core.files import write_atomically, write_text
from edgecnn.errors import EnvironmentMissing, GateMissed


def main() -> None:
    """Parse, compile, tell."""
    request = BuildRequest.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # Native code may write to standard output: keep that for the answer.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stream:
        os.dup2(2, 1)
        try:
            _tell(stream, "answer", _answer(request, stream).model_dump())
        except EnvironmentMissing as error:
            _tell(stream, "missing", (error.message, error.hint))
    # The libraries' own tear-down crashes at times without a driver; the answer is out.
    os._exit(0)


def _answer(request: BuildRequest, stream: IO[str]) -> BuildAnswer:
    try:
        trt = load_compiler(request.compiler)
    except (ImportError, OSError) as error:  # a library that is not there, or not for this system
        hint = (
            "it needs Linux on x86-64; see docs/preflight.md"
            if request.compiler == "tensorrt_rtx"
            else "on a Jetson: sudo apt install python3-libnvinfer"
        )
        raise EnvironmentMissing(f"{COMPILER_TITLES[request.compiler]} does not load here: {error}", hint) from None
    answer = BuildAnswer(version=str(trt.__version__))
    if request.capability is None:
        gpu = gpu_in_use()
        answer = answer.model_copy(update={"gpu": gpu.name, "compute_capability": gpu.compute_capability})
    cache = request.timing_cache
    try:
        built = build_plan(
            trt,
            request.model,
            request.options,
            capability=request.capability,
            timing_cache=cache.read_bytes() if cache is not None and cache.is_file() else b"",
            watch=lambda *progress: _tell(stream, "progress", progress),
        )
    except ParseRefused as error:
        complaints = tuple((found.node, found.operator, found.message) for found in error.complaints)
        return answer.model_copy(update={"parse_errors": complaints})
    except (MemoryRanOut, MemoryError) as error:
        return answer.model_copy(update={"compile_error": str(error) or "out of memory", "out_of_memory": True})
    except GateMissed as error:
        return answer.model_copy(update={"compile_error": error.message})
    try:
        _write(request, trt, built)
    except OSError as error:
        raise EnvironmentMissing(
            f"{error.filename or request.plan}: {error.strerror or error}", "is there room? look with: df -h"
        ) from None
    return answer.model_copy(update={"engine_bytes": len(built.plan), "quantized": built.quantized})


def _write(request: BuildRequest, trt: Any, built: Built) -> None:
    if request.plan is None:
        return
    with write_atomically(request.plan) as part:
        part.write_bytes(built.plan)
    if request.timing_cache is not None:
        request.timing_cache.unlink(missing_ok=True)  # the one before may be of another version
        if built.timing_cache:
            with write_atomically(request.timing_cache) as part:
                part.write_bytes(built.timing_cache)
    if request.layers is not None and request.capability is None:
        write_text(request.layers, inspect_plan(trt, built.plan, request.options))


def _tell(stream: IO[str], kind: str, what: Any) -> None:
    stream.write(json.dumps({kind: what}) + "\n")
    stream.flush()


def _end_with_the_parent() -> None:
    os.read(0, 1)  # the buffered stream's lock would be held while the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    main()
