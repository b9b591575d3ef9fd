"""Results as JSON, a line each, in files that are changed when they are full."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.core.frame import Frame
from edgecnn.core.usage import Result
from edgecnn.errors import InputError
from edgecnn.runtime.events import event_of
from edgecnn.runtime.sinks.sizes import parse_size

_DEFAULT_KEEP = 10
# Longer than any event; what a file's unfinished last line is looked for in.
_TAIL_BYTES = 1 << 20


@dataclass(frozen=True)
class Rotation:
    """When a file is full, and how many full ones are kept.

    Attributes:
        size_bytes: No file grows beyond it, unless a single event does.
        keep: Full files beside the current one; the oldest goes first.
    """

    size_bytes: int
    keep: int


def parse_rotation(text: str) -> Rotation:
    """``SIZE[:KEEP]``, such as ``100MB:10``.

    Raises:
        InputError: It is not of that form.
    """
    size, _, keep = text.partition(":")
    if ":" in text and not re.fullmatch(r"[1-9]\d{0,5}", keep):
        raise InputError(f"--events-rotate {text}: {keep!r} is not a number of files", "for example 100MB:10")
    return Rotation(parse_size(size, "--events-rotate"), int(keep or _DEFAULT_KEEP))


class JsonLinesSink:
    """Appends an event of ``edgecnn.runtime.events`` for each frame to a file, which ``tail -F`` can follow.

    A line is written in one piece and is seen at once. One that could not be written whole is taken back, whether the
    disk was full or the run was killed. A full file ``events.jsonl`` becomes ``events.jsonl.1``, what had that name
    becomes ``.2``, and so on: the higher the number, the older. A file that somebody else has moved away or
    removed is begun anew.

    Args:
        path: The file; it and its folder are made where they are missing.
        run: The name of the run.
        rotation: None lets the file grow.

    Raises:
        InputError: Another run writes the file, and rotates it.
    """

    def __init__(self, path: Path, run: str, rotation: Rotation | None = None) -> None:
        self._path, self._run, self._rotation = path, run, rotation
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = -1
        self._size = 0
        self._open()

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        line = event_of(self._run, frame, result, age_ns).model_dump_json(by_alias=True).encode() + b"\n"
        if self._file < 0 or self._is_elsewhere():
            self._open()
        if self._rotation is not None and self._size and self._size + len(line) > self._rotation.size_bytes:
            self._rotate(self._rotation.keep)
        _write_whole(self._file, line)
        self._size += len(line)

    def close(self) -> None:
        """See ``Sink.close``."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self.close()
        # Appending is the system's business: who empties the file from outside leaves no hole.
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if self._rotation is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(
                    f"--events {self._path}: another run writes this file and rotates it", "give each run its own"
                ) from None
        _mend_end(self._file)
        self._size = os.fstat(self._file).st_size

    def _is_elsewhere(self) -> bool:
        try:
            there, ours = os.stat(self._path), os.fstat(self._file)
        except FileNotFoundError:
            return True
        self._size = ours.st_size
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _rotate(self, keep: int) -> None:
        """Each rename is whole by itself, so a kill leaves at most a number without a file; the next time fills it."""
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{number}") for number in range(1, keep + 1))]
        free = next((number for number in range(1, keep + 1) if not names[number].exists()), keep)
        for number in range(free, 0, -1):
            names[number - 1].replace(names[number])
        self._open()


class StandardOutputSink:
    """Writes an event for each frame to standard output.

    Args:
        run: The name of the run.
        stop: Called when nobody reads them any more, as ``head`` does after a while.
    """

    def __init__(self, run: str, stop: Callable[[], None]) -> None:
        self._run, self._stop = run, stop
        self._gone = False

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        if self._gone:
            return
        try:
            sys.stdout.write(event_of(self._run, frame, result, age_ns).model_dump_json(by_alias=True) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # What Python still holds for the pipe would fail once more when the program ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._gone = True
            self._stop()

    def close(self) -> None:
        """See ``Sink.close``."""


def _write_whole(file: int, line: bytes) -> None:
    """Append a line, or nothing of it."""
    written = 0
    try:
        while written < len(line):
            written += os.write(file, line[written:])
    except OSError:
        if written:
            os.ftruncate(file, os.fstat(file).st_size - written)
        raise


def _mend_end(file: int) -> None:
    """Take back a last event that is not whole, from a run that was killed; end a last line that is another's."""
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode):
        return
    size = about.st_size
    tail = os.pread(file, _TAIL_BYTES, max(size - _TAIL_BYTES, 0))
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return
    try:
        json.loads(last)
    except ValueError:
        if last.startswith(b'{"id":'[: len(last)]):
            os.ftruncate(file, size - len(last))
            return
    _write_whole(file, b"\n")
