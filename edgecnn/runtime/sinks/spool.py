"""Messages on disk until somebody has taken them: over restarts, kills and days without a network."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_DROP_ROWS = 64


class Spool:
    """A queue in SQLite, safe against a kill at any moment; a power cut can cost what the last second added.

    Several processes can use one folder: each has a file of its own there, and takes over what a process left that is
    gone.

    Args:
        folder: Made where it is missing, readable by its owner only.
        size_bytes: Of all messages; where they are more, the oldest go.

    Raises:
        OSError: The folder or the disk does not take it.
    """

    def __init__(self, folder: Path, size_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        # How many messages are kept, and how many were given up for want of room.
        self.waiting = self.dropped = 0
        # Where a damaged file was put aside; None where none was.
        self.damaged: Path | None = None
        self._size_bytes, self._bytes = size_bytes, 0
        self._mutex = threading.Lock()
        self._path, self._lock = self._own_file()
        with _as_os_errors(self._path):
            self._database = self._open()
            self._take_over()
            self._count()

    def add(self, payload: bytes, sent: int) -> None:
        """Keep a message; those up to the number ``sent`` are on their way, and not dropped for want of room."""
        with self._mutex, _as_os_errors(self._path):
            with self._database:
                self._database.execute("INSERT INTO messages (payload) VALUES (?)", (payload,))
            self.waiting += 1
            self._bytes += len(payload)
            while self._bytes > self._size_bytes and self._drop_oldest(sent):
                pass

    def after(self, number: int, count: int) -> list[tuple[int, bytes]]:
        """Up to ``count`` messages behind a number, in the order of their arrival, with their numbers."""
        with self._mutex, _as_os_errors(self._path):
            query = "SELECT number, payload FROM messages WHERE number > ? ORDER BY number LIMIT ?"
            return self._database.execute(query, (number, count)).fetchall()

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget messages that were taken."""
        with self._mutex, _as_os_errors(self._path):
            self._remove(numbers)

    def close(self) -> None:
        """Leave what waits to the next process; without any, nothing is left."""
        with self._mutex, _as_os_errors(self._path):
            self._database.close()
            if not self.waiting:
                _unlink(self._path)
            os.close(self._lock)

    def _own_file(self) -> tuple[Path, int]:
        number = 1
        while (lock := _lock(self.folder / f"{number}.lock")) is None:
            number += 1
        return self.folder / f"{number}.sqlite", lock

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.damaged = self._path.with_suffix(".damaged")
            self._path.replace(self.damaged)
            _unlink(self._path)  # its journal, too
            return _connect(self._path)

    def _take_over(self) -> None:
        """A kill between the two steps leaves a message twice, never not at all."""
        for path in sorted(self.folder.glob("*.sqlite")):
            if path == self._path or (lock := _lock(path.with_suffix(".lock"))) is None:
                continue
            try:
                other = _connect(path)
                with self._database:
                    rows = other.execute("SELECT payload FROM messages ORDER BY number")
                    self._database.executemany("INSERT INTO messages (payload) VALUES (?)", rows)
                other.close()
                _unlink(path)
            finally:
                os.close(lock)

    def _count(self) -> None:
        query = "SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM messages"
        self.waiting, self._bytes = self._database.execute(query).fetchone()

    def _drop_oldest(self, sent: int) -> int:
        # Never the newest, which is what somebody wants to see.
        query = (
            "SELECT number, LENGTH(payload) FROM messages WHERE number > ? "
            "AND number < (SELECT MAX(number) FROM messages) ORDER BY number LIMIT ?"
        )
        excess = self._bytes - self._size_bytes
        numbers: list[int] = []
        for number, size_bytes in self._database.execute(query, (sent, _DROP_ROWS)).fetchall():
            if excess > 0:
                numbers.append(number)
                excess -= size_bytes
        gone = self._remove(numbers)
        self.dropped += gone
        return gone

    def _remove(self, numbers: Sequence[int]) -> int:
        gone = 0
        with self._database:
            for number in numbers:
                size = self._database.execute("SELECT LENGTH(payload) FROM messages WHERE number = ?", (number,))
                for (size_bytes,) in size.fetchall():
                    self._database.execute("DELETE FROM messages WHERE number = ?", (number,))
                    self._bytes -= size_bytes
                    gone += 1
        self.waiting -= gone
        return gone


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False)
    # With its log beside the file a commit costs no wait for the disk, and a killed process loses nothing.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL)"
        )
    return database


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    """An open file that this process alone has locked; None where another process has."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


@contextmanager
def _as_os_errors(path: Path) -> Generator[None, None, None]:
    """What SQLite says of the disk, in the system's words."""
    try:
        yield
    except sqlite3.Error as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), str(path)) from None
