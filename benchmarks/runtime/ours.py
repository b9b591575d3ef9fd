"""``python -m benchmarks.runtime.ours KIND [...]``: one measurement of edgecnn in a process of its own, as JSON.

``free FILM FRAMES``, ``cpu BUNDLE FILM FRAMES``, ``overload SECONDS``, ``camera ADDRESS SECONDS``, ``fair SECONDS``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runtime.clock import ClockReader
from benchmarks.runtime.parts import CLASSES, SIDE, free_detector
from edgecnn.backends.fake import FakeSession
from edgecnn.backends.ort import OrtSession
from edgecnn.core.classifier import Classifier
from edgecnn.core.detector import Detector, Layout
from edgecnn.core.preprocess import Preprocess
from edgecnn.deploy.bundle import load_bundle
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.pipeline import RunResult, run_pipeline
from edgecnn.runtime.sources.base import FrameSource, open_source
from edgecnn.runtime.sources.synthetic import SyntheticSource

INFERENCE_S = 0.1
FAIR_S, FAIR_CAMERAS, FAIR_FPS = 0.025, 4, 15.0
_CLASSIFIER = Classifier(Preprocess(size_hw=(224, 224)), ("a", "b", "c"), "logits")
FREE_DETECTOR = Detector(
    Preprocess(size_hw=(SIDE, SIDE), resize="letterbox", interpolation="linear", mean=(0,) * 3, std=(1,) * 3),
    tuple(f"class {number}" for number in range(CLASSES)),
    Layout(kind="yolov8", boxes="output0", classes=CLASSES),
)


class _Timed:
    """A session whose processor time is added up."""

    def __init__(self, session: Any) -> None:
        self.inputs, self.outputs = session.inputs, session.outputs
        self.description, self.reuses_outputs = session.description, session.reuses_outputs
        self.cpu_s = 0.0
        self._session = session

    def run(self, feeds: Any) -> Any:
        begin = time.thread_time()
        outputs = self._session.run(feeds)
        self.cpu_s += time.thread_time() - begin
        return outputs

    def close(self) -> None:
        self._session.close()


def main() -> None:
    """Measure and print."""
    kind, *arguments = sys.argv[1:]
    print(
        json.dumps(
            {"free": _free, "cpu": _cpu, "overload": _overload, "camera": _camera, "fair": _fair}[kind](*arguments)
        )
    )


def _run(sources: list[FrameSource], session: Any, usage: Any, *sinks: Any, **limits: Any) -> RunResult:
    return run_pipeline(sources, session, usage, sinks, threading.Event(), **limits)


def _free(film: str, frames: str) -> dict[str, Any]:
    session = OrtSession(free_detector(), threads=1)
    begin = time.process_time()
    report = _run([open_source(film)], session, FREE_DETECTOR, max_frames=int(frames)).report
    cpu_s = time.process_time() - begin
    return {"fps": report.fps, "cpu_ms": 1e3 * cpu_s / report.processed, "frames": report.processed}


def _cpu(bundle: str, film: str, frames: str) -> dict[str, Any]:
    loaded = load_bundle(Path(bundle))
    session = _Timed(OrtSession(loaded.model, threads=1))
    begin = time.process_time()
    report = _run([open_source(film)], session, loaded.manifest.usage, max_frames=int(frames)).report
    outside_s = time.process_time() - begin - session.cpu_s
    return {"outside_ms": 1e3 * outside_s / report.processed, "inference_ms": 1e3 * session.cpu_s / report.processed}


def _fake(seconds: float) -> FakeSession:
    return FakeSession(lambda _: np.zeros((1, 3)), (1, 3, 224, 224), (1, 3), seconds)


def _overload(seconds: str) -> dict[str, Any]:
    ages_ms: list[float] = []

    class Ages:
        def put(self, frame: Any, result: Any, age_ns: int) -> None:  # noqa: ARG002
            ages_ms.append(age_ns / 1e6)

        def close(self, timeout_s: float) -> None: ...

    report = _run(
        [SyntheticSource(1280, 720, 60.0)], _fake(INFERENCE_S), _CLASSIFIER, Ages(), duration_s=float(seconds)
    ).report
    return {"ages_ms": ages_ms, "inference_ms": report.stages["infer"].p50_ms, "dropped": report.dropped}


def _camera(address: str, seconds: str) -> dict[str, Any]:
    reader, metrics = ClockReader(), Metrics()
    source = open_source(address, metrics=metrics.source(address))
    _run([source], _fake(INFERENCE_S), _CLASSIFIER, reader, metrics=metrics, duration_s=float(seconds))
    return {"ages_ms": reader.ages_ms}


def _fair(seconds: str) -> dict[str, Any]:
    sources = [SyntheticSource(640, 480, FAIR_FPS) for _ in range(FAIR_CAMERAS)]
    for number, source in enumerate(sources):
        source.name = f"camera {number}"
    report = _run(list(sources), _fake(FAIR_S), _CLASSIFIER, duration_s=float(seconds)).report
    return {"processed": [found.processed for found in report.sources.values()], "seconds": report.seconds}


if __name__ == "__main__":
    main()
