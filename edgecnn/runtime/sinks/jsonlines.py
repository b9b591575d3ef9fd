"""Results as JSON, a line each."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path

from edgecnn.core.frame import Classification, Frame


class JsonLinesSink:
    """Appends a line for each frame to a file, readable at once: ``tail -f`` follows it.

    ``{"frame": 12, "time": 17640000.123, "age_ms": 3.2, "classes": [{"class": 7, "label": "x", "probability": 1.0}]}``;
    ``time`` is the frame's arrival in seconds since 1970 (UTC).
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        if _ends_within_a_line(path):  # the power went while it was written
            self._stream.write("\n")
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def write(self, frame: Frame, result: Classification, age_ns: int) -> None:
        """See ``Sink.write``."""
        event = {
            "frame": frame.index,
            "time": round((self._epoch_ns + frame.captured_ns) / 1e9, 3),
            "age_ms": round(age_ns / 1e6, 3),
            "classes": [
                {"class": number, "label": label, "probability": _rounded(probability)}
                for number, label, probability in zip(result.classes, result.labels, result.probabilities, strict=True)
            ],
        }
        self._stream.write(json.dumps(event, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """See ``Sink.close``."""
        self._stream.close()


def _rounded(probability: float) -> float | None:
    """Four digits; None for what JSON cannot hold: the NaN of a network whose numbers overflowed."""
    return round(probability, 4) if math.isfinite(probability) else None


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read() != b"\n"
