"""Fit the estimate to published latencies, judge it on those held out, and write both down.

Writes edgecnn/estimate/parameters.yaml and the tables of docs/estimate.md. Networks are exported the first time, which
takes some ten minutes on two cores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.estimate.fit import Fold, fit, fit_without_each, rounded
from benchmarks.estimate.sources import Point, load_points
from edgecnn.estimate.cost import PARAMETERS, Parameters
from edgecnn.estimate.interval import interval_of

PAGE = Path("docs/estimate.md")
_INTERVAL = (0.1, 0.9)


def main() -> None:
    """Fit, judge, write."""
    points = load_points()
    seen, held = [point for point in points if not point.held_out], [point for point in points if point.held_out]
    efficiency, harness = fit(seen)
    folds = [fold for key in ("device", "family") for fold in fit_without_each(seen, key, harness)]
    parameters = Parameters(efficiency=rounded(efficiency), left_out=tuple(fold.left_out for fold in folds))
    said = yaml.dump(parameters.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, width=120)
    PARAMETERS.write_text(f"# Written by make bench-estimate; see docs/estimate.md.\n{said}", encoding="utf-8")
    text = "\n".join([*_judgement(parameters, harness, seen, held, folds), *_table(parameters, harness, points)])
    print(text)
    _write_into_page(text)


def _judgement(
    parameters: Parameters,
    harness: dict[str, float],
    seen: Sequence[Point],
    held: Sequence[Point],
    folds: Sequence[Fold],
) -> list[str]:
    lines = [
        "| Points | Number | Mean error | Median of estimate / published | In the 80% interval |",
        "|---|---|---|---|---|",
    ]
    groups: list[tuple[str, Sequence[Point]]] = [("fitted", seen), ("**held out**", held)]
    groups += [
        (f"held out, {name}", [point for point in held if point.device == name]) for name in _names(held, "device")
    ]
    groups += [
        (f"held out, {name}, other boards", [p for p in held if p.family == name and p.device not in _WHOLE])
        for name in ("densenet", "mobilenet_v3")
    ]
    for name, group in groups:
        ratios = np.array([point.estimate_ms(parameters.efficiency, harness) / point.ms for point in group])
        inside = sum(low <= point.ms <= high for point in group for low, high in [_interval_ms(point, folds)])
        error = np.mean(np.abs(ratios - 1))
        lines.append(
            f"| {name} | {len(group)} | {error:.1%} | {np.median(ratios):.2f} "
            f"| {inside} of {len(group)}, {inside / len(group):.1%} |"
        )
    left_out = np.concatenate([fold.left_out.ratios for fold in folds])
    error = np.mean(np.abs(1 / left_out - 1))
    low, high = np.quantile(left_out, _INTERVAL)
    widths = [high / low for low, high in (_interval_ms(point, folds) for point in held)]
    constants = ", ".join(f"{name} {value:.2f} ms" for name, value in harness.items())
    return [
        *lines,
        "",
        f"With each board, and then each family, of the fitted points left out in turn the mean error is {error:.1%};",
        f"10% of those points are below {low:.2f} of their estimate, 10% above {high:.2f}. The interval is made of",
        f"these ratios and fits; for the points held out its upper end is {np.median(widths):.2f} times the lower one.",
        f"What measuring itself adds: {constants}.",
        "",
    ]


def _interval_ms(point: Point, folds: Sequence[Fold]) -> tuple[float, float]:
    estimates = [point.estimate_ms(fold.left_out.efficiency, fold.harness) for fold in folds]
    return interval_of(estimates, [fold.left_out for fold in folds])


class _Dumper(yaml.SafeDumper):
    """Lists of numbers on lines, mappings one key a line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.SequenceNode:
        """See ``yaml.BaseRepresenter``."""
        plain = all(isinstance(each, float) for each in sequence)
        return super().represent_sequence(tag, sequence, flow_style=plain or flow_style)


_WHOLE = ("orin-nx-16gb", "xavier-nx-8gb")


def _table(parameters: Parameters, harness: dict[str, float], points: Sequence[Point]) -> list[str]:
    lines = [
        "| Network | Board, mode | Precision | Published, ms | Estimate, ms | Error | Source |",
        "|---|---|---|---|---|---|---|",
    ]
    for point in sorted(points, key=lambda point: (point.network, point.device, point.precision, point.batch)):
        ms = point.estimate_ms(parameters.efficiency, harness)
        name = f"{point.network}, {point.side}" + (f", batch {point.batch}" if point.batch > 1 else "")
        mark = " (held out)" if point.held_out else ""
        lines.append(
            f"| {name}{mark} | {point.device}, {point.mode} | {point.precision} | {point.ms:.3g} | {ms:.3g} "
            f"| {ms / point.ms - 1:+.0%} | {point.source.name} |"
        )
    return [*lines, ""]


def _names(points: Sequence[Point], key: str) -> list[str]:
    return sorted({getattr(point, key) for point in points if point.device in _WHOLE})


def _write_into_page(text: str) -> None:
    """Replace what stands between the two marks."""
    page = PAGE.read_text(encoding="utf-8")
    marks = r"(<!-- written by make bench-estimate -->\n).*(<!-- end -->)"
    PAGE.write_text(
        re.sub(marks, lambda found: found.group(1) + text + found.group(2), page, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
