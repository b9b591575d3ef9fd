"""The results as a table in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_case(case: dict[str, Any], console: Console) -> None:
    """Print one network's rows.

    ``same`` is the part of the pictures with FP32's class, or of FP32's boxes found at IoU 0.9; ``INT8`` the part of
    the convolutions' multiplications; ``ms`` are at one thread, and ``speed`` how many times FP32's.

    Args:
        case: As in the JSON document.
        console: Where to.
    """
    fp32 = case["fp32"]
    detector = case["task"] == "detection"
    figure = "mAP" if detector else "top-1 %"
    table = Table(title=f"{case['case']}: {case['pictures']}", title_justify="left")
    table.add_column("tool", no_wrap=True)
    for name in (figure, "drop", "same %", "SNR dB", "INT8 %"):
        table.add_column(name, justify="right")
    for name in ("s", "MB", "ms", "speed"):
        table.add_column(name, justify="right")
    table.add_row("FP32", _accuracy(fp32["accuracy"], detector), "", "", "", "", "", "", "", "")
    for row in case["rows"]:
        spent = (_number(row["seconds"], ".0f"), _number(row["peak_mb"], ".0f"))
        if row["failure"] is not None:
            table.add_row(row["tool"], "failed", "", "", "", "", *spent, "", "")
            continue
        drop = None if row["accuracy"] is None else fp32["accuracy"] - row["accuracy"]
        speed = row["speed"] or {"int8_ms": None, "ratio": None}
        table.add_row(
            row["tool"],
            _accuracy(row["accuracy"], detector),
            _accuracy(drop, detector),
            _number(100 * row["same"], ".1f"),
            _number(row["snr_db"], ".1f"),
            _number(100 * row["int8_share"], ".1f"),
            *spent,
            _number(speed["int8_ms"], ".2f"),
            _number(speed["ratio"], ".2f"),
        )
    console.print(table)
    for row in case["rows"]:
        if row["failure"] is not None:
            console.print(f"  {row['tool']}: {row['failure']}", markup=False, highlight=False)


def _accuracy(value: float | None, detector: bool) -> str:
    return _number(value, ".3f") if detector else _number(None if value is None else 100 * value, ".2f")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
