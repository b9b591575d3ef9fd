"""convert.html: what each stage of a conversion cost and what it kept, as a page that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgecnn.core.artifact import DetectionAccuracy, OutputAccuracy
from edgecnn.profiling.report.page import (
    NO_VALUE,
    Column,
    Tone,
    bar,
    figure,
    layer_name,
    notice,
    pairs,
    prefix_for,
    render_page,
    section,
    table,
    text,
)
from edgecnn.profiling.report.readings_section import reading_sections


@dataclass(frozen=True)
class StageRow:
    """The model as one stage of the conversion left it.

    Attributes:
        name: The stage, such as ``fp32`` or ``int8``.
        detail: What was done, in a few words; may be empty.
        size_bytes: Size of the model's file.
        parameters: Weights and biases; none where they cannot be counted, as in a built engine.
        parity_text: How close the outputs are to the stage before, such as ``57.1 dB, 99.4% same class``.
        accuracy: On labelled images, 0 to 1; none where there are no labels.
        p50_ms: Median latency, milliseconds; none where it was not measured.
        p99_ms: 99th percentile of latency, milliseconds; none where it was not measured.
    """

    name: str
    detail: str
    size_bytes: int
    parameters: int | None
    parity_text: str
    accuracy: float | None
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class ConversionPage:
    """All that convert.html shows.

    Attributes:
        title: The bundle's name.
        target: The device it was made for.
        verdict: One sentence: whether the bundle may be used.
        stages: In the order they ran; sizes are compared with the first.
        facts: Names and values: preprocessing, labels, calibration, hashes.
        findings: For each, its severity (``error``, ``warning``, or a word of its own), where it is, what to do.
        accuracy_name: What the stages' accuracy is.
        boxes: For a detector, what its stages find: name and figures.
        readings: For a network of another kind, name and figures of its stages.
        units: Of its values, by name.
    """

    title: str
    target: str
    verdict: str
    stages: tuple[StageRow, ...]
    facts: tuple[tuple[str, str], ...]
    findings: tuple[tuple[str, str, str], ...]
    accuracy_name: str = "Accuracy"
    boxes: tuple[tuple[str, DetectionAccuracy], ...] = ()
    readings: tuple[tuple[str, OutputAccuracy], ...] = ()
    units: Mapping[str, str] = field(default_factory=dict[str, str])


def render_conversion(page: ConversionPage) -> str:
    """The whole HTML of convert.html, with its styles inside; it has no scripts."""
    target = pairs([("Target", page.target)])
    header = f'<header>\n<p class="kind">Conversion</p>\n<h1>{text(page.title)}</h1>\n{target}\n</header>'
    parts = [header, notice(_tone(page.findings), page.verdict)]
    if page.findings:
        parts.append(_findings(page.findings))
    if page.stages:
        parts.append(_stages(page.stages, page.accuracy_name))
        parts += [_boxes(page.boxes)] if page.boxes else []
        parts += reading_sections(page.readings, page.units)
        parts.append(_costs(page.stages))
    if page.facts:
        parts.append(section("Facts", pairs(page.facts)))
    return render_page(f"{page.title}: conversion for {page.target}", "\n".join(parts))


def _tone(findings: Sequence[tuple[str, str, str]]) -> Tone:
    """The gravest severity colours the verdict, which is free text. Green is left to whoever knows that it passed."""
    severities = {severity for severity, _, _ in findings}
    if "error" in severities:
        return "error"
    return "warning" if "warning" in severities else "plain"


def _findings(findings: Sequence[tuple[str, str, str]]) -> str:
    columns = [Column(label, numeric=False) for label in ("Severity", "Where", "What to do")]
    rows = [
        [
            f'<span class="badge {severity if severity in ("error", "warning") else "plain"}">{text(severity)}</span>',
            layer_name(where),
            text(advice),
        ]
        for severity, where, advice in findings
    ]
    return section("Findings", f'<div class="findings">{table("Findings", columns, rows)}</div>')


def _stages(stages: Sequence[StageRow], accuracy_name: str) -> str:
    size_divisor, size_prefix = prefix_for(max(stage.size_bytes for stage in stages))
    columns = [
        Column("Stage", numeric=False),
        Column("Size", f"{size_prefix}B"),
        Column("Parameters"),
        Column("Parity with the stage before", numeric=False),
        Column(accuracy_name, "%"),
        Column("p50", "ms"),
        Column("p99", "ms"),
    ]
    rows = [
        [
            f"{text(stage.name)}" + (f'<span class="detail">{text(stage.detail)}</span>' if stage.detail else ""),
            figure(stage.size_bytes / size_divisor),
            NO_VALUE if stage.parameters is None else f"{stage.parameters:,}",
            text(stage.parity_text or NO_VALUE),
            figure(None if stage.accuracy is None else 100 * stage.accuracy),
            figure(stage.p50_ms),
            figure(stage.p99_ms),
        ]
        for stage in stages
    ]
    return section("Stages", f'<div class="stages">{table("Stages of the conversion", columns, rows)}</div>')


def _boxes(rows: Sequence[tuple[str, DetectionAccuracy]]) -> str:
    columns = [
        Column("Stage", numeric=False),
        *(Column(label, "%") for label in ("mAP", "mAP 50", "small", "medium", "large", "kept", "supported")),
        Column("Score from"),
    ]
    cells = [
        [
            text(name),
            *(
                figure(None if part is None else 100 * part)
                for part in (found.map, found.map50, found.map_small, found.map_medium, found.map_large)
            ),
            f"{100 * found.box_agreement:.1f}",
            f"{100 * found.box_support:.1f}",
            figure(found.score_threshold),
        ]
        for name, found in rows
    ]
    note = (
        "mAP over IoU 0.50 to 0.95, of all objects and of small (below 32 x 32 pixels), medium and large ones (above "
        "96 x 96). Kept: part of FP32's boxes that the stage has too, of the same class with an IoU of 0.9; "
        "supported: part of its boxes that FP32 has. Score from: boxes with a lower score are not shown."
    )
    return section("Boxes", table("Boxes by stage", columns, cells), note)


def _costs(stages: Sequence[StageRow]) -> str:
    divisor, prefix = prefix_for(max(stage.size_bytes for stage in stages))
    largest = max(stage.size_bytes for stage in stages)
    first = stages[0].size_bytes
    sizes = []
    for stage in stages:
        drawn = bar(stage.size_bytes / largest if largest else 0.0)
        compared = f", {figure(100 * stage.size_bytes / first)}%" if first else ""
        sizes.append((stage.name, drawn, f"{figure(stage.size_bytes / divisor)} {prefix}B{compared}"))
    slowest = max((stage.p99_ms or stage.p50_ms or 0.0) for stage in stages)
    latencies = [(stage.name, _latency_bar(stage, slowest), _latency_text(stage)) for stage in stages]
    charts = [_bars("Size", "Of the model's file, and as a share of the first stage's.", sizes)]
    if slowest:
        charts.append(_bars("Latency", "Full colour up to p50, pale up to p99.", latencies))
    return section("Cost of each stage", f'<div class="pair">\n{"".join(charts)}\n</div>')


def _latency_bar(stage: StageRow, slowest: float) -> str:
    if stage.p50_ms is None:
        return '<span class="track"></span>'
    # p99 is drawn first and pale; p50 covers its beginning.
    behind = bar((stage.p99_ms or stage.p50_ms) / slowest, "pale")
    return f'<span class="layered">{behind}{bar(stage.p50_ms / slowest)}</span>'


def _latency_text(stage: StageRow) -> str:
    if stage.p50_ms is None:
        return "not measured"
    p99 = "" if stage.p99_ms is None else f" / {figure(stage.p99_ms)}"
    return f"{figure(stage.p50_ms)}{p99} ms"


def _bars(title: str, note: str, rows: Sequence[tuple[str, str, str]]) -> str:
    """A chart of horizontal bars: for each row its name, the bar as HTML, and the figure beside it."""
    lines = "".join(
        f'<li><span class="name">{text(name)}</span>{drawn}<span class="value">{text(value)}</span></li>\n'
        for name, drawn, value in rows
    )
    return (
        f'<figure><figcaption><h3>{text(title)}</h3></figcaption>\n<ul class="bars">\n{lines}</ul>\n'
        f'<p class="note">{text(note)}</p></figure>'
    )
