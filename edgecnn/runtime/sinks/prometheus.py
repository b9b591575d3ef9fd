"""A run's metrics for Prometheus to fetch."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from edgecnn import __version__
from edgecnn.core.percentiles import DurationHistogram
from edgecnn.errors import missing_extra
from edgecnn.runtime.listen import listen
from edgecnn.runtime.metrics import Metrics, Snapshot
from edgecnn.runtime.readings import Readings, ask_board, unit_of

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

# Bounds of the buckets, seconds: from a fast network on a GPU to a slow one on a CPU.
_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Who connects and says nothing is sent away after this, as each has a thread.
_SILENT_S = 10.0


class MetricsServer:
    """Answers ``GET /metrics`` in threads of its own.

    Args:
        host: To listen at.
        port: 0 for any that is free.
        metrics: Of the run.
        readings: Of the board.

    Raises:
        EnvironmentMissing: prometheus-client is not installed.
        InputError: The address is taken, or not this machine's.
    """

    def __init__(self, host: str, port: int, metrics: Metrics, readings: Readings | None = None) -> None:
        try:
            from prometheus_client import CollectorRegistry, MetricsHandler, ProcessCollector
        except ImportError:
            raise missing_extra("prometheus-client", "serve") from None
        listening = listen(host, port, "--metrics")
        registry = CollectorRegistry()
        registry.register(RunCollector(metrics, readings))  # type: ignore[arg-type]
        ProcessCollector(registry=registry)
        handler = type("_Handler", (MetricsHandler.factory(registry),), {"timeout": _SILENT_S})
        self._server = _Server(listening, handler)
        self.port: int = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, handler: type[Any]) -> None:
        super().__init__(listening.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hangs up in the middle is not worth a traceback."""


class RunCollector:
    """Metrics in Prometheus' conventions: base units, and counters for what only grows.

    Args:
        metrics: Of the run.
        readings: Of the board.
    """

    def __init__(self, metrics: Metrics, readings: Readings | None = None) -> None:
        self._metrics, self._readings = metrics, readings

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily

        now = self._metrics.snapshot()
        yield InfoMetricFamily("edgecnn", "The program.", value={"version": __version__})
        yield GaugeMetricFamily("edgecnn_run_duration_seconds", "Time since the run began.", value=now.seconds)
        yield from _source_metrics(now)
        yield _histogram(
            "edgecnn_frame_age_seconds", "From a frame's capture to its result.", "source", self._metrics.ages()
        )
        yield _histogram(
            "edgecnn_stage_duration_seconds", "Time of a frame in a stage.", "stage", self._metrics.stage_times()
        )
        yield from _sink_metrics(now)
        yield from _reading_metrics(ask_board(self._readings))

    def describe(self) -> list[Metric]:
        """Nothing: what there is depends on the run."""
        return []


def _source_metrics(now: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    up = GaugeMetricFamily("edgecnn_source_up", "Whether the source delivers frames.", labels=["source"])
    received = CounterMetricFamily("edgecnn_frames_received", "Frames that the source delivered.", labels=["source"])
    processed = CounterMetricFamily("edgecnn_frames_processed", "Frames with a result.", labels=["source"])
    dropped = CounterMetricFamily(
        "edgecnn_frames_dropped", "Frames without a result, by where they were dropped.", labels=["source", "place"]
    )
    reconnects = CounterMetricFamily(
        "edgecnn_source_reconnects", "Times that a lost source came back.", labels=["source"]
    )
    for name, source in now.sources.items():
        up.add_metric([name], source.state == "running")
        received.add_metric([name], source.received)
        processed.add_metric([name], source.processed)
        for place, count in source.dropped.items():
            dropped.add_metric([name, place], count)
        reconnects.add_metric([name], source.reconnects)
    yield from (up, received, processed, dropped, reconnects)
    compared = CounterMetricFamily(
        "edgecnn_frames_compared", "Frames compared with the training pictures.", labels=["source"]
    )
    unlike = CounterMetricFamily("edgecnn_frames_unlike", "Of these, frames that are unlike them.", labels=["source"])
    distance = GaugeMetricFamily(
        "edgecnn_shift_distance_ratio",
        "Of the last frame from the training pictures, as a part of the distance beyond which it is unlike them.",
        labels=["source"],
    )
    for name, source in now.sources.items():
        if source.shift is not None:
            compared.add_metric([name], source.shift.compared)
            unlike.add_metric([name], source.shift.unlike)
            distance.add_metric([name], source.shift.distance)
    if distance.samples:
        yield from (compared, unlike, distance)


def _sink_metrics(now: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    up = GaugeMetricFamily("edgecnn_sink_up", "Whether the sink takes results.", labels=["sink"])
    written = CounterMetricFamily("edgecnn_sink_results_written", "Results that the sink took.", labels=["sink"])
    dropped = CounterMetricFamily(
        "edgecnn_sink_results_dropped", "Results that the sink will never take.", labels=["sink"]
    )
    waiting = GaugeMetricFamily(
        "edgecnn_sink_results_waiting", "Results that the sink has yet to take or to send.", labels=["sink"]
    )
    for name, sink in now.sinks.items():
        up.add_metric([name], sink.state == "running")
        written.add_metric([name], sink.written)
        dropped.add_metric([name], sink.dropped)
        waiting.add_metric([name], sink.waiting)
    yield from (up, written, dropped, waiting)


def _histogram(name: str, documentation: str, label: str, found: Mapping[str, DurationHistogram]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, documentation, labels=[label])
    for value, durations in found.items():
        counts = durations.within([bound * 1e9 for bound in _BOUNDS_S])
        buckets = [(str(bound), float(count)) for bound, count in zip(_BOUNDS_S, counts, strict=True)]
        family.add_metric([value], [*buckets, ("+Inf", float(durations.count))], sum_value=durations.sum_ns / 1e9)
    return family


def _reading_metrics(readings: Mapping[str, float]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    families: dict[str, Any] = {}
    for name, value in readings.items():
        part, unit = unit_of(name)
        metric = f"edgecnn_device_{unit.quantity}_{unit.base}" if unit else "edgecnn_device_reading"
        documentation = f"The board's {unit.quantity}." if unit else "What else the board says of itself."
        family = families.setdefault(metric, GaugeMetricFamily(metric, documentation, labels=["part"]))
        family.add_metric([part], value * unit.factor if unit else value)
    yield from families.values()
