"""edgecnn compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgecnn.cli import console

if TYPE_CHECKING:
    from edgecnn.profiling.compare import Comparison


def command(
    profiles: Annotated[
        list[Path],
        typer.Argument(help="Folders from edgecnn profile, or profile.json files; the first is the baseline."),
    ],
    unlike: Annotated[
        bool, typer.Option("--unlike", help="Compare what was measured in unlike ways or places, too.")
    ] = False,
    fail_if: Annotated[
        Optional[str],
        typer.Option("--fail-if", metavar="CONDITION", help="Exit with 1 where it holds, such as 'p99_ms > 20'."),
    ] = None,
    out: Annotated[
        Optional[Path], typer.Option("--out", help="Folder for compare.json, compare.html and compare.md.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which differences between measurements are real, and be a gate for CI.

    Example: edgecnn compare build/profile build/profile --fail-if 'p99_ms > 1000 or top1_drop > 5'
    """
    from edgecnn.profiling.compare import compare_profiles, require_conditions, undecided
    from edgecnn.profiling.gate import Condition
    from edgecnn.profiling.records import read_profile

    condition = Condition(fail_if) if fail_if is not None else None
    named = {name: read_profile(path) for name, path in zip(_names(profiles), profiles, strict=True)}
    comparison = compare_profiles(named, unlike=unlike)
    show_comparison(comparison, out, as_json=as_json)
    if condition is not None:
        require_conditions(comparison, condition)
        for line in undecided(comparison, condition):
            console.say(f"warning: {line}")


def show_comparison(comparison: Comparison, out: Path | None, *, as_json: bool) -> None:
    """A table for people, or one JSON document; and files where a folder is given."""
    from edgecnn.core.files import write_text
    from edgecnn.profiling.report.compare_page import comparison_markdown, comparison_rows, render_comparison

    if out is not None:
        write_text(out / "compare.json", comparison.model_dump_json(indent=2))
        write_text(out / "compare.html", render_comparison(comparison))
        write_text(out / "compare.md", comparison_markdown(comparison))
    if as_json:
        console.print_json(comparison.model_dump(mode="json"))
        return
    columns, rows = comparison_rows(comparison)
    console.print_table("compared with the first", columns, rows)
    for row in comparison.profiles[1:]:
        console.say(f"{row.name}: {row.sentence()}")
    for row in comparison.profiles:
        for difference in row.unlike:
            console.say(f"unlike: {row.name}: {difference}")
        for warning in row.warnings:
            console.say(f"warning: {row.name}: {warning}")
    if out is not None:
        console.say(f"report: {out / 'compare.html'}")


def _names(paths: list[Path]) -> list[str]:
    """What tells the profiles apart: a name of its own for each, as short as it can be."""
    folders = [path.parent if path.suffix == ".json" else path for path in paths]
    short = [folder.resolve().name for folder in folders]
    if len(set(short)) == len(short):
        return short
    return [f"{path} #{index + 1}" if paths.count(path) > 1 else str(path) for index, path in enumerate(paths)]
