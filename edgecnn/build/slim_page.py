"""What became of a network after its training, as a section of the training's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecnn.profiling.report.page import Column, figure, pairs, section, table

if TYPE_CHECKING:
    from edgecnn.train.network import Trained
    from edgecnn.train.slimming.prune import Pruned


def slim_sections(trained: Trained) -> list[str]:
    """A table of the steps of pruning, and what 2:4 sparsity came to, where there were any."""
    if trained.slim is None:
        return []
    parts = [_steps(trained.slim.pruned, trained.figure_name)] if trained.slim.pruned is not None else []
    if (sparse := trained.slim.sparse) is not None:
        facts = [("Sparse layers", str(sparse.layers))]
        if sparse.before is not None and sparse.after is not None:
            name = f"{trained.figure_name} on pictures kept back"
            facts.append((name, f"{sparse.before:.1%} before, {sparse.after:.1%} with it"))
        note = "Of every four weights along the input channels two are 0: for edgecnn build --sparse on Orin and Thor."
        parts.append(section("2:4 sparsity", pairs(facts), note))
    return parts


def _steps(found: Pruned, figure_name: str) -> str:
    whole = found.steps[0]
    columns = [
        Column("Step", numeric=False),
        *(Column("Multiply-accumulates"), Column("of the whole", "%"), Column("Parameters")),
        Column(f"{figure_name} on pictures kept back", "%"),
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
    return section("Pruning", table("Pruning", columns, rows), note)
