"""Everything edgecnn raises on purpose.

::

    EdgecnnError              what every error below is
    ├── GateMissed            exit 1: a result missed its bar (parity, accuracy, a device's rules)
    ├── InputError            exit 2: the recipe, the input or the usage is wrong
    └── EnvironmentMissing    exit 3: the machine lacks something; the hint says which command installs it

A message says where, what was expected and what was found; the hint says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class EdgecnnError(Exception):
    """Base of all errors meant for a reader.

    Args:
        message: One sentence: where, what was expected, what was found.
        hint: What to do about it, or an empty string where the message says so already.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class GateMissed(EdgecnnError):
    """A stage worked and its result is not good enough."""

    exit_code = 1


class InputError(EdgecnnError):
    """A recipe, a file, an argument: something the user gave is wrong."""

    exit_code = 2


class EnvironmentMissing(EdgecnnError):
    """The machine lacks a package, a program, a device or room on the disk."""

    exit_code = 3


def missing_extra(package: str, extra: str) -> EnvironmentMissing:
    """The error for an import that an optional install would have satisfied."""
    return EnvironmentMissing(
        f"this command needs the package {package}, which is not installed",
        f"install it with: pip install 'edgecnn[{extra}]'",
    )
