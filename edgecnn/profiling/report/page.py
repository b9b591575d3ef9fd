"""What both reports share: the HTML shell, tables, notices and the writing of figures."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Literal

from edgecnn import __version__
from edgecnn.core.resources import plot_asset

Tone = Literal["plain", "ok", "warning", "error"]

_SORTABLE = ' class="sortable"'
NO_VALUE = "\N{EN DASH}"

# The policy makes "no network" something that the browser enforces. Scripts are named by their hashes, so that
# markup from a layer's name could not run even if its escaping were forgotten one day.
_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; {script_policy}">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<main>
{body}
</main>
<footer>edgecnn {version}</footer>
{scripts}
</body>
</html>
"""


@dataclass(frozen=True)
class Column:
    """Head of a table's column.

    Attributes:
        label: What the column holds.
        unit: The unit of its figures; empty for words and for plain numbers.
        numeric: Figures are set to the right, words to the left.
    """

    label: str
    unit: str = ""
    numeric: bool = True


def asset(name: str) -> str:
    """Text of a file in ``assets``, or of uPlot."""
    if name.startswith("uPlot"):
        return plot_asset(name)
    return (files("edgecnn.profiling.report") / "assets" / name).read_text(encoding="utf-8")


def text(value: object) -> str:
    """Anything as text that is safe inside an element and inside a quoted attribute."""
    return escape(str(value), quote=True)


def figure(value: float | None) -> str:
    """A number to 3 significant figures, never in powers of ten; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    # Rounding comes first: 9.996 has to become 10.0, and only then is it known how many decimals that takes.
    rounded = float(f"{value:.2e}")
    if rounded == 0:
        return "0"
    return f"{rounded:.{max(2 - math.floor(math.log10(abs(rounded))), 0)}f}"


def milliseconds(value: float) -> str:
    """A latency for a sentence; a line does not break before its unit."""
    return f"{figure(value)}\N{NO-BREAK SPACE}ms"


def prefix_for(largest: float) -> tuple[float, str]:
    """The decimal prefix that suits a column of figures: what to divide them by, and the letter."""
    for divisor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= divisor:
            return divisor, letter
    return 1.0, ""


def section(title: str, body: str, note: str = "") -> str:
    """A titled part of the page.

    Args:
        title: Plain text.
        body: HTML.
        note: Plain text under the title: what the reader should know before reading the figures.
    """
    remark = f'<p class="note">{text(note)}</p>\n' if note else ""
    return f"<section>\n<h2>{text(title)}</h2>\n{remark}{body}\n</section>"


def table(name: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, sortable: bool = False) -> str:
    """A table that scrolls inside its frame where the screen is narrow.

    Args:
        name: What a screen reader calls it.
        columns: One for each cell of a row. The first is the row's heading.
        rows: Cells as HTML; their text is already escaped.
        sortable: Whether a click on a head sorts by it; the page's script does that.
    """
    heads = "".join(f'<th scope="col"{_numeric(column)}>{_head(column, sortable)}</th>' for column in columns)
    lines = []
    for row in rows:
        cells = [f'<th scope="row"{_numeric(columns[0])}>{row[0]}</th>']
        cells += [f"<td{_numeric(column)}>{cell}</td>" for column, cell in zip(columns[1:], row[1:], strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="scroll" role="region" aria-label="{text(name)}" tabindex="0">\n'
        f"<table{_SORTABLE if sortable else ''}>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """A list of names and values, both plain text."""
    lines = "\n".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return f'<dl class="pairs">\n{lines}\n</dl>'


def notice(tone: Tone, title: str, lines: Sequence[str] = ()) -> str:
    """A framed message: a title and any number of points, all plain text."""
    points = "".join(f"<li>{text(line)}</li>" for line in lines)
    body = f"<ul>{points}</ul>" if points else ""
    return f'<div class="notice {tone}" role="note"><p>{text(title)}</p>{body}</div>'


def layer_name(name: str) -> str:
    """A name from the graph, as HTML that breaks after the slashes inside it, and elsewhere only if it must."""
    return f'<span class="layer">{re.sub(r"(?<=[^ ])/", "/<wbr>", text(name))}</span>'


def bar(part: float, tone: str = "") -> str:
    """A horizontal bar that fills ``part`` (0 to 1) of the room it is given."""
    width = 100 * min(max(part, 0.0), 1.0)
    return f'<span class="track"><span class="fill {text(tone)}" style="width:{width:.2f}%"></span></span>'


def chart(identifier: str, title: str, caption: str) -> str:
    """The place of a chart that a script draws, with what a pointer reads there, and a caption under it; plain text."""
    return (
        f'<figure><figcaption><h3>{text(title)}</h3><output id="{identifier}-readout"></output></figcaption>\n'
        f'<div class="chart" id="{identifier}" role="img" aria-label="{text(title)}. {text(caption)}"></div>\n'
        + (f'<p class="note">{text(caption)}</p>' if caption else "")
        + "</figure>"
    )


def json_block(identifier: str, content: object) -> str:
    """Data for a script. ``<`` is escaped, so nothing in it can end the element."""
    packed = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{text(identifier)}">{packed}</script>'


def render_page(title: str, body: str, styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """A whole HTML document that loads nothing.

    Args:
        title: Plain text.
        body: HTML of the main part.
        styles: Style sheets that come before the reports' own.
        scripts: JavaScript that runs, in this order, when the body is there.
    """
    blocks = [f"\n{script}\n" for script in scripts]
    hashes = [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks]
    policy = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return _SHELL.format(
        script_policy=f"script-src {policy}",
        title=text(title),
        style="\n".join([*styles, asset("report.css")]),
        body=body,
        version=text(__version__),
        scripts="\n".join(f"<script>{block}</script>" for block in blocks),
    )


def _head(column: Column, sortable: bool) -> str:
    label = text(column.label) + (f' <span class="unit">{text(column.unit)}</span>' if column.unit else "")
    return f'<button type="button">{label}</button>' if sortable and column.label else label


def _numeric(column: Column) -> str:
    return ' class="n"' if column.numeric else ""
