"""Results as JSON, a line each."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.runtime.events import event_of


class JsonLinesSink:
    """Appends an event of ``edgecnn.runtime.events`` for each frame to a file, which ``tail -f`` can follow.

    ``{"frame": 12, "time": 17640000.123, "age_ms": 3.2, "classes": [{"class": 7, "label": "x", "probability": 1.0}]}``
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        if _ends_within_a_line(path):  # the power went while it was written
            self._stream.write("\n")
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        event = event_of(frame.index, self._epoch_ns + frame.captured_ns, age_ns, result)
        self._stream.write(event.model_dump_json(by_alias=True) + "\n")

    def close(self) -> None:
        """See ``Sink.close``."""
        self._stream.close()


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"
