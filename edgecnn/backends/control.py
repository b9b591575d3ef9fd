"""The FP16 engine beside an INT8 one: INT8 that is not faster costs accuracy for nothing, and is not kept."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgecnn.backends.session import Session
from edgecnn.backends.trt import TensorRtEngine, TensorRtSession
from edgecnn.core.engine import LAYERS, PLAN, TIMING_CACHE, Control, EngineRecord
from edgecnn.core.tensors import Arrays
from edgecnn.errors import EdgecnnError

# In turn, so that clocks which drift meet both alike.
_ROUNDS = 10
_ROUND_S, _LEAST_RUNS = 0.1, 5
_WARM_UP_S = 0.5


def choose(int8: Path, record: EngineRecord, fp16: Path, build: Callable[[], EngineRecord]) -> EngineRecord:
    """Build the control, time both, and have the faster one in the INT8 engine's folder.

    What keeps them from being compared keeps INT8, and is said in the record.

    Args:
        int8: The folder with the INT8 plan.
        record: Of it.
        fp16: A folder in it for the control's, which is gone afterwards.
        build: Builds the control there.

    Returns:
        The record of the engine that is kept.
    """
    try:
        if not record.gpu:
            return _kept(record, reason="it was built ahead of time, without the GPU")
        try:
            other = build()
            int8_ms, fp16_ms = _time_plans((int8 / PLAN, fp16 / PLAN), record)
        except EdgecnnError as error:
            return _kept(record, reason=error.message)
        if int8_ms < fp16_ms:
            return _kept(record, int8_ms=int8_ms, fp16_ms=fp16_ms)
        for name in (PLAN, LAYERS, TIMING_CACHE):
            (int8 / name).unlink(missing_ok=True)
            if (fp16 / name).is_file():
                (fp16 / name).replace(int8 / name)
        return other.model_copy(update={"control": Control(kept="fp16", int8_ms=int8_ms, fp16_ms=fp16_ms)})
    finally:
        shutil.rmtree(fp16, ignore_errors=True)


def control_text(record: EngineRecord) -> str:
    """What became of the control, in a sentence; empty where there was none."""
    control = record.control
    if control is None:
        return ""
    if control.int8_ms is None or control.fp16_ms is None:
        return f"INT8 was not timed against FP16: {control.reason}"
    times = f"INT8 takes {control.int8_ms:.3f} ms, FP16 {control.fp16_ms:.3f} ms"
    return f"{times}: {'INT8' if control.kept == 'int8' else 'FP16, which is nearer to FP32,'} is kept"


def time_in_turn(sessions: Sequence[Session]) -> list[float]:
    """The median time of a run of each, milliseconds: rounds of each in turn, on the same noise."""
    feeds = [_noise(session) for session in sessions]
    times: list[list[int]] = [[] for _ in sessions]
    for session, fed in zip(sessions, feeds, strict=True):
        _run_for(session, fed, _WARM_UP_S)
    for _ in range(_ROUNDS):
        for session, fed, taken in zip(sessions, feeds, times, strict=True):
            taken += _run_for(session, fed, _ROUND_S)
    return [statistics.median(taken) / 1e6 for taken in times]


def _kept(record: EngineRecord, **figures: object) -> EngineRecord:
    return record.model_copy(update={"control": Control.model_validate({"kept": "int8", **figures})})


def _time_plans(plans: Sequence[Path], record: EngineRecord) -> list[float]:
    sessions: list[TensorRtSession] = []
    try:
        for plan in plans:
            sessions.append(TensorRtSession(TensorRtEngine(plan, record.compiler, record.options)))
        return time_in_turn(sessions)
    finally:
        for session in sessions:
            session.close()


def _run_for(session: Session, feeds: Arrays, seconds: float) -> list[int]:
    taken: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while len(taken) < _LEAST_RUNS or time.perf_counter_ns() < end:
        begin = time.perf_counter_ns()
        session.run(feeds)
        taken.append(time.perf_counter_ns() - begin)
    return taken


def _noise(session: Session) -> Arrays:
    """Zeros would take less power than pictures do, and with it other clocks."""
    generator = np.random.default_rng(0)
    return {
        spec.name: generator.integers(0, 256, tuple(map(int, spec.shape))).astype(spec.dtype) for spec in session.inputs
    }
