"""Files to a device and back: by their content, whole or not at all, and on from where a connection was cut."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgecnn.core.files import hash_file
from edgecnn.core.progress import Progress, ProgressTask
from edgecnn.deploy.ssh import Connection
from edgecnn.errors import EnvironmentMissing, InputError

_BLOCK = 1 << 20
_ATTEMPTS = 3
# Removes the parts of a file that nobody writes: a writer holds the lock of its own.
_REMOVE_PARTS = """
remove_parts() {
  for part in "$1".*.part; do
    [ ! -f "$part" ] || flock --nonblock "$part" rm -f -- "$part" || true
  done
}
"""
# Says of each file, named by its SHA-256, whether it is there whole, or how much of it is. What is there of it is
# copied to a name of this attempt's: another may be at work on the old one, or one that was cut off may still be.
_LOOK = (
    _REMOVE_PARTS
    + """
cd "$1/files" || exit
token=$2
shift 2
for sha do
  if [ -f "$sha" ] && [ "$(sha256sum <"$sha")" = "$sha  -" ]; then
    touch -- "$sha" && echo "whole $sha 0"
    remove_parts "$sha"
    continue
  fi
  rm -f -- "$sha"
  size=0
  old=$(ls -S "$sha".*.part 2>/dev/null | head -n 1)
  if [ -n "$old" ] && cp -- "$old" "$token"; then
    remove_parts "$sha"
    mv -- "$token" "$sha.$token.part"
    size=$(wc -c <"$sha.$token.part")
  fi
  echo "part $sha $size"
done
rm -f -- "$token"
echo "free $(df -k --output=avail . | tail -n 1) x"
"""
)
# Takes files from standard input, each after a line with its name, the bytes that follow, and its whole size. A part
# that another attempt took for left over before it was locked is not of its length any more: its file is not reported.
_RECEIVE = (
    _REMOVE_PARTS
    + """
cd "$1/files" || exit
while IFS=' ' read -r sha size whole; do
  name=$sha.$2.part
  exec 9>>"$name" && flock 9 || exit
  [ "$(wc -c <"$name")" = $((whole - size)) ] && part=$name || part=/dev/null
  full=$((size / 1048576)) rest=$((size % 1048576))
  {
    { [ $full = 0 ] || dd bs=1048576 count=$full iflag=fullblock status=none; } &&
    { [ $rest = 0 ] || dd bs=$rest count=1 iflag=fullblock status=none; }
  } >>"$part" || exit
  [ "$part" = "$name" ] && [ "$(wc -c <"$part")" -lt "$whole" ] && exit 1
  if [ "$(sha256sum <"$part")" = "$sha  -" ]; then
    chmod 444 "$part" && mv -f -- "$part" "$sha" && echo "whole $sha" || exit
  fi
  exec 9>&-
  remove_parts "$sha"
