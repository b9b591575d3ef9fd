"""A build that takes what memory there is: where that runs out, it is tried again with less."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from edgecnn.backends.build_process import BrokeDown, BuildAnswer, BuildRequest, run_build
from edgecnn.backends.cuda import free_bytes
from edgecnn.core.device import l4t_version
from edgecnn.core.engine import COMPILER_TITLES, BuildOptions
from edgecnn.core.progress import Progress, ProgressTask
from edgecnn.errors import EnvironmentMissing, GateMissed

_TIMEOUT_S = 3600.0
_MIB = 1 << 20
# Of the memory that is free: the network and what is being built need the rest, and on a board whose GPU shares the
# processor's memory, the builder itself.
_OF_FREE, _OF_FREE_SHARED = 0.8, 0.5
# Once memory ran out, in turn: how much of the workspace before is left, and whether few kernels are tried.
_RETRIES = ((1 / 4, False), (1 / 4, True), (1 / 4, True))
_FIRST_WORKSPACE, _LEAST_WORKSPACE = 1024 * _MIB, 16 * _MIB
# More workspace is the remedy, not less.
_SMALL_WORKSPACE = re.compile(r"insufficient workspace|within workspace limit", re.IGNORECASE)


def build_within_memory(request: BuildRequest, progress: Progress, system: Path) -> tuple[BuildAnswer, BuildOptions]:
    """Build with less and less memory until it suffices.

    Args:
        request: What is wanted.
        progress: Is told of phases and retries.
        system: Where the system's files are.

    Returns:
        The answer, which has a plan, and the options that it was built with.

    Raises:
        GateMissed: The parser or the compiler refuses the model, or memory does not suffice.
        EnvironmentMissing: The compiler does not load here, or there is no GPU for it.
    """
    tried: list[str] = []
    for attempt in _attempts(request, system):
        if tried:
            progress.note(f"memory ran out with {tried[-1]}: once more with {_workspace_text(attempt)}")
        tried.append(_workspace_text(attempt))
        with _Phases(progress) as phases:
            found = run_build(attempt, _TIMEOUT_S, phases.watch)
        error = found.reason if isinstance(found, BrokeDown) else found.compile_error
        if isinstance(found, BuildAnswer) and found.parse_errors:
            node, operator, message = found.parse_errors[0]
            place = f" node {node}" + (f" ({operator})" if operator else "") if node else " the model"
            raise GateMissed(
                f"{COMPILER_TITLES[request.compiler]} does not take{place}: {message}",
                f"edgecnn check {request.model} says what to do",
            )
        if isinstance(found, BuildAnswer) and not error:
            return found, attempt.options
        if not (found.killed if isinstance(found, BrokeDown) else found.out_of_memory):
            hint = "give it more with --workspace MIB" if _SMALL_WORKSPACE.search(error) else ""
            raise GateMissed(f"{COMPILER_TITLES[request.compiler]} builds no engine: {error}", hint)
    raise GateMissed(
        f"memory ran out in each of {len(tried)} builds, the last with {tried[-1]}",
        "stop what else uses memory (on a Jetson the desktop: sudo systemctl isolate multi-user.target), add swap, or "
        "convert for smaller pictures",
    )


def _attempts(request: BuildRequest, system: Path) -> Iterator[BuildRequest]:
    options = request.options
    workspace = options.workspace_bytes or _free_workspace(request, system)
    yield request.model_copy(update={"options": options.model_copy(update={"workspace_bytes": workspace})})
    level = options.optimization_level
    for part, lowest in _RETRIES:
        smaller = max(_LEAST_WORKSPACE, int(part * (workspace or 4 * _FIRST_WORKSPACE)))
        now = min(workspace, smaller) if workspace else smaller
        if now == workspace and (level == 0 or not lowest):
            continue
        workspace, level = now, 0 if lowest else level
        less = options.model_copy(update={"workspace_bytes": workspace, "optimization_level": level})
        yield request.model_copy(update={"options": less})


def _workspace_text(request: BuildRequest) -> str:
    workspace = request.options.workspace_bytes
    text = f"a workspace of {workspace / _MIB:.0f} MiB" if workspace else "the default workspace"
    return f"{text} and few kernels tried" if request.options.optimization_level == 0 else text


def _free_workspace(request: BuildRequest, system: Path) -> int | None:
    """What a layer may take of the memory that is free; none, which is TensorRT's choice, where no GPU is asked."""
    if read_l4t(system) is not None:
        return int(_OF_FREE_SHARED * _free_bytes(system))
    if request.capability is not None:
        return None
    try:
        return int(_OF_FREE * free_bytes())
    except EnvironmentMissing:
        return None


def _free_bytes(system: Path) -> int:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", (system / "proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else _FIRST_WORKSPACE


def read_l4t(system: Path) -> str | None:
    """The version of a Jetson's system, such as 36.4.3; None elsewhere."""
    try:
        return l4t_version((system / "etc/nv_tegra_release").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


class _Phases:
    """The phases of a build as tasks, one after another."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: ProgressTask | None = None
        self._phase, self._done = "", 0

    def __enter__(self) -> _Phases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.__exit__(kind, error, trace)

    def watch(self, phase: str, done: int, steps: int) -> None:
        if phase != self._phase:
            self.__exit__(None, None, None)
            self._task = self._progress.task(phase, steps).__enter__()
            self._phase, self._done = phase, 0
        assert self._task is not None
        while self._done < done:
            self._task.advance()
            self._done += 1
