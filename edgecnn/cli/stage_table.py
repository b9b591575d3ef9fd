"""The table of a conversion's stages."""

from __future__ import annotations

from collections.abc import Sequence

from edgecnn.cli.console import print_table
from edgecnn.core.recipe import ACCURACY_NAMES, Task
from edgecnn.profiling.report.convert_page import StageRow

COLUMNS = ("stage ", "size kB", "parameters", "parity with the stage before ", "top-1", "p50 ms", "p99 ms")


def print_stages(name: str, rows: Sequence[StageRow], task: Task = "classification") -> None:
    """Print a row for each stage; latency is of this machine, from frame to result."""
    columns = tuple(ACCURACY_NAMES[task] if name == "top-1" else name for name in COLUMNS)
    print_table(name, columns, [stage_cells(row) for row in rows])


def stage_cells(row: StageRow) -> tuple[str, ...]:
    """A stage as text."""
    return (
        row.name,
        f"{row.size_bytes / 1000:,.1f}",
        f"{row.parameters:,}" if row.parameters is not None else "",
        row.parity_text,
        f"{row.accuracy:.2%}" if row.accuracy is not None else "",
        f"{row.p50_ms:.3f}" if row.p50_ms is not None else "",
        f"{row.p99_ms:.3f}" if row.p99_ms is not None else "",
    )