done
"""
)
# Gives files, each from an offset, after a line with how many bytes follow.
_GIVE = """
cd "$1" || exit
shift
while [ $# -gt 1 ]; do
  size=$(wc -c <"$1") || exit
  echo "$((size - $2))"
  tail -c "+$(($2 + 1))" -- "$1"
  shift 2
done
"""


@dataclass(frozen=True)
class Sent:
    """What went over the connection."""

    files: int
    bytes: int


def send(connection: Connection, root: str, files: Mapping[str, Path], progress: Progress, *, spare: int = 0) -> Sent:
    """Have files on the device, in its folder ``files`` and named by their SHA-256; send those that are not there.

    Args:
        connection: To the device.
        root: The absolute path of the cache there.
        files: By SHA-256.
        progress: Told of every file.
        spare: Bytes that have to be free once the files are there.

    Raises:
        ConnectionLost: It did not come back in time; the next call goes on from what is there.
        EnvironmentMissing: The device has not the room, or does not keep what it gets.
        InputError: A file changed while it was sent.
    """
    upload = _Upload(connection, root, files, progress, spare)
    for _ in range(_ATTEMPTS):
        if connection.persist(upload.attempt, progress):
            return Sent(len(upload.sent), upload.bytes)
    raise EnvironmentMissing(
        f"{connection.host}: files arrive there other than they were sent",
        f"is its disk sound? look with: ssh {connection.host} sudo dmesg",
    )


def require_room(host: str, root: str, free: int, needed: int) -> None:
    """Refuse to fill the device's disk.

    Raises:
        EnvironmentMissing: Less is free than is needed.
    """
    if free < needed:
        raise EnvironmentMissing(
            f"{host}: {free / 1e6:,.0f} MB are free in {root}, and {needed / 1e6:,.0f} MB are needed",
            "free some there; what earlier builds left in that folder can be removed while none runs",
        )


def fetch(connection: Connection, folder: str, files: Mapping[str, str], into: Path, progress: Progress) -> None:
    """Bring files from a folder on the device, each proven by its hash.

    Args:
        connection: To the device.
        folder: There, an absolute path.
        files: SHA-256 by path.
        into: A folder here, for this call alone.
        progress: Told of every file.

    Raises:
        ConnectionLost: It did not come back in time.
        EnvironmentMissing: A file is not there any more, or is another one.
    """
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise EnvironmentMissing(f"{connection.host}: gives a file outside of the results: {name!r}")
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).touch()
    with progress.task(f"fetch {len(files)} files from {connection.host}", len(files)) as task:
        whole: set[str] = set()
        connection.persist(lambda: _fetch_rest(connection, folder, list(files), into, whole, task), progress)
    for name, expected in files.items():
        if hash_file(into / name) != expected:
            raise EnvironmentMissing(f"{connection.host}: {folder}/{name} was changed", "run the same command again")


def _fetch_rest(
    connection: Connection, folder: str, names: list[str], into: Path, whole: set[str], task: ProgressTask
) -> None:
    left = [name for name in names if name not in whole]
    arguments = [text for name in left for text in (f"./{name}", str((into / name).stat().st_size))]
    with connection.open(_GIVE, folder, *arguments) as channel:
        for name in left:
            size = channel.line()
            if size is None:
                break
            with (into / name).open("ab") as stream:
                for block in channel.blocks(max(int(size), 0)):
                    stream.write(block)
            whole.add(name)
            task.advance()
        if channel.status < 0:
            channel.rest()
        if channel.status:
            said = channel.errors().strip()
            raise EnvironmentMissing(
                f"{connection.host}: {folder} cannot be read: {said}", "run the same command again"
            )


class _Upload:
    """What still has to be sent, over several connections."""

    def __init__(
        self, connection: Connection, root: str, files: Mapping[str, Path], progress: Progress, spare: int
    ) -> None:
        self.sent: set[str] = set()
        self.bytes = 0
        self._connection, self._root, self._files = connection, root, files
        self._progress, self._spare = progress, spare
        self._sizes = {sha: path.stat().st_size for sha, path in files.items()}

    def attempt(self) -> bool:
        """Look what is missing, and send it; False where a file did not arrive as it should."""
        token = secrets.token_hex(8)
        offsets = self._look(token)
        if not offsets:
            return True
        host, size = self._connection.host, sum(self._sizes[sha] - offset for sha, offset in offsets.items())
        label = f"send {len(offsets)} files to {host}, {size / 1e6:.1f} MB"
        with (
            self._progress.task(label, len(offsets)) as task,
            self._connection.open(_RECEIVE, self._root, token, data=self._blocks(offsets)) as channel,
        ):
            while (line := channel.line()) is not None:
                self.sent.add(line.removeprefix("whole "))
                task.advance()
            if channel.status:
                words = (channel.errors().strip().splitlines() or ["it does not say why"])[-1]
                raise EnvironmentMissing(f"{host}: {self._root}/files cannot be written: {words}", "is there room?")
        return self.sent >= offsets.keys()

    def _look(self, token: str) -> dict[str, int]:
        reply = self._connection.script(_LOOK, self._root, token, *self._files, timeout_s=600)
        host, offsets = self._connection.host, dict[str, int]()
        if reply.status:
            raise EnvironmentMissing(f"{host}: {self._root}/files cannot be read: {reply.last_words}")
        for line in reply.out.splitlines():
            word, sha, size = line.split()[:3]
            if word == "part":
                # A part as long as the file, or longer, is another's: it is found out by its hash, and removed.
                offsets[sha] = min(int(size), self._sizes[sha])
            elif word == "free":
                missing = sum(self._sizes[sha] - offset for sha, offset in offsets.items())
                require_room(host, self._root, 1024 * int(sha), missing + self._spare)
        return offsets

    def _blocks(self, offsets: Mapping[str, int]) -> Iterator[bytes]:
        for sha, offset in offsets.items():
            left = self._sizes[sha] - offset
            yield f"{sha} {left} {self._sizes[sha]}\n".encode()
            with self._files[sha].open("rb") as stream:
                stream.seek(offset)
                while left:
                    block = stream.read(min(left, _BLOCK))
                    if not block:
                        raise InputError(f"{self._files[sha]} changed while it was sent", "run the same command again")
                    left -= len(block)
                    self.bytes += len(block)
                    yield block
