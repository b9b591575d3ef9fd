"""edgecnn summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgecnn.cli import console

if TYPE_CHECKING:
    from edgecnn.graph.compare_table import Comparison


def command(
    model: Annotated[
        str,
        typer.Argument(help="An ONNX file, a bundle, a recipe, zoo:NAME, torchvision:NAME or timm:NAME (no weights)."),
    ],
    against: Annotated[
        Optional[Path],
        typer.Option(
            "--against",
            help="A table to check: CSV with the columns layer and size, weights, biases or parameters. "
            "Exit 1 where it is wrong.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """A row a layer: tensor size, weights, biases, parameters, multiply-accumulates.

    Example: edgecnn summary torchvision:resnet18
    """
    from edgecnn.build.sources import graph_of
    from edgecnn.graph.summary import summarize

    graph = graph_of(model)
    rows = summarize(graph)
    compared = None
    if against is not None:
        from edgecnn.graph.compare_table import compare_table
        from edgecnn.graph.stated_table import read_stated_table

        compared = compare_table(graph, read_stated_table(against))
    totals = [sum(row.weights for row in rows), sum(row.biases for row in rows), sum(row.parameters for row in rows)]
    counted = [row.macs for row in rows if row.macs is not None]
    macs = sum(counted) if len(counted) == len(rows) else None
    if as_json:
        console.print_json(
            {
                "model": model,
                "layers": [
                    {
                        "name": row.name,
                        "op_type": row.op_type,
                        "output_shape": list(row.output_shape) if row.output_shape is not None else None,
                        "weights": row.weights,
                        "biases": row.biases,
                        "parameters": row.parameters,
                        "statistics": row.statistics,
                        "macs": row.macs,
                    }
                    for row in rows
                ],
                "weights": totals[0],
                "biases": totals[1],
                "parameters": totals[2],
                "macs": macs,
                **(_document(compared) if compared is not None else {}),
            }
        )
        _require_right(against, compared)
        return

    def size(shape: tuple[int | str | None, ...] | None) -> str:
        return " x ".join(str(part) for part in shape) if shape is not None else "?"

    console.print_table(
        Path(model).name,
        ("layer ", "operator ", "output", "weights", "biases", "parameters", "MACs"),
        [
            (
                row.name,
                row.op_type,
                size(row.output_shape),
                *(f"{value:,}" if value else "" for value in (row.weights, row.biases, row.parameters)),
                "?" if row.macs is None else f"{row.macs:,}" if row.macs else "",
            )
            for row in rows
        ],
        footer=("total", "", "", *(f"{value:,}" for value in totals), "?" if macs is None else f"{macs:,}"),
    )
    if any(row.statistics for row in rows):
        console.say(f"beside these: {sum(row.statistics for row in rows):,} running means and variances, not learnt")
    if compared is not None:
        _show(compared)
    _require_right(against, compared)


def _document(compared: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return {"against": asdict(compared)}


def _show(compared: Comparison) -> None:
    if compared.mistakes:
        console.print_table(
            "mistakes of the table",
            ("line", "layer ", "column ", "stated", "right", "why "),
            [
                (str(found.line), found.layer, found.column, found.stated, found.right, found.reason)
                for found in compared.mistakes
            ],
        )
    if compared.holds_for:
        console.say(f"its sizes are those of: {compared.holds_for}")
    if compared.remedy:
        console.say(f"what would make it right: {compared.remedy}")
    for name in compared.unknown:
        console.say(f"not compared: {name} (no such layer found in the network)")


def _require_right(against: Path | None, compared: Comparison | None) -> None:
    from edgecnn.errors import GateMissed

    if compared is not None and compared.mistakes:
        raise GateMissed(
            f"table {against}: figures that do not follow: {len(compared.mistakes)}",
            compared.remedy and f"what would make it right: {compared.remedy}",
        )
