"""The figures that a reader looks for first, as tiles."""

from __future__ import annotations

from edgecnn.profiling.intervals import PERCENTS, Estimate
from edgecnn.profiling.records import Profile
from edgecnn.profiling.report.page import figure, milliseconds, section, text
from edgecnn.profiling.report.time_section import sustained_sentence

# Fewer samples than this have no rank between p99.9 and the slowest.
_SAMPLES_FOR_P999 = 1000


def tiles_section(profile: Profile, total: dict[float, Estimate], figures: dict[str, float]) -> str:
    """Percentiles with intervals, throughput, and energy where it is known."""
    tiles = [
        _tile(f"p{percent:g}", figure(total[percent].value), "ms", interval_text(total[percent]))
        for percent in PERCENTS
        if percent != 95
    ]
    tiles.append(_tile("max", figure(figures["max_ms"]), "ms"))
    if "fps" in figures:
        unit = "inputs/s" if profile.mode == "offline" else "frames/s"
        tiles.append(_tile("throughput", figure(figures["fps"]), unit, _also(profile, figures)))
    if "joules_a_frame" in figures:
        net = figures.get("net_joules_a_frame")
        below = "" if net is None else f"{figure(1000 * net)} above rest"
        tiles.append(_tile("energy", figure(1000 * figures["joules_a_frame"]), "mJ a frame", below))
    notes = ["In brackets: 95% intervals."]
    if profile.energy is not None and profile.energy.rails:
        notes.append(f"Energy is that of {profile.energy.scope} ({', '.join(profile.energy.rails)}).")
    if figures["samples"] < _SAMPLES_FOR_P999:
        notes.append(f"Of {figures['samples']:,.0f} samples, p99.9 is the slowest.")
    if "p90_mlperf_ms" in figures:
        notes.append(
            f"p90 by MLPerf's rules for SingleStream (early stopping): {milliseconds(figures['p90_mlperf_ms'])}."
        )
    if profile.mode == "sustained":
        notes.append(sustained_sentence(figures))
    title = {"cold-start": "Start to first result", "offline": "A batch", "trtexec": "Latency"}.get(
        profile.mode, "Frame to result"
    )
    return section(title, f'<div class="tiles">\n{"".join(tiles)}\n</div>', " ".join(notes))


def _also(profile: Profile, figures: dict[str, float]) -> str:
    if "missed_percent" in figures:
        return f"{figure(figures['missed_percent'])}% missed {profile.fps:g} fps"
    if "dropped" in figures:
        return f"{figures['dropped']:,.0f} of {figures['received']:,.0f} dropped"
    return ""


def _tile(name: str, value: str, unit: str, below: str = "") -> str:
    more = f'<span class="below">{text(below)}</span>' if below else ""
    return (
        f'<div class="tile" data-figure="{text(name)}"><span class="name">{text(name)}</span>'
        f'<span><span class="value">{text(value)}</span> <span class="unit">{text(unit)}</span></span>{more}</div>\n'
    )


def interval_text(estimate: Estimate) -> str:
    """In brackets; dots for a bound that samples do not give."""
    low, high = ("…" if bound is None else figure(bound) for bound in (estimate.low, estimate.high))
    return f"[{low}, {high}]"
