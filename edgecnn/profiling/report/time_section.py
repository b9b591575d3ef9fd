"""The part of profile.html on time: latencies in the order measured, and under them what the sensors said."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgecnn.profiling.figures import shown_rounds
from edgecnn.profiling.records import Profile
from edgecnn.profiling.report.distribution import Timeline
from edgecnn.profiling.report.page import chart, figure, milliseconds, section, text
from edgecnn.profiling.telemetry.records import Series

# How readings are shown: as what unit, and what they are divided by.
_SHOWN = {"mW": ("W", 1e3), "B": ("GiB", float(2**30)), "": ("on", 1.0)}
# Points of a sensor's line; of more readings each point is the mean of as many as it takes.
MAX_READINGS = 600


def time_section(profile: Profile, runs: Timeline, ceiling: float) -> str:
    """The timeline and a chart for each unit that sensors have."""
    samples = sum(runs.count)
    several = len(shown_rounds(profile)) > 1
    caption = "Each point is one sample."
    if len(runs.count) < samples:
        caption = (
            f"Line: median of {samples / len(runs.count):,.0f} samples in a row; band: from the fastest to the slowest."
        )
    if several:
        processes = len({each.process for each in shown_rounds(profile)})
        caption += f" Where it breaks, another of {processes} processes began."
    above = runs_above(runs, ceiling)
    if above:
        caption += f" Dots at the upper edge: samples that took longer than {milliseconds(ceiling)}."
    elif max(runs.highest) > ceiling:
        caption += f" The axis ends at {milliseconds(ceiling)}; most stretches have some sample that took longer."
    body = chart("timeline", "Latency, in the order measured", caption)
    for index, (unit, names) in enumerate(_units(profile).items()):
        body += "\n" + chart(f"sensor-{index}", f"{', '.join(names)} ({_SHOWN.get(unit, (unit, 1.0))[0]})", "")
    missing = profile.telemetry.missing if profile.telemetry is not None else ()
    if missing:
        points = "".join(f"<li>{text(line)}</li>" for line in missing)
        title = f"Sensors that are not there: {len(missing)}"
        body += f'\n<details><summary>{title}</summary><ul class="plain">{points}</ul></details>'
    return section("Over time", body)


def runs_above(runs: Timeline, ceiling: float) -> list[int]:
    """Which runs have a sample above the axis; none of them where it is most, as dots on all would say nothing."""
    above = [index for index, slowest in enumerate(runs.highest) if slowest > ceiling]
    return above if len(above) <= len(runs.highest) / 2 else []


def sensor_data(profile: Profile, begin_ns: int) -> list[dict[str, object]]:
    """For each unit, its sensors' readings: seconds since the first sample, and values; null for a gap."""
    if profile.telemetry is None:
        return []
    return [
        {
            "unit": _SHOWN.get(unit, (unit, 1.0))[0],
            "series": [
                {"name": name, **_readings(series, begin_ns)}
                for series in profile.telemetry.series
                for name in [series.name]
                if series.unit == unit and series.times_ns
            ],
        }
        for unit in _units(profile)
    ]


def _units(profile: Profile) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for series in profile.telemetry.series if profile.telemetry is not None else ():
        if any(value is not None for value in series.values):
            found.setdefault(series.unit, []).append(series.name)
    return found


def _readings(series: Series, begin_ns: int) -> dict[str, list[float | None]]:
    seconds = (np.asarray(series.times_ns, np.int64) - begin_ns) / 1e9
    values = np.array([np.nan if value is None else value for value in series.values], np.float64)
    values /= _SHOWN.get(series.unit, ("", 1.0))[1]
    bounds = np.linspace(0, len(values), min(len(values), MAX_READINGS) + 1).astype(int)
    means: list[float | None] = []
    for start, end in pairwise(bounds):
        known = values[start:end][~np.isnan(values[start:end])]
        means.append(float(f"{known.mean():.6g}") if len(known) else None)
    return {"seconds": [round(float(seconds[start]), 3) for start in bounds[:-1]], "values": means}


def sustained_sentence(figures: dict[str, float]) -> str:
    """What became of the latency as the board warmed."""
    change = figures["slowdown"] - 1
    return (
        f"Median of the first minute {figure(figures['first_minute_p50_ms'])} ms, "
        f"of the last quarter {figure(figures['steady_p50_ms'])} ms: {change:+.1%}."
    )
