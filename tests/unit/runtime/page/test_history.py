"""A run's figures second by second."""

from __future__ import annotations

import errno
import json
import math

import pytest

from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.page.history import History

MS = 1_000_000


def test_a_second_holds_only_what_it_brought() -> None:
    metrics = Metrics()
    door = metrics.source("door")
    history = History(metrics, lambda: {"gpu_celsius": 51.25, "vdd_in_mw": 7400.0, "odd": 1.0})
    for age_ms in (1, 2, 3):
        door.process(age_ms * MS)
    history.sample()
    for _ in range(100):
        door.process(500 * MS)
    history.sample()
    history.sample()
    found = history.document(0)["history"]
    ages = found["sources"]["door"]
    assert found["number"] == [1, 2, 3]
    assert ages["age_p50_ms"] == [pytest.approx(2, rel=0.01), pytest.approx(500, rel=0.01), None]
    assert ages["age_p99_ms"] == [pytest.approx(3, rel=0.01), pytest.approx(500, rel=0.01), None]
    assert ages["fps"][2] == 0
    assert found["readings"] == {"gpu_celsius": [51.25] * 3, "vdd_in_mw": [7400.0] * 3, "odd": [1.0] * 3}


def test_what_a_browser_has_is_not_sent_again_and_a_new_source_has_no_past() -> None:
    metrics = Metrics()
    metrics.source("door").process(MS)
    history = History(metrics)
    history.sample()
    metrics.source("yard").process(MS)
    history.sample()
    whole, rest = history.document(0), history.document(1)
    assert whole["history"]["sources"]["yard"]["age_p50_ms"][0] is None
    assert rest["history"]["number"] == [2]
    assert (rest["last"], history.document(2)["history"]["time"]) == (2, [])


def test_a_lost_source_says_since_when_and_why() -> None:
    metrics = Metrics()
    door = metrics.source("door")
    door.enter("running")
    history = History(metrics)
    history.sample()
    running = history.document(0)["sources"]["door"]
    door.enter("lost", "no picture for 5 s")
    history.sample()
    lost = history.document(0)["sources"]["door"]
    history.sample()
    assert (running["state"], lost["state"], lost["reason"]) == ("running", "lost", "no picture for 5 s")
    assert running["since"] <= lost["since"] == history.document(0)["sources"]["door"]["since"]


def test_ten_minutes_are_kept_and_all_is_json() -> None:
    metrics = Metrics()
    metrics.source("door").drop("buffer", 3)
    metrics.sink("events").enter("failing", "full")
    history = History(metrics, lambda: {"gpu_celsius": 50.0})
    for _ in range(700):
        history.sample()
    found = json.loads(json.dumps(history.document(0), allow_nan=False))
    assert len(found["history"]["time"]) == 600
    assert found["sources"]["door"]["dropped"] == {"buffer": 3}
    assert found["sinks"]["events"]["reason"] == "full"
    assert found["units"]["gpu_celsius"] == {"part": "gpu", "quantity": "temperature", "unit": "\N{DEGREE SIGN}C"}


def test_a_sensor_that_is_gone_costs_nothing_else() -> None:
    history = History(Metrics(), lambda: {"gpu_celsius": math.nan, "cpu_celsius": 40.0})
    history.sample()

    def gone() -> dict[str, float]:
        raise OSError(errno.ENODEV, "No such device")

    broken = History(Metrics(), gone)
    broken.sample()
    assert history.document(0)["history"]["readings"] == {"cpu_celsius": [40.0]}
    assert broken.document(0)["history"]["readings"] == {}
