"""NVIDIA's own parser and compiler, run on a machine without a GPU (TensorRT-RTX, ahead of time)."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.errors import EnvironmentMissing, missing_extra

_TIMEOUT_S = 300
# What TensorRT-RTX compiles for ahead of time, as members of its ComputeCapability. Its 7.5 is left out: it has no FP32
# matrix product there, which TensorRT has on every GPU, so it would refuse what the older boards run.
_CAPABILITIES = ((8.0, "SM80"), (8.6, "SM86"), (8.9, "SM89"), (12.0, "SM120"))


@dataclass(frozen=True)
class Preflight:
    """What the compiler said.

    Attributes:
        compiler: Name, version and the GPU compiled for.
        engine_bytes: Size of the engine; None where there is none.
        parse_errors: (node, operator, message) of each refusal by the parser.
        compile_error: The compiler's last error, or an empty string.
        broke_down: Whether it crashed or did not end, and so did not judge the model.
    """

    compiler: str
    engine_bytes: int | None
    parse_errors: tuple[tuple[str, str, str], ...]
    compile_error: str
    broke_down: bool = False


def preflight_is_installed() -> bool:
    """Whether the extra ``preflight`` is there."""
    return all(importlib.util.find_spec(name) for name in ("onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_bindings"))


def stand_in_for(compute_capability: str) -> str:
    """The GPU generation that stands in for a Jetson's, which TensorRT-RTX does not compile for.

    The newest that is not newer than the Jetson's own (Orin's 8.7: SM86), or the oldest there is.
    """
    wanted = float(compute_capability)
    return max((pair for pair in _CAPABILITIES if pair[0] <= wanted), default=_CAPABILITIES[0])[1]


def run_preflight(model: Path, compute_capability: str) -> Preflight:
    """Parse and compile an ONNX file in a process of its own.

    Args:
        model: The file.
        compute_capability: Of the target device, such as ``8.7``.

    Raises:
        EnvironmentMissing: The extra ``preflight`` is not installed, or the libraries do not load here.
    """
    if not preflight_is_installed():
        raise missing_extra("tensorrt-rtx-cu13-bindings", "preflight")
    capability = stand_in_for(compute_capability)
    command = [sys.executable, "-m", "edgecnn.backends.preflight_child", str(model), capability]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Preflight(f"TensorRT-RTX for {capability}", None, (), f"no end after {_TIMEOUT_S} s", broke_down=True)
    if done.returncode < 0:
        crash = f"the compiler crashed with {signal.Signals(-done.returncode).name}"
        return Preflight(f"TensorRT-RTX for {capability}", None, (), crash, broke_down=True)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise EnvironmentMissing(
            f"TensorRT-RTX does not load here: {''.join(last)}", "it needs Linux on x86-64; see docs/preflight.md"
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return Preflight(
        compiler=f"TensorRT-RTX {answer['version']} for {capability}",
        engine_bytes=answer.get("engine_bytes"),
        parse_errors=tuple(
            (str(node), str(operator), str(text)) for node, operator, text in answer.get("parse_errors", ())
        ),
        compile_error=str(answer.get("compile_error", "")),
    )
