"""profile.html: one latency measurement as a page that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgecnn.profiling.records import STAGES, LayerTime, Profile
from edgecnn.profiling.report.distribution import (
    Histogram,
    Milliseconds,
    Summary,
    Timeline,
    ecdf,
    histogram,
    summarize,
    timeline,
)
from edgecnn.profiling.report.page import (
    NO_VALUE,
    Column,
    asset,
    bar,
    figure,
    json_block,
    layer_name,
    milliseconds,
    notice,
    pairs,
    render_page,
    section,
    table,
    text,
)

SLOWEST_SHOWN = 15
# Fewer frames than this have no rank between p99.9 and the slowest.
_FRAMES_FOR_P999 = 1000
_TIMES = "\N{MULTIPLICATION SIGN}"
_STATISTICS = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def render_profile(profile: Profile) -> str:
    """The whole HTML of profile.html, with its charts, scripts and styles inside."""
    samples = {name: np.asarray(profile.samples_ns[name], dtype=np.float64) / 1e6 for name in STAGES}
    total = np.sum(list(samples.values()), axis=0)
    summaries = {name: summarize(times) for name, times in samples.items()} | {"total": summarize(total)}
    bins, runs = histogram(total), timeline(total)
    body = "\n".join(
        [
            _header(profile),
            _warnings(profile.warnings),
            _tiles(summaries["total"], len(total)),
            _distribution(bins, len(total), summaries["total"].maximum),
            _stages(summaries),
            _drift(runs, bins.edges[-1], len(total)),
            _layers(profile.layers),
            _conditions(profile),
            json_block("profile-data", _chart_data(total, summaries["total"], bins, runs)),
        ]
    )
    # The licence of uPlot asks for its text in every copy, and each page is one.
    plot = f"/*\n{asset('uPlot.LICENSE')}\n*/\n{asset('uPlot.iife.min.js')}"
    title = f"{profile.bundle}: latency on {profile.target}"
    return render_page(title, body, styles=(asset("uPlot.min.css"),), scripts=(plot, asset("profile.js")))


def _header(profile: Profile) -> str:
    facts = (
        ("Target", profile.target),
        ("Machine", profile.environment.machine),
        ("Backend", profile.backend),
        ("Precision", profile.precision),
        ("Model SHA-256", f"{profile.model_sha256[:12]}…"),
    )
    return (
        f'<header>\n<p class="kind">Latency profile</p>\n<h1>{text(profile.bundle)}</h1>\n{pairs(facts)}\n'
        f'<p class="note">Frames measured, one after another: {len(profile.samples_ns["infer"]):,}. '
        f"Before them, to warm up: {profile.warm_up:,}.</p>\n</header>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return notice("ok", "No warnings: nothing was found that would keep these figures from being repeated.")
    return notice("warning", "These figures may not be repeatable", warnings)


def _tiles(total: Summary, frames: int) -> str:
    latencies = (
        ("p50", total.p50),
        ("p90", total.p90),
        ("p99", total.p99),
        ("p99.9", total.p999),
        ("max", total.maximum),
    )
    tiles = [_tile(name, figure(value), "ms") for name, value in latencies]
    tiles.append(_tile("throughput", figure(1000 / total.mean if total.mean else None), "frames/s"))
    few = f"Of {frames:,} frames, p99.9 is the slowest." if frames < _FRAMES_FOR_P999 else ""
    return section("Frame to result", f'<div class="tiles">\n{"".join(tiles)}\n</div>', few)


def _tile(name: str, value: str, unit: str) -> str:
    return (
        f'<div class="tile" data-figure="{text(name)}"><span class="name">{text(name)}</span>'
        f'<span><span class="value">{text(value)}</span> <span class="unit">{text(unit)}</span></span></div>\n'
    )


def _chart(identifier: str, title: str, caption: str) -> str:
    return (
        f'<figure><figcaption><h3>{text(title)}</h3><output id="{identifier}-readout"></output></figcaption>\n'
        f'<div class="chart" id="{identifier}" role="img" aria-label="{text(title)}. {text(caption)}"></div>\n'
        f'<p class="note">{text(caption)}</p></figure>'
    )


def _distribution(bins: Histogram, frames: int, slowest: float) -> str:
    caption = "All frames are shown."
    if bins.beyond:
        caption = (
            f"The axis ends at {milliseconds(bins.edges[-1])}. Beyond it: {bins.beyond:,} of {frames:,} frames, "
            f"the slowest at {milliseconds(slowest)}."
        )
    left = _chart("histogram", "Histogram", caption)
    right = _chart("ecdf", "Cumulative distribution (ECDF)", "Share of frames that took no longer than a latency.")
    return section(
        "Distribution",
        f'<div class="pair">\n{left}\n{right}\n</div>\n'
        '<noscript><p class="note">The charts need JavaScript; the tables do not.</p></noscript>',
    )


def _stages(summaries: dict[str, Summary]) -> str:
    columns = [Column("Stage", numeric=False)] + [Column(name, "ms") for name in _STATISTICS]
    rows = [[text(name), *map(figure, _values(summary))] for name, summary in summaries.items()]
    whole = summaries["total"].mean
    parts, keys = [], []
    for name in STAGES:
        share = summaries[name].mean / whole if whole else 0.0
        parts.append(f'<span class="{name}" style="width:{100 * share:.2f}%"></span>')
        keys.append(
            f'<li><span class="swatch {name}"></span>{name} <b>{figure(100 * share)}%</b>'
            f' <span class="unit">{figure(summaries[name].mean)} ms</span></li>'
        )
    breakdown = f'<div class="stack" aria-hidden="true">{"".join(parts)}</div>\n<ul class="keys">{"".join(keys)}</ul>\n'
    return section(
        "Stages",
        breakdown + table("Latency of each stage", columns, rows),
        "Shares are of the mean. Percentiles are nearest-rank, so stages do not add up to the total's.",
    )


def _values(summary: Summary) -> tuple[float, ...]:
    return summary.mean, summary.p50, summary.p90, summary.p95, summary.p99, summary.p999, summary.maximum


def _drift(runs: Timeline, ceiling: float, frames: int) -> str:
    caption = "Each point is one frame."
    if len(runs.first) < frames:
        each = round(frames / len(runs.first))
        caption = f"Line: median of {each:,} frames in a row. Band: from the fastest to the slowest of them."
    if _runs_above(runs, ceiling):
        caption += f" Dots at the upper edge: frames that took longer than {milliseconds(ceiling)}."
    elif max(runs.highest) > ceiling:
        caption += f" The axis ends at {milliseconds(ceiling)}; most stretches have some frame that took longer."
    return section("Over time", _chart("timeline", "Frame to result, in the order measured", caption))


def _runs_above(runs: Timeline, ceiling: float) -> list[int]:
    """Which runs have a frame above the axis; none of them where it is most, as dots on all would say nothing."""
    above = [index for index, slowest in enumerate(runs.highest) if slowest > ceiling]
    return above if len(above) <= len(runs.highest) / 2 else []


def _layers(layers: Sequence[LayerTime]) -> str:
    if not layers:
        return section("Layers", '<p class="note">The backend reports no times of single layers.</p>')
    slowest = sorted(layers, key=lambda layer: layer.part, reverse=True)
    shown = slowest[:SLOWEST_SHOWN]
    body = _layer_table("Slowest layers", shown, slowest[0].part)
    note = ""
    if len(slowest) > len(shown):
        share = figure(100 * sum(layer.part for layer in shown))
        note = f"The {len(shown)} slowest of {len(slowest)} take {share}% of the time in layers."
        body += (
            f"\n<details><summary>All {len(slowest)} layers</summary>\n"
            f"{_layer_table('All layers', slowest, slowest[0].part)}\n</details>"
        )
    return section("Slowest layers", body, note)


def _layer_table(name: str, layers: Iterable[LayerTime], largest: float) -> str:
    columns = [
        Column("Layer", numeric=False),
        Column("Operator", numeric=False),
        Column("Mean", "µs"),
        Column("Share", "%"),
        Column("", numeric=False),
    ]
    rows = [
        [
            layer_name(layer.name),
            text(layer.op_type),
            figure(layer.mean_ns / 1e3),
            figure(100 * layer.part),
            bar(layer.part / largest if largest else 0.0),
        ]
        for layer in layers
    ]
    return f'<div class="layers">{table(name, columns, rows)}</div>'


def _conditions(profile: Profile) -> str:
    environment = profile.environment
    height, width = profile.frame_hw
    rows = [
        ("Taken at", environment.taken_at),
        ("Machine", environment.machine),
        ("Architecture", environment.architecture),
        ("System", environment.system),
        ("JetPack", environment.jetpack or NO_VALUE),
        ("Power mode", environment.power_mode or NO_VALUE),
        ("CPU governor", environment.governor or "not reported"),
        ("Load average, 1 min", figure(environment.load_average)),
        ("Cores", str(environment.cores)),
        ("Memory", f"{figure(environment.memory_bytes / 2**30)} GiB"),
        ("Threads", str(profile.threads)),
        ("Frame", f"{width} {_TIMES} {height} px"),
        ("Network input", f" {_TIMES} ".join(map(str, profile.input_shape))),
        ("Model SHA-256", profile.model_sha256),
        *sorted(environment.packages.items()),
    ]
    return section("Environment", pairs(rows))


def _chart_data(total: Milliseconds, summary: Summary, bins: Histogram, runs: Timeline) -> dict[str, object]:
    """What profile.js draws; latencies in milliseconds."""
    start, end = bins.edges[0], bins.edges[-1]
    latencies, percent = ecdf(total, end)
    return {
        "marks": [["p50", 50, summary.p50], ["p90", 90, summary.p90], ["p99", 99, summary.p99]],
        "frames": len(total),
        "histogram": {"edges": bins.edges, "counts": bins.counts},
        # The line starts on the axis and runs on to the end of it, past the last step.
        "ecdf": {"latency": [start, *latencies, end], "percent": [0, *percent, percent[-1]]},
        # One slow frame must not flatten the rest: what is above this is drawn at the upper edge.
        "timeline": {**vars(runs), "ceiling": end, "above": _runs_above(runs, end)},
    }
