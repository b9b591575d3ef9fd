"""Where values come from: system files that are kept open, and several readers taken as one."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

# The longest of what is read as one number, with room to spare.
_MOST_BYTES = 64


class Reader(Protocol):
    """A group of sensors. Nothing in it raises: a sensor without a value gives None."""

    @property
    def missing(self) -> tuple[str, ...]:
        """A sentence for each sensor that is not there, as far as that is known by now."""
        ...

    def read(self) -> dict[str, float | None]:
        """The values now, by name; a name ends in its unit, such as ``gpu_celsius``."""
        ...

    def close(self) -> None:
        """Let go of files and processes."""
        ...


class OpenFile:
    """A system file kept open, as opening it anew takes longer than reading it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def text(self, most: int = _MOST_BYTES) -> str:
        """What it says now; empty where it says nothing, as thermal zones do at times (EAGAIN)."""
        try:
            return os.pread(self._descriptor, most, 0).decode("ascii", errors="replace").strip().strip("\0")
        except OSError:
            return ""

    def number(self) -> float | None:
        """The number in it; None where there is none."""
        try:
            return float(self.text())
        except ValueError:
            return None

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class FileSensor:
    """One number in a system file.

    Args:
        name: Of the series.
        path: The file.
        scale: What the number is multiplied by.
        since_begin: Whether it counts up, and what it said at first is taken off.
        invalid: A number that means that there is no value, as the file has it.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(
        self, name: str, path: Path, scale: float, *, since_begin: bool = False, invalid: float | None = None
    ) -> None:
        self.name = name
        self._file = OpenFile(path)
        self._scale = scale
        self._invalid = invalid
        self._first = (self._file.number() or 0.0) if since_begin else 0.0

    def read(self) -> float | None:
        """The value now."""
        number = self._file.number()
        return None if number is None or number == self._invalid else (number - self._first) * self._scale

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Sensor(Protocol):
    """What gives one value."""

    name: str

    def read(self) -> float | None:
        """The value now."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class SensorReader:
    """Sensors that are read one by one.

    Args:
        sensors: Of two with one name the first counts.
        missing: A sentence for each that is not there.
    """

    def __init__(self, sensors: Sequence[Sensor], missing: Sequence[str] = ()) -> None:
        self._sensors = tuple({sensor.name: sensor for sensor in reversed(sensors)}.values())[::-1]
        self.missing = tuple(missing)

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        return {sensor.name: sensor.read() for sensor in self._sensors}

    def close(self) -> None:
        """See ``Reader.close``."""
        for sensor in self._sensors:
            sensor.close()


class JoinedReader:
    """Several readers as one; of two values with one name the earlier reader's counts."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self._readers = tuple(readers)

    @property
    def missing(self) -> tuple[str, ...]:
        """See ``Reader.missing``."""
        return tuple(sentence for reader in self._readers for sentence in reader.missing)

    def read(self) -> dict[str, float | None]:
        """See ``Reader.read``."""
        values: dict[str, float | None] = {}
        for reader in self._readers:
            for name, value in reader.read().items():
                values.setdefault(name, value)
        return values

    def close(self) -> None:
        """See ``Reader.close``."""
        for reader in self._readers:
            reader.close()


def place_name(text: str) -> str:
    """A rail's or a zone's name as series are named: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def read_text(path: Path) -> str:
    """A system file's text without the NUL that device trees end in; empty where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
