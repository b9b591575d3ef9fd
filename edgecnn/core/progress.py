"""How long work tells that it advances, without knowing who shows it."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Progress(Protocol):
    """One running task: a context manager; ``advance`` moves it on, ``note`` leaves a line that stays."""

    def task(self, label: str, total: int | None = None) -> ProgressTask:
        """Begin a task of ``total`` steps, or of unknown length."""
        ...

    def note(self, text: str) -> None:
        """Say something that stays to be read."""
        ...


class ProgressTask(Protocol):
    """A task under way."""

    def advance(self) -> None:
        """One step is done."""
        ...

    def __enter__(self) -> ProgressTask: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _SilentTask:
    def advance(self) -> None:
        pass

    def __enter__(self) -> _SilentTask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Silent:
    """Progress that nobody watches."""

    def task(self, label: str, total: int | None = None) -> ProgressTask:  # noqa: ARG002 - a protocol's names
        """See ``Progress.task``."""
        return _SilentTask()

    def note(self, text: str) -> None:
        """See ``Progress.note``."""
