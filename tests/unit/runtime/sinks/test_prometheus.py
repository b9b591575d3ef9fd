"""What Prometheus gets, read by its own parser."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from edgecnn.errors import InputError
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.sinks.prometheus import MetricsServer

parser = pytest.importorskip(
    "prometheus_client.parser", reason="prometheus-client is not installed: pip install 'edgecnn[serve]'"
)
MS = 1_000_000
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
READINGS = {"gpu_celsius": 51.5, "vdd_in_mw": 7400.0, "cpu_percent": 25.0, "gpu_mhz": 918.0, "odd": 3.0}


@pytest.fixture
def metrics() -> Metrics:
    """Of a camera that runs, one that is lost, and a sink that fails."""
    metrics = Metrics()
    door, yard = metrics.source("door"), metrics.source('yard "\\ \n')
    door.enter("running")
    for index in range(200):
        door.receive()
        if index % 2:
            door.process((index + 1) * MS // 2)
            metrics.stage("infer", 4 * MS)
    door.drop("buffer", 100)
    for state in ("running", "lost", "running", "lost"):
        yard.enter(state, "no answer")  # type: ignore[arg-type]
    events = metrics.sink("events")
    events.count(written=90, dropped=10)
    events.wait(7)
    events.enter("failing", "no room left on the disk")
    return metrics


@pytest.fixture
def scrape(metrics: Metrics) -> Iterator[Callable[[], str]]:
    server = MetricsServer("127.0.0.1", 0, metrics, lambda: READINGS)

    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            return str(answer.read(), "utf-8")

    yield get
    server.close()


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_sources_sinks_and_board_by_name(scrape: Callable[[], str]) -> None:
    found = samples(scrape())

    def value(name: str, **labels: str) -> float:
        return found[(f"edgecnn_{name}", tuple(sorted(labels.items())))]

    yard = 'yard "\\ \n'
    assert (value("source_up", source="door"), value("source_up", source=yard)) == (1, 0)
    assert value("frames_received_total", source="door") == 200
    assert value("frames_processed_total", source="door") == 100
    assert value("frames_dropped_total", source="door", place="buffer") == 100
    assert value("source_reconnects_total", source=yard) == 1
    assert value("sink_up", sink="events") == 0
    assert value("sink_results_written_total", sink="events") == 90
    assert value("sink_results_dropped_total", sink="events") == 10
    assert value("sink_results_waiting", sink="events") == 7
    assert value("device_temperature_celsius", part="gpu") == 51.5
    assert value("device_power_watts", part="vdd_in") == pytest.approx(7.4)
    assert value("device_load_ratio", part="cpu") == 0.25
    assert value("device_frequency_hertz", part="gpu") == 918e6
    assert value("device_reading", part="odd") == 3
    assert value("run_duration_seconds") > 0
    assert found[("process_resident_memory_bytes", ())] > 1e6


def test_frame_ages_fall_into_buckets_of_seconds(scrape: Callable[[], str]) -> None:
    found = samples(scrape())
    # 1, 2, ... 100 ms.
    for bound, wanted in (("0.0025", 2), ("0.01", 10), ("0.025", 25), ("0.1", 100), ("+Inf", 100)):
        labels = tuple(sorted({"source": "door", "le": bound}.items()))
        assert found[("edgecnn_frame_age_seconds_bucket", labels)] == pytest.approx(wanted, abs=1)
    assert found[("edgecnn_frame_age_seconds_sum", (("source", "door"),))] == pytest.approx(5.05)
    assert found[("edgecnn_frame_age_seconds_count", (("source", "door"),))] == 100
    assert found[("edgecnn_stage_duration_seconds_count", (("stage", "infer"),))] == 100
    assert found[("edgecnn_stage_duration_seconds_sum", (("stage", "infer"),))] == pytest.approx(0.4)


def test_names_are_as_prometheus_wants_them(scrape: Callable[[], str]) -> None:
    text = scrape()
    for family in parser.text_string_to_metric_families(text):
        assert re.fullmatch(r"(edgecnn|process)_[a-z_]+[a-z]", family.name)
    if (promtool := shutil.which("promtool")) is not None:
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout


def test_a_port_that_is_taken_is_told_of(metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=r"--metrics 127\.0\.0\.1:.* already in use"):
            MetricsServer("127.0.0.1", taken.getsockname()[1], metrics)


def test_it_listens_no_more_behind_its_end(metrics: Metrics) -> None:
    server = MetricsServer("127.0.0.1", 0, metrics)
    server.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0
