"""What every sink is."""

from __future__ import annotations

from typing import Protocol

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result


class Sink(Protocol):
    """Takes results; ``close`` leaves whole files behind."""

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """Take one result; ``age_ns`` is the time from the frame's arrival to it."""
        ...

    def close(self) -> None:
        """Finish; nothing is written after that."""
        ...
