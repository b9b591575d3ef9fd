"""TensorRT's builder in a process of its own: a crash, a hang or an end of memory stays in there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict

from edgecnn.core.engine import BuildOptions, Compiler
from edgecnn.errors import EnvironmentMissing

# (phase, steps done, steps in all)
Watch = Callable[[str, int, int], None]


class BuildRequest(BaseModel):
    """What the process is to do.

    Attributes:
        capability: A member name of ``ComputeCapability``, to build ahead of time (TensorRT-RTX only); without it the
            engine is for the GPU that is present.
        plan: Where the plan goes; none: it is only measured.
        timing_cache: Is read, if it exists, and written again.
        layers: Where the inspector's description of the engine goes, unless it is built ahead of time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compiler: Compiler
    model: Path
    capability: str | None = None
    options: BuildOptions = BuildOptions()
    plan: Path | None = None
    timing_cache: Path | None = None
    layers: Path | None = None


class BuildAnswer(BaseModel):
    """What came of it.

    Attributes:
        version: Of the compiler.
        gpu: The GPU's name; empty ahead of time.
        compute_capability: Of that GPU; empty ahead of time.
        engine_bytes: Size of the plan; None where there is none.
        quantized: Names of the layers that the graph has in INT8.
        parse_errors: (node, operator, message) of each refusal by the parser.
        compile_error: The compiler's last error, or an empty string.
        out_of_memory: Whether that came of too little memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    gpu: str = ""
    compute_capability: str = ""
    engine_bytes: int | None = None
    quantized: tuple[str, ...] = ()
    parse_errors: tuple[tuple[str, str, str], ...] = ()
    compile_error: str = ""
    out_of_memory: bool = False


@dataclass(frozen=True)
class BrokeDown:
    """The process ended without an answer.

    Attributes:
        reason: How.
        killed: Whether by SIGKILL, as the system does where memory runs out.
    """

    reason: str
    killed: bool = False


def run_build(request: BuildRequest, timeout_s: float, watch: Watch = lambda *_: None) -> BuildAnswer | BrokeDown:
    """Parse and compile.

    Args:
        request: What is wanted.
        timeout_s: How long at most.
        watch: Is told how far each phase of the build is.

    Raises:
        EnvironmentMissing: The compiler does not load here.
    """
    command = [sys.executable, "-m", "edgecnn.backends.build_child"]
    # Its standard input stays open for as long as this process lives: the child ends with it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        expired = threading.Event()
        timer = threading.Timer(timeout_s, lambda: (expired.set(), child.kill()))
        timer.daemon = True
        errors: list[bytes] = []
        drain = threading.Thread(target=lambda stream: errors.append(stream.read()), args=(child.stderr,), daemon=True)
        answer: BuildAnswer | None = None
        try:
            # Not before: a Ctrl-C would leave the pipe to be closed while it is read, which waits for its end.
            timer.start()
            drain.start()
            child.stdin.write(request.model_dump_json().encode() + b"\n")
            child.stdin.flush()
            answer = _listen(child.stdout, watch)
            code = child.wait()
        except BrokenPipeError:
            code = child.wait()
        finally:
            timer.cancel()
            child.kill()  # a Ctrl-C here ends it there
        drain.join()
    if answer is not None:
        return answer
    if expired.is_set():
        return BrokeDown(f"no end after {timeout_s:.0f} s")
    if code < 0:
        name = signal.Signals(-code).name
        return BrokeDown(f"the compiler crashed with {name}", killed=name == "SIGKILL")
    last = b"".join(errors).decode(errors="replace").strip().splitlines()[-1:]
    return BrokeDown(f"its process ended with {code}: {''.join(last)}")


def _listen(lines: IO[bytes], watch: Watch) -> BuildAnswer | None:
    for line in lines:
        try:
            document: dict[str, Any] = json.loads(line)
        except ValueError:  # cut off
            return None
        if "answer" in document:
            return BuildAnswer.model_validate(document["answer"])
        if "missing" in document:
            raise EnvironmentMissing(*document["missing"])
        watch(*document["progress"])
    return None
