"""Counts in a stated table that do not follow from the sizes in it, or from the rows above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.graph.layer_sizes import LayerSizes
from edgecnn.graph.stated_table import StatedRow
from edgecnn.graph.summary import LayerRow


@dataclass(frozen=True)
class Mistake:
    """A figure that does not follow.

    Attributes:
        line: Of the file.
        layer: As the table calls it.
        column: ``size``, ``weights``, ``biases`` or ``parameters``.
        stated: What is written there.
        right: What follows from the network and the rows before.
        reason: Why.
    """

    line: int
    layer: str
    column: str
    stated: str
    right: str
    reason: str


def count_mistakes(row: StatedRow, layer: LayerRow, at: LayerSizes | None) -> list[Mistake]:
    """Figures of one row that do not follow from what goes into the layer."""
    weights = at.weights if at is not None and at.weights else layer.weights
    own_reason = _formula(layer, at)
    found: list[Mistake] = []
    for column, stated, right, reason in (
        ("weights", row.weights, weights, own_reason),
        ("biases", row.biases, layer.biases, "one for each output"),
        ("parameters", row.parameters, weights + layer.biases, own_reason),
    ):
        if stated is not None and stated != right:
            found.append(Mistake(row.line, row.layer, column, f"{stated:,}", f"{right:,}", reason))
    return found


def _formula(layer: LayerRow, at: LayerSizes | None) -> str:
    if layer.op_type in ("Conv", "ConvTranspose"):
        return "(Kw x Kh x Cin + 1) x Cout"
    if layer.op_type in ("Gemm", "MatMul"):
        inputs = f", where Nin = {size_text(at.before)}" if at is not None else ""
        return f"(Nin + 1) x Nout{inputs}"
    return "2 for each channel" if layer.op_type == "BatchNormalization" else "nothing to learn"


def sum_mistakes(table: Sequence[StatedRow]) -> list[Mistake]:
    """Totals that are not the sum of the rows above them."""
    found: list[Mistake] = []
    for index, row in enumerate(table):
        above = [other for other in table[:index] if other.kind not in ("total", "input")]
        if row.kind != "total" or not above:
            continue
        for column in ("weights", "biases", "parameters"):
            stated = getattr(row, column)
            total = sum(getattr(other, column) or 0 for other in above)
            if stated is not None and total and stated != total:
                found.append(Mistake(row.line, row.layer, column, f"{stated:,}", f"{total:,}", "sum of the rows above"))
    return found


def size_text(size: tuple[int, ...]) -> str:
    """A size as books write it, channels last."""
    return " x ".join(str(part) for part in ((*size[1:], size[0]) if len(size) == 3 else size))
