"""NVIDIA's own parser and compiler, run on a machine without a GPU (TensorRT-RTX, ahead of time)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.backends.build_process import BrokeDown, BuildRequest, run_build
from edgecnn.backends.compiler_module import require_compiler
from edgecnn.core.engine import AHEAD_OF_TIME, capability_member

_TIMEOUT_S = 300
# TensorRT-RTX has no FP32 matrix product for 7.5, which TensorRT has on every GPU, so it would refuse what the older
# boards run; and 12.1 is 12.0's little sister.
_STAND_INS = tuple(each for each in AHEAD_OF_TIME if each not in ("7.5", "12.1"))


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


def stand_in_for(compute_capability: str) -> str:
    """The GPU generation that stands in for a Jetson's, which TensorRT-RTX does not compile for.

    The newest that is not newer than the Jetson's own (Orin's 8.7: SM86), or the oldest there is.
    """
    wanted = float(compute_capability)
    older = [each for each in _STAND_INS if float(each) <= wanted]
    return capability_member(max(older, key=float, default=_STAND_INS[0]))


def run_preflight(model: Path, compute_capability: str) -> Preflight:
    """Parse and compile an ONNX file in a process of its own.

    Args:
        model: The file.
        compute_capability: Of the target device, such as ``8.7``.

    Raises:
        EnvironmentMissing: The extra ``preflight`` is not installed, or the libraries do not load here.
    """
    require_compiler("tensorrt_rtx")
    capability = stand_in_for(compute_capability)
    found = run_build(BuildRequest(compiler="tensorrt_rtx", model=model, capability=capability), _TIMEOUT_S)
    if isinstance(found, BrokeDown):
        return Preflight(f"TensorRT-RTX for {capability}", None, (), found.reason, broke_down=True)
    return Preflight(
        compiler=f"TensorRT-RTX {found.version} for {capability}",
        engine_bytes=found.engine_bytes,
        parse_errors=found.parse_errors,
        compile_error=found.compile_error,
    )
