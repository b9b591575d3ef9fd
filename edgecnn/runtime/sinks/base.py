"""What every sink is."""

from __future__ import annotations

from typing import Protocol

from edgecnn.core.frame import Classification, Frame


class Sink(Protocol):
    """Takes results; ``close`` leaves whole files behind."""

    def write(self, frame: Frame, result: Classification, age_ns: int) -> None:
        """Take one result; ``age_ns`` is the time from the frame's arrival to it."""
        ...

    def close(self) -> None:
        """Finish; nothing is written after that."""
        ...
