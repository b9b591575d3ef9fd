"""Counts of a run, from several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from edgecnn.runtime.metrics import Metrics


def test_counts_of_many_threads_add_up() -> None:
    metrics = Metrics()

    def work(_: int) -> None:
        for _ in range(500):
            metrics.source("camera").receive()
            metrics.source("camera").process(2_000_000)
            metrics.source("camera").drop("capture", 2)
            metrics.sink("events").count(written=1, dropped=3)
            metrics.stage("infer", 1_000_000)
            metrics.snapshot()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    found = metrics.snapshot()
    camera, events = found.sources["camera"], found.sinks["events"]
    assert (camera.received, camera.processed, camera.dropped) == (2000, 2000, {"capture": 4000})
    assert (events.written, events.dropped) == (2000, 6000)
    assert found.stages["infer"].count == camera.frame_age.count == 2000
    assert abs(camera.frame_age.p50_ms - 2) < 0.02


def test_a_source_that_comes_back_has_reconnected() -> None:
    source = Metrics().source("camera")
    assert source.snapshot().state == "connecting"
    source.enter("running")
    assert source.snapshot().reconnects == 0
    source.enter("lost", "no picture for 5 s")
    assert source.snapshot().reason == "no picture for 5 s"
    source.enter("connecting")
    source.enter("lost", "refused")
    source.enter("connecting")
    source.enter("running")
    source.enter("running")
    found = source.snapshot()
    assert (found.state, found.reason, found.reconnects) == ("running", "", 1)
