"""compare.html and its Markdown: profiles side by side, and which differences are real."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.profiling.compare import Compared, Comparison
from edgecnn.profiling.differences import Ratio
from edgecnn.profiling.report.page import (
    NO_VALUE,
    Column,
    Tone,
    figure,
    notice,
    pairs,
    render_page,
    section,
    table,
    text,
)

_LATENCIES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")
_PERCENTILES = ("p10", "p50", "p90", "p99")
# Shown where any profile has them.
_OTHERS = {
    "fps": "frames/s",
    "p90_mlperf_ms": "p90 by MLPerf's rules, ms",
    "missed_percent": "missed deadlines, %",
    "slowdown": "slowdown when hot",
    "top1": "top-1, %",
    "top1_drop": "top-1 lost, points",
    "map": "mAP, %",
    "map_drop": "mAP lost, points",
    "samples": "samples",
}
# An interval is drawn on a scale that has all of them, and at least this much on either side of 1.
_LEAST_REACH = 0.02
_METHODS = {
    "in pairs": "Both took turns of a twentieth of a second, and each turn is held against the one beside it; the "
    "interval is the sign test's over the processes, with 99% confidence.",
    "run against run": "Each was measured on its own, and processes are held against processes (Mann and Whitney's "
    "test, 95%). What the machine did between the two is not known: the interval is wider by what is usual, and by "
    "what a fixed piece of work beside the frames differed by. For small differences: "
    "edgecnn profile BUNDLE --against OTHER.",
}


def comparison_rows(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and cells of a table for a terminal; a head that ends in a space is of words."""
    columns = (
        "profile ",
        "precision ",
        "backend ",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p10 ratio ",
        "p50 ratio ",
        "verdict ",
    )
    rows = [
        (
            row.name,
            row.precision,
            row.backend,
            *(f"{row.figures[name]:.3f}" for name in _LATENCIES[:3]),
            _interval(row.ratios.get("p10")),
            _interval(row.ratios.get("p50")),
            _verdict(row),
        )
        for row in comparison.profiles
    ]
    return columns, rows


