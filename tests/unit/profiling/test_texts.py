"""A profile as Markdown, CSV and a trace."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from itertools import pairwise

from edgecnn.profiling.records import LayerTime, Profile, Round
from edgecnn.profiling.report.profile_text import TRACE_SAMPLES, profile_markdown, samples_csv, samples_trace
from edgecnn.profiling.telemetry.records import Series, TelemetryLog

ProfileOf = Callable[..., Profile]


def test_markdown_has_the_figures_and_the_doubts(profile_of: ProfileOf) -> None:
    layer = LayerTime(name="a|b", op_type="Conv", calls=1, mean_ns=2000, part=1)
    text = profile_markdown(
        profile_of(
            [index * 10_000 for index in range(1, 1001)], warnings=("no fan <b>",), notes=("a note",), layers=(layer,)
        )
    )
    assert "| ms | p50 | p90 | p95 | p99 | p99.9 |" in text
    total = next(line for line in text.splitlines() if line.startswith("| **total** "))
    assert "| 5.000 [" in total
    assert "- **warning:** no fan &lt;b>" in text
    assert "- note: a note" in text
    assert "| `a\\|b` | Conv | 2.0 | 100.0% |" in text
    assert "early-stopping estimate of p90: 9.2" in text


def test_csv_has_every_sample(profile_of: ProfileOf) -> None:
    rows = list(csv.DictReader(io.StringIO(samples_csv(profile_of([3_000_000, 4_000_000])))))
    assert [row["start_s"] for row in rows] == ["0.000000000", "0.003000000"]
    assert [float(row["total_ms"]) for row in rows] == [3, 4]
    assert [float(row["infer_ms"]) for row in rows] == [2.9985, 3.9985]
    assert {(row["round"], row["process"], row["batch"]) for row in rows} == {("0", "0", "1")}


def test_a_trace_is_slices_that_follow_each_other(profile_of: ProfileOf) -> None:
    log = TelemetryLog(
        series=(Series(name="gpu", unit="°C", times_ns=(0, 2 * 10**9), values=(40.0, 41.0)),), missing=()
    )
    document = json.loads(samples_trace(profile_of([3_000_000, 4_000_000], telemetry=log)))
    slices = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in slices] == ["preprocess", "infer", "decode"] * 2
    for before, after in pairwise(slices):
        assert before["ts"] + before["dur"] == after["ts"]
    counters = [event for event in document["traceEvents"] if event["ph"] == "C"]
    assert [(event["name"], event["ts"], event["args"]) for event in counters] == [("gpu, °C", 1e6, {"value": 41.0})]
    assert document["otherData"]["samples_left_out"] == 0


def test_a_trace_says_how_many_samples_it_leaves_out(profile_of: ProfileOf) -> None:
    rounds = tuple(
        Round(process=number, begin_ns=0, warm_up=0, starts_ns=range(size), samples_ns={"infer": (5,) * size})
        for number, size in enumerate((TRACE_SAMPLES, 10))
    )
    document = json.loads(samples_trace(profile_of([1], rounds=rounds)))
    shown = sum(event["ph"] == "X" for event in document["traceEvents"])
    assert shown == TRACE_SAMPLES // 2 + 10
    assert document["otherData"]["samples_left_out"] == TRACE_SAMPLES // 2
