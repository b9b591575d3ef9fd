"""What every sink is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result


class Sink(Protocol):
    """Takes results; ``close`` leaves whole files behind.

    A sink runs in a thread of its own (``edgecnn.runtime.sinks.worker``), which contains what it raises: after an
    ``OSError`` it gets the next results again a little later, any other error ends it.
    """

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """Take one result; ``age_ns`` is the time from the frame's arrival to it."""
        ...

    def close(self) -> None:
        """Finish; nothing is written after that."""
        ...


@dataclass(frozen=True)
class Delivery:
    """How far a sink is that hands results on to somebody who can be away.

    Attributes:
        waiting: Results that it keeps until they can be handed on.
        dropped: Results that it took and then gave up.
        trouble: Why it cannot hand them on, in one sentence; empty where it can.
    """

    waiting: int = 0
    dropped: int = 0
    trouble: str = ""


@runtime_checkable
class DeliveringSink(Sink, Protocol):
    """A sink whose results are not at their end when it has taken them."""

    def delivery(self) -> Delivery:
        """How far it is; called often, from the thread that writes."""
        ...
