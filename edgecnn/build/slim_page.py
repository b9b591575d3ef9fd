"""What became of a network after its training, as a section of the training's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecnn.profiling.report.page import Column, figure, section, table

if TYPE_CHECKING:
    from edgecnn.train.network import Trained


def slim_sections(trained: Trained) -> list[str]:
    """A table of the steps of pruning, where there were any."""
    found = trained.slim.pruned if trained.slim is not None else None
    if found is None:
        return []
    whole = found.steps[0]
    columns = [
        Column("Step", numeric=False),
        *(Column("Multiply-accumulates"), Column("of the whole", "%"), Column("Parameters")),
        Column(f"{trained.figure_name} on pictures kept back", "%"),
    ]
    rows = [
        [
            ("whole" if not number else str(number)) + (", kept" if number == found.kept else ""),
            *(f"{step.macs:,}", figure(100 * step.macs / whole.macs), f"{step.parameters:,}"),
            figure(100 * step.figure),
        ]
        for number, step in enumerate(found.steps)
    ]
    note = (
        "Each step removes channels of the one before, then learns; the smallest that keeps the figure is the result."
    )
    return [section("Pruning", table("Pruning", columns, rows), note)]
