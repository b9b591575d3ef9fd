"""A profile as text for other programs: Markdown for a pull request, CSV of all samples, a trace for Perfetto."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from edgecnn.profiling.figures import TOTAL, batch_throughputs, figures_of, latency_estimates
from edgecnn.profiling.intervals import PERCENTS, Estimate
from edgecnn.profiling.records import Profile

# Perfetto takes more, slowly; the first samples of each round are what a reader looks at one by one.
TRACE_SAMPLES = 20_000
_SLOWEST = 10


def profile_markdown(profile: Profile) -> str:
    """The figures with their intervals, where they come from, and what is doubtful about them."""
    figures = figures_of(profile)
    where = profile.environment.machine + (
        f", {profile.environment.power_mode}" if profile.environment.power_mode else ""
    )
    lines = [
        f"### {_plain(profile.bundle)}: {profile.mode} latency",
        "",
        f"{_plain(profile.backend)} on {_plain(where)}; {profile.precision}, made for {_plain(profile.target)}; "
        f"{figures['samples']:,.0f} samples, model `{profile.model_sha256[:12]}`.",
        "",
        "| ms | " + " | ".join(f"p{percent:g}" for percent in PERCENTS) + " |",
        "|---|" + "---:|" * len(PERCENTS),
    ]
    for stage, row in latency_estimates(profile).items():
        name = f"**{stage}**" if stage == TOTAL else stage
        lines.append(f"| {name} | " + " | ".join(_cell(row[percent]) for percent in PERCENTS) + " |")
    lines += ["", "In brackets: 95% intervals.", *_more(profile, figures)]
    if profile.layers:
        lines += ["", f"<details><summary>Slowest {min(_SLOWEST, len(profile.layers))} layers</summary>", ""]
        lines += ["| layer | operator | mean, µs | share |", "|---|---|---:|---:|"]
        for layer in sorted(profile.layers, key=lambda each: -each.mean_ns)[:_SLOWEST]:
            name = ", ".join(layer.layers) or layer.name
            lines.append(
                f"| `{_plain(name)}` | {_plain(layer.op_type)} | {layer.mean_ns / 1e3:.1f} | {layer.part:.1%} |"
            )
        lines += ["", "</details>"]
    lines += [f"- note: {_plain(note)}" for note in profile.notes]
    lines += [f"- **warning:** {_plain(warning)}" for warning in profile.warnings]
    return "\n".join(lines) + "\n"


def _more(profile: Profile, figures: dict[str, float]) -> list[str]:
    found: list[str] = []
    if "p90_mlperf_ms" in figures:
        found.append(f"MLPerf SingleStream, early-stopping estimate of p90: {figures['p90_mlperf_ms']:.3f} ms.")
    if profile.mode == "offline":
        found += [f"Batch {size}: {each:,.1f} inputs/s." for size, each in batch_throughputs(profile).items()]
    if "missed_percent" in figures:
        found.append(f"Missed deadlines at {profile.fps:g} fps: {figures['missed_percent']:.2f}%.")
    if "slowdown" in figures:
        found.append(
            f"First minute {figures['first_minute_p50_ms']:.3f} ms, last quarter {figures['steady_p50_ms']:.3f} ms "
            f"(medians, {figures['slowdown'] - 1:+.1%})."
        )
    return ["", " ".join(found)] if found else []


def samples_csv(profile: Profile) -> str:
    """A row a sample: round, process, batch, start in seconds since the first sample, ms in each stage and in all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "round",
            "process",
            "batch",
            "start_s",
            *(f"{name.replace(' ', '_')}_ms" for name in profile.stages),
            "total_ms",
        ]
    )
    first = min(each.begin_ns for each in profile.rounds)
    for number, each in enumerate(profile.rounds):
        columns = [each.samples_ns[name] for name in profile.stages]
        for start, *times in zip(each.starts_ns, *columns, strict=True):
            stages = (f"{time / 1e6:.6f}" for time in (*times, sum(times)))
            writer.writerow([number, each.process, each.batch, f"{(each.begin_ns - first + start) / 1e9:.9f}", *stages])
    return text.getvalue()


def samples_trace(profile: Profile) -> str:
    """Samples and sensors in Chrome's trace format, which Perfetto opens: a track a process, a slice a stage.

    Of more than 20,000 samples the first ones of every round are there, and the trace's metadata say how many are not.
    """
    first = min(each.begin_ns for each in profile.rounds)
    share = max(TRACE_SAMPLES // len(profile.rounds), 1)
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": f"{profile.bundle} #{number}"}}
        for number in sorted({each.process for each in profile.rounds})
    ]
    left_out = 0
    for each in profile.rounds:
        left_out += max(len(each.starts_ns) - share, 0)
        for index, start in enumerate(each.starts_ns[:share]):
            at = each.begin_ns - first + start
            for name in profile.stages:
                spent = each.samples_ns[name][index]
                events.append(
                    {"ph": "X", "name": name, "pid": each.process, "tid": 0, "ts": at / 1e3, "dur": spent / 1e3}
                )
                at += spent
    for series in profile.telemetry.series if profile.telemetry is not None else ():
        events += [
            {
                "ph": "C",
                "name": f"{series.name}, {series.unit}",
                "pid": 0,
                "ts": (at - first) / 1e3,
                "args": {"value": value},
            }
            for at, value in zip(series.times_ns, series.values, strict=True)
            if value is not None and at >= first
        ]
    about = {"bundle": profile.bundle, "mode": profile.mode, "samples_left_out": left_out}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}, separators=(",", ":"))


def _cell(estimate: Estimate) -> str:
    low, high = (("…" if bound is None else f"{bound:.3f}") for bound in (estimate.low, estimate.high))
    return f"{estimate.value:.3f} [{low}, {high}]"


def _plain(text: str) -> str:
    """Text that stays in its cell and is no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
