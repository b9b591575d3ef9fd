"""What people see: notes, progress, tables and errors. Machines get one JSON document instead."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from edgecnn.core.progress import ProgressTask


_LEAST_TEXT = 14


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def fail(message: str, hint: str) -> None:
    """An error: for people on standard error, and where JSON was asked for, as the one document on standard output."""
    say(f"error: {message}" + (f"\n  {hint}" if hint else ""))
    if wants_json():
        print_json({"error": {"message": message, "hint": hint}})


def wants_json() -> bool:
    """Whether the command line asks for JSON, wherever its reading has come to."""
    return "--json" in sys.argv


def print_json(document: Any) -> None:
    """The one document on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], footer: Sequence[str] = ()) -> None:
    """A table on standard output; columns whose name ends in a space are text, the others are aligned as figures."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    cells = [tuple(row) for row in rows]
    table = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", show_footer=bool(footer), pad_edge=False
    )
    for index, name in enumerate(columns):
        is_text = name.endswith(" ")
        # On a narrow terminal long texts are folded, short ones and figures never.
        longest = max((len(row[index]) for row in cells), default=0)
        table.add_column(
            name.strip(),
            footer=footer[index] if footer else "",
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text,
            min_width=min(longest, _LEAST_TEXT) if is_text else None,
        )
    for row in cells:
        table.add_row(*row)
    terminal = Console(highlight=False, markup=False)
    # A pipe or a log has no width of its own: take what the table wants.
    if not terminal.is_terminal:
        terminal.width = 1000
        terminal.width = max(terminal.measure(table).maximum, len(title))
    terminal.print(table)


class TerminalProgress:
    """Progress as a bar on a terminal, as plain lines elsewhere; both on standard error."""

    def task(self, label: str, total: int | None = None) -> ProgressTask:
        """See ``Progress.task``."""
        return _BarTask(label, total) if sys.stderr.isatty() else _LineTask(label, total)

    def note(self, text: str) -> None:
        """See ``Progress.note``."""
        say(text)


class _LineTask:
    def __init__(self, label: str, total: int | None) -> None:
        self._label, self._total = label, total
        self._done = 0
        self._begin = time.monotonic()

    def advance(self) -> None:
        self._done += 1

    def __enter__(self) -> ProgressTask:
        say(f"{self._label} ..." if self._total is None else f"{self._label}: {self._total} steps ...")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            say(f"{self._label}: done in {time.monotonic() - self._begin:.1f} s")


class _BarTask:
    def __init__(self, label: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress: RichProgress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task(label, total=total)

    def advance(self) -> None:
        self._progress.advance(self._task)

    def __enter__(self) -> ProgressTask:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
