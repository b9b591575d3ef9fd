"""edgecnn summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli import console


def command(
    model: Annotated[
        str, typer.Argument(help="An ONNX file, a bundle, a recipe, torchvision:NAME or timm:NAME (no weights needed).")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """A row a layer: tensor size, weights, biases, parameters, multiply-accumulates.

    Example: edgecnn summary torchvision:resnet18
    """
    from edgecnn.build.sources import graph_of
    from edgecnn.graph.summary import summarize

    rows = summarize(graph_of(model))
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
            }
        )
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
