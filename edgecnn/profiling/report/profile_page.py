"""profile.html: one latency measurement as a page that opens anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.profiling.figures import (
    TOTAL,
    batch_throughputs,
    figures_of,
    latency_estimates,
    shown_rounds,
)
from edgecnn.profiling.intervals import PERCENTS, Estimate
from edgecnn.profiling.records import Profile
from edgecnn.profiling.report.distribution import Histogram, Timeline, ecdf, histogram, timeline
from edgecnn.profiling.report.environment_section import environment_section
from edgecnn.profiling.report.layers_section import layers_section, roofline_data, roofline_section
from edgecnn.profiling.report.page import (
    Column,
    asset,
    bar,
    chart,
    figure,
    json_block,
    milliseconds,
    notice,
    pairs,
    render_page,
    section,
    table,
    text,
)
from edgecnn.profiling.report.tiles_section import interval_text, tiles_section
from edgecnn.profiling.report.time_section import runs_above, sensor_data, time_section

_MODES = {
    "single-stream": "one frame after another, each as soon as the one before has its result",
    "fixed-rate": "frames due at a fixed rate; a latency counts from when the frame was due",
    "offline": "batches of inputs that are ready in memory, one after another",
    "end-to-end": "frames of a source through the runtime; a latency is the age of a result",
    "cold-start": "a fresh process each time, from its start to the first result",
    "sustained": "one process, frame after frame, while the board heats",
    "trtexec": "measured by NVIDIA's trtexec and read from its files",
}


def render_profile(profile: Profile) -> str:
    """The whole HTML of profile.html, with its charts, scripts and styles inside."""
    rounds = shown_rounds(profile)
    estimates, figures = latency_estimates(profile), figures_of(profile)
    begin_ns = min(each.begin_ns for each in rounds)
    parts = [
        ((np.asarray(each.starts_ns, np.int64) + (each.begin_ns - begin_ns)) / 1e9, each.total_ns() / 1e6)
        for each in rounds
    ]
    total = np.concatenate([samples for _, samples in parts])
    bins, runs = histogram(total), timeline(parts)
    marks = [[f"p{percent:g}", percent, estimates[TOTAL][percent].value] for percent in (50.0, 90.0, 99.0)]
    body = "\n".join(
        [
            _header(profile, figures),
            _warnings(profile),
            tiles_section(profile, estimates[TOTAL], figures),
            _distribution(bins, len(total), figures["max_ms"]),
            _stages(profile, estimates, figures),
            _batches(profile),
            time_section(profile, runs, bins.edges[-1]),
            layers_section(profile),
            roofline_section(profile),
            environment_section(profile),
            json_block(
                "profile-data",
                {**_chart_data(total, marks, bins, runs), "sensors": sensor_data(profile, begin_ns)}
                | {"roofline": roofline_data(profile)},
            ),
        ]
    )
    # The licence of uPlot asks for its text in every copy, and each page is one.
    plot = f"/*\n{asset('uPlot.LICENSE')}\n*/\n{asset('uPlot.iife.min.js')}"
    title = f"{profile.bundle}: latency on {profile.target}"
    scripts = (plot, asset("profile.js"), asset("sort.js"))
    return render_page(title, body, styles=(asset("uPlot.min.css"),), scripts=scripts)


def _header(profile: Profile, figures: dict[str, float]) -> str:
    facts = (
        ("Mode", profile.mode),
        ("Machine", profile.environment.machine),
        ("Backend", profile.backend),
        ("Precision", profile.precision),
        ("Made for", profile.target),
        ("Model SHA-256", f"{profile.model_sha256[:12]}…"),
    )
    rounds = shown_rounds(profile)
    processes = len({each.process for each in rounds})
    how = f"{_MODES[profile.mode].capitalize()}. {figures['samples']:,.0f} samples of {_count(processes, 'process')}"
    if warm := sum(each.warm_up for each in rounds):
        how += f", after {warm:,} to warm up"
    return (
        f'<header>\n<p class="kind">Latency profile</p>\n<h1>{text(profile.bundle)}</h1>\n{pairs(facts)}\n'
        f'<p class="note">{text(how)}.</p>\n</header>'
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}es"


def _warnings(profile: Profile) -> str:
    notes = notice("plain", "How it was measured", profile.notes) if profile.notes else ""
    if profile.warnings:
        return notice("warning", "These figures may not be repeatable", profile.warnings) + notes
    return notice("ok", "No warnings: nothing was found that would keep these figures from being repeated.") + notes


def _distribution(bins: Histogram, samples: int, slowest: float) -> str:
    caption = "All samples are shown."
    if bins.beyond:
        caption = (
            f"The axis ends at {milliseconds(bins.edges[-1])}. Beyond it: {bins.beyond:,} of {samples:,} samples, "
            f"the slowest at {milliseconds(slowest)}."
        )
    left = chart("histogram", "Histogram", caption)
    right = chart("ecdf", "Cumulative distribution (ECDF)", "Share of samples that took no longer than a latency.")
    return section(
        "Distribution",
        f'<div class="pair">\n{left}\n{right}\n</div>\n'
        '<noscript><p class="note">The charts need JavaScript; the tables do not.</p></noscript>',
    )


def _stages(profile: Profile, estimates: dict[str, dict[float, Estimate]], figures: dict[str, float]) -> str:
    """A waterfall of medians, and a table with intervals."""
    middles = {stage: estimates[stage][50.0].value for stage in profile.stages}
    whole = sum(middles.values()) or 1.0
    lines: list[str] = []
    begin = 0.0
    for index, (stage, middle) in enumerate(middles.items()):
        lines.append(
            f'<li><span class="name">{text(stage)}</span><span class="track fall">'
            f'<span class="fill stage-{index % 4}" style="left:{100 * begin / whole:.2f}%;'
            f'width:{100 * middle / whole:.2f}%">'
            f'</span></span><span class="value">{figure(middle)} <span class="unit">ms</span> '
            f"{figure(100 * middle / whole)}%</span></li>"
        )
        begin += middle
    waterfall = f'<ul class="bars waterfall">{"".join(lines)}</ul>\n' if len(middles) > 1 else ""
    columns = [
        Column("Stage", numeric=False),
        Column("mean", "ms"),
        *(Column(f"p{percent:g}", "ms") for percent in PERCENTS),
        Column("max", "ms"),
    ]
    rows: list[list[str]] = []
    for stage, row in estimates.items():
        prefix = "" if stage == TOTAL else f"{stage.replace(' ', '_')}_"
        cells = [
            f'{figure(row[percent].value)}<span class="below">{text(interval_text(row[percent]))}</span>'
            for percent in PERCENTS
        ]
        rows.append([text(stage), figure(figures[f"{prefix}mean_ms"]), *cells, figure(figures[f"{prefix}max_ms"])])
    note = (
        "Bars: medians, one after another. Percentiles are nearest-rank, so stages do not add up to the total's. "
        "In brackets: 95% intervals, the wider of order statistics and a bootstrap of blocks."
    )
    return section(
        "Stages", f'{waterfall}<div class="percentiles">{table("Latency of each stage", columns, rows)}</div>', note
    )


def _batches(profile: Profile) -> str:
    if profile.mode != "offline":
        return ""
    sizes = batch_throughputs(profile)
    most = max(sizes.values()) or 1.0
    columns = [Column("Batch"), Column("Throughput", "inputs/s"), Column("", numeric=False)]
    rows = [[str(size), figure(each), bar(each / most)] for size, each in sizes.items()]
    return section("Throughput by batch size", table("Throughput by batch size", columns, rows))


def _chart_data(
    total: np.ndarray, marks: Sequence[Sequence[object]], bins: Histogram, runs: Timeline
) -> dict[str, object]:
    """What profile.js draws; latencies in milliseconds."""
    start, end = bins.edges[0], bins.edges[-1]
    latencies, percent = ecdf(total, end)
    return {
        "marks": marks,
        "frames": len(total),
        "histogram": {"edges": bins.edges, "counts": bins.counts},
        # The line starts on the axis and runs on to the end of it, past the last step.
        "ecdf": {"latency": [start, *latencies, end], "percent": [0, *percent, percent[-1]]},
        # One slow sample must not flatten the rest: what is above this is drawn at the upper edge.
        "timeline": {**vars(runs), "ceiling": end, "above": runs_above(runs, end)},
    }