def comparison_markdown(comparison: Comparison) -> str:
    """For a pull request."""
    columns, rows = comparison_rows(comparison)
    lines = [
        "### Latency compared with " + _plain(comparison.profiles[0].name),
        "",
        "| " + " | ".join(column.strip() for column in columns) + " |",
        "|" + "".join("---|" if column.endswith(" ") else "---:|" for column in columns),
        *("| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows),
        "",
        "In brackets: intervals, of 99% in pairs, of 95% and what machines do between runs for run against run.",
        "",
        *(f"- {_plain(row.name)}: {_plain(row.sentence())}" for row in comparison.profiles[1:]),
    ]
    for method in dict.fromkeys(row.method for row in comparison.profiles if row.method is not None):
        lines.append(_METHODS[method])
    lines += [f"- **unlike:** {_plain(row.name)}: {_plain(each)}" for row in comparison.profiles for each in row.unlike]
    lines += [
        f"- **warning:** {_plain(row.name)}: {_plain(each)}" for row in comparison.profiles for each in row.warnings
    ]
    return "\n".join(lines) + "\n"


def render_comparison(comparison: Comparison) -> str:
    """The whole HTML of compare.html, with its styles inside; it has no scripts."""
    first, *others = comparison.profiles
    names = " and ".join(row.name for row in comparison.profiles)
    header = (
        f'<header>\n<p class="kind">Comparison</p>\n<h1>{text(names)}</h1>\n'
        f"{pairs([('Baseline', first.name), ('Machine', first.machine)])}\n</header>"
    )
    parts = [header]
    for row in others:
        parts.append(notice(_tone(row), f"{row.name}: {row.sentence()}"))
    unlike = [f"{row.name}: {each}" for row in others for each in row.unlike]
    if unlike:
        parts.append(notice("warning", "Measured under unlike conditions", unlike))
    doubts = [f"{row.name}: {each}" for row in comparison.profiles for each in row.warnings]
    if doubts:
        parts.append(notice("warning", "These figures may not be repeatable", doubts))
    if others:
        parts.append(_ratios(others))
    parts.append(_figures(comparison.profiles))
    parts.append(_conditions(comparison.profiles))
    title = f"{others[-1].name} against {first.name}: latency" if others else f"{first.name}: latency"
    return render_page(title, "\n".join(parts))


def _ratios(others: Sequence[Compared]) -> str:
    """A line for each percentile: the interval of its ratio on one scale, with 1 marked."""
    known = [ratio for row in others for ratio in row.ratios.values()]
    ends = [
        bound for ratio in known for bound in (ratio.low, ratio.high, ratio.value) if bound is not None and bound > 0
    ]
    low, high = min([*ends, 1 - _LEAST_REACH]), max([*ends, 1 + _LEAST_REACH])
    low, high = max(low, 0.25), min(high, 4.0)

    def at(value: float) -> float:
        return 100 * (min(max(value, low), high) - low) / (high - low)

    blocks: list[str] = []
    for row in others:
        lines: list[str] = []
        for name in _PERCENTILES:
            ratio = row.ratios[name]
            left, right = at(ratio.low), at(ratio.high if ratio.high is not None else high)
            tone = {"slower": "worse", "faster": "better"}.get(ratio.verdict, "")
            lines.append(
                f'<li><span class="name">{name}</span><span class="interval {tone}">'
                f'<span class="one" style="left:{at(1):.2f}%"></span>'
                f'<span class="reach" style="left:{left:.2f}%;width:{max(right - left, 0.4):.2f}%"></span>'
                f'<span class="point" style="left:{at(ratio.value):.2f}%"></span></span>'
                f'<span class="value">{text(_interval(ratio))}</span></li>'
            )
        method = _METHODS[row.method] if row.method is not None else ""
        blocks.append(
            f'<figure><figcaption><h3>{text(row.name)}</h3></figcaption><ul class="bars">{"".join(lines)}</ul>'
            f'<p class="note">{text(method)}</p></figure>'
        )
    note = (
        f"Latency in parts of the first one's, with intervals, from {figure(low)} to {figure(high)}. "
        "The line is 1: an interval across it shows no difference, and a wide one cannot tell. "
        "p10 is of frames that nothing held up, and decides; "
        "where it shows nothing and both took turns, p50 does."
    )
    return section("Ratios", "\n".join(blocks), note)


def _figures(rows: Sequence[Compared]) -> str:
    names = {name: f"{name.removesuffix('_ms').replace('p999', 'p99.9')}, ms" for name in _LATENCIES} | _OTHERS
    shown = {name: title for name, title in names.items() if any(name in row.figures for row in rows)}
    columns = [Column("Figure", numeric=False), *(Column(row.name) for row in rows)]
    cells = [[text(title), *(_number(name, row.figures.get(name)) for row in rows)] for name, title in shown.items()]
    return section("Figures", table("Figures side by side", columns, cells))


def _number(name: str, value: float | None) -> str:
    return f"{value:,.0f}" if name == "samples" and value is not None else figure(value)


def _conditions(rows: Sequence[Compared]) -> str:
    columns = [Column("", numeric=False), *(Column(row.name, numeric=False) for row in rows)]
    facts = {
        "Bundle": [row.bundle for row in rows],
        "Precision": [row.precision for row in rows],
        "Mode": [row.mode for row in rows],
        "Backend": [row.backend for row in rows],
        "Machine": [row.machine for row in rows],
        "Power mode": [row.power_mode or NO_VALUE for row in rows],
        "Versions": [", ".join(f"{name} {version}" for name, version in row.versions.items()) for row in rows],
        "Made for": [row.target for row in rows],
        "Model SHA-256": [f"{row.model_sha256[:12]}…" for row in rows],
    }
    cells = [[text(name), *(text(value) for value in values)] for name, values in facts.items()]
    return section("What was measured", table("What was measured", columns, cells))


def _tone(row: Compared) -> Tone:
    tones: dict[str, Tone] = {"slower": "warning", "faster": "ok"}
    return tones.get(row.verdict or "", "plain")


def _interval(ratio: Ratio | None) -> str:
    if ratio is None:
        return "1"
    high = "…" if ratio.high is None else f"{ratio.high:.3f}"
    return f"{ratio.value:.3f} [{ratio.low:.3f}, {high}]"


def _verdict(row: Compared) -> str:
    return "baseline" if row.verdict is None else row.verdict


def _plain(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|").replace("<", "&lt;")
