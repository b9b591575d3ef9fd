"""Files that are whole or absent: hashing, atomic writes, and the exchange of directories."""

from __future__ import annotations

import ctypes
import errno
import glob
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def partial_name(path: Path) -> Path:
    """A name beside ``path`` for something unfinished; hidden, and never the same twice."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


@contextmanager
def write_atomically(path: Path) -> Generator[Path, None, None]:
    """Give a temporary path to write to; what was written takes ``path``'s name if the block succeeds.

    Readers see the old file or the whole new one. The temporary file is beside ``path`` (a rename must not
    cross file systems) and is removed if the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: video containers are chosen by it.
    part = partial_name(path).with_suffix(".part" + path.suffix)
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with write_atomically(path) as part:
        part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Ask the system to put a file, or the entries of a directory, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """``sync`` for a folder and everything in it."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def install_directory(new: Path, target: Path) -> None:
    """Give the finished directory ``new`` the name ``target``, replacing a directory that had it.

    On Linux the two are exchanged in one step (renameat2 with RENAME_EXCHANGE), so a reader or a kill at any
    moment finds the old directory or the new one. File systems without that call get two renames, between
    which a kill leaves the old directory under a hidden name beside ``target``.
    """
    sync_tree(new)
    if not target.exists():
        try:
            new.rename(target)
        except OSError as error:  # another process was first
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    if not new.exists():
        pass
    elif _exchange(new, target):
        shutil.rmtree(new)
    else:
        old = partial_name(target)
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old)
    sync(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc 2.28 and later
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(second))


def remove_left_over(path: Path) -> None:
    """Remove what killed runs left beside a folder: hidden ones whose process is gone.

    To be called only where the folder is there, or never was: where directories cannot be exchanged in one step, one
    of them can be the old one.
    """
    for found in left_overs(path):
        shutil.rmtree(found, ignore_errors=True)


def left_overs(path: Path) -> list[Path]:
    """What was being made to become ``path`` (see ``partial_name``) by processes that are gone."""
    found: list[Path] = []
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part*"):
        process = part.name.removeprefix(f".{path.name}.").partition("-")[0]
        if process.isdigit() and not _is_running(int(process)):
            found.append(part)
    return found


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
