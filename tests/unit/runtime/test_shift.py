"""Frames of a source held against training pictures while it runs."""

from __future__ import annotations

import numpy as np
import pytest

from edgecnn.core.frame import Embedding, Frame
from edgecnn.core.preprocess import Preprocess
from edgecnn.core.readings import Embedder
from edgecnn.evaluate.shift import fit_shift
from edgecnn.runtime.interpret import Interpreter
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.shift import ShiftWatch
from edgecnn.vision.shift import statistic_names, statistics_of

USAGE = Embedder(Preprocess(size_hw=(8, 8)))
RESULT = Embedding(np.float32([1]))


def picture(level: int, random: np.random.Generator) -> np.ndarray:
    return random.integers(level - 20, level + 20, (8, 8, 3)).astype(np.uint8)


def test_frames_are_counted_and_what_is_furthest_off_is_named() -> None:
    random = np.random.default_rng(0)
    rows = np.stack([statistics_of(picture(random.integers(90, 110), random), RESULT, USAGE) for _ in range(160)])
    part = fit_shift(statistic_names(USAGE), rows[:60], rows[60:])
    metrics = Metrics()
    watch = ShiftWatch(part, USAGE, metrics.source("camera"), interval_ns=100)
    interpret = Interpreter(USAGE, shift=watch)

    assert metrics.source("camera").snapshot().shift is None
    for index in range(20):  # every second one comes too soon
        interpret(Frame(index, 50 * index, picture(100, random)), RESULT)
    found = metrics.source("camera").snapshot().shift
    assert found is not None
    assert (found.compared, found.unlike <= 1, found.distance < 1.5) == (10, True, True)

    for index in range(20, 40):
        interpret(Frame(index, 50 * index, picture(180, random)), RESULT)
    dark = metrics.source("camera").snapshot().shift
    assert dark is not None
    assert (dark.compared, dark.unlike - found.unlike) == (20, 10)
    assert dark.distance > 1
    assert dark.furthest.startswith("brightness +")


def test_metrics_for_prometheus_and_the_page() -> None:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'edgecnn[serve]'")
    from edgecnn.runtime.page.history import History
    from edgecnn.runtime.sinks.prometheus import RunCollector

    metrics = Metrics()
    metrics.source("plain").receive()
    names = {family.name for family in RunCollector(metrics).collect()}
    assert "edgecnn_frames_compared" not in names
    for distance in (0.5, 2.0, 1.5):
        metrics.source("camera").compare(distance, "contrast -2.0")

    families = {family.name: family for family in RunCollector(metrics).collect()}

    assert [sample.value for sample in families["edgecnn_frames_compared"].samples] == [3]
    assert [sample.value for sample in families["edgecnn_frames_unlike"].samples] == [2]
    assert [sample.value for sample in families["edgecnn_shift_distance_ratio"].samples] == [1.5]
    history = History(metrics)
    history.sample()
    shown = history.document(0)["sources"]
    assert (shown["camera"]["unlike_percent"], shown["plain"]["unlike_percent"]) == (66.7, None)
