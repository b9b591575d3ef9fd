"""Sampling in a thread, with readers that give chosen values."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edgecnn.profiling.telemetry.reader import JoinedReader
from edgecnn.profiling.telemetry.sampler import Sampler


class Chosen:
    """Gives these rows, then the last one again and again; ``enough`` is set once all were given."""

    def __init__(self, *rows: dict[str, float | None], missing: tuple[str, ...] = ()) -> None:
        self.rows: Iterator[dict[str, float | None]] = iter(rows)
        self.last = rows[-1]
        self.missing = missing
        self.enough = threading.Event()
        self.closed = False

    def read(self) -> dict[str, float | None]:
        """The next row."""
        for row in self.rows:
            return row
        self.enough.set()
        return self.last

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def test_series_with_gaps_and_late_beginnings() -> None:
    reader = Chosen(
        {"gpu_celsius": 40.0}, {"gpu_celsius": None, "vdd_in_mw": 5000.0}, {"vdd_in_mw": 6000.0}, missing=("fan: none",)
    )
    with Sampler(reader, interval_s=0.001) as sampler:
        assert reader.enough.wait(30)
        assert sampler.latest() == {"vdd_in_mw": 6000.0}
    log = sampler.log()
    gpu, power = log.series
    assert (gpu.name, gpu.unit, gpu.values[:3]) == ("gpu_celsius", "°C", (40.0, None, None))
    assert (power.name, power.unit, power.values[:3]) == ("vdd_in_mw", "mW", (None, 5000.0, 6000.0))
    assert gpu.times_ns == power.times_ns
    assert list(gpu.times_ns) == sorted(set(gpu.times_ns))
    assert log.missing == ("fan: none",)
    assert reader.closed


def test_only_the_newest_are_kept_where_that_is_asked_for() -> None:
    reader = Chosen({"gpu_percent": 1.0}, {"gpu_percent": 2.0}, {"gpu_percent": 3.0})
    with Sampler(reader, interval_s=0.001, most_samples=1) as sampler:
        assert reader.enough.wait(30)
    assert [series.values for series in sampler.log().series] == [(3.0,)]


def test_nothing_yet() -> None:
    sampler = Sampler(Chosen({}))
    assert sampler.latest() == {}
    assert sampler.log().series == ()


def test_a_reader_with_a_bug_ends_the_telemetry_and_not_the_measurement() -> None:
    class Broken(Chosen):
        def read(self) -> dict[str, float | None]:
            self.enough.set()
            raise KeyError("rail")

    reader = Broken({})
    with Sampler(reader) as sampler:
        assert reader.enough.wait(30)
    assert sampler.log().missing == ("telemetry ended early: KeyError: 'rail'",)


def test_the_first_reader_counts() -> None:
    joined = JoinedReader([Chosen({"gpu_mhz": 918.0}, missing=("one",)), Chosen({"gpu_mhz": 917.0, "emc_mhz": 2133.0})])
    assert joined.read() == {"gpu_mhz": 918.0, "emc_mhz": 2133.0}
    assert joined.missing == ("one",)


def test_a_series_has_a_value_for_each_time() -> None:
    from edgecnn.profiling.telemetry.records import Series

    with pytest.raises(ValueError, match="2 times and 1 values"):
        Series(name="gpu_mhz", unit="MHz", times_ns=(1, 2), values=(3.0,))
