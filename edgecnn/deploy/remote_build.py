"""One build on a device: begun once, alive without its connection, followed from anywhere, stopped on request.

In ``builds/KEY`` are the bundle, the results in ``out``, a ``log``, and once it has ended its ``status``. While it
runs, it holds the lock of a file, which the kernel gives back however it ends; no number of a process is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgecnn.deploy.ssh import Connection
from edgecnn.errors import EnvironmentMissing

Begun = Literal["started", "running", "finished"]
# Takes a finished build whose results are still what it left, or one that runs; else begins it. One at a time: the
# lock 8 is the whole cache's. The lock 9 is the build's own, taken here and inherited by what runs it. With a new
# build, those that nobody asked for in 30 days go, and files that no build has.
_BEGIN = """
root=$1 key=$2 fresh=$3 count=$4
shift 4
run=$root/builds/$key
exec 8>"$root/lock" && flock -w 60 8 || exit
[ -d "$run" ] && touch "$run"
if [ -f "$run/build.lock" ] && [ ! -f "$run/status" ] && ! flock -s -n "$run/build.lock" true; then
  echo running
  exit
fi
if [ ! "$fresh" ] && [ "$(cat "$run/status" 2>/dev/null)" = 0 ]; then
  (cd "$run/out" && sha256sum --check --strict --status ../sums) 2>/dev/null &&
    echo finished && cat "$run/sums" && exit
fi
rm -rf -- "$run" || exit
umask 077
mkdir -p "$run/bundle" || exit
while [ "$count" -gt 0 ]; do
  file=$root/files/$1 to=$run/bundle/$2
  shift 2
  mkdir -p -- "$(dirname -- "$to")" || exit
  ln -- "$file" "$to" 2>/dev/null || cp -- "$file" "$to" || exit
  count=$((count - 1))
done
find "$root/builds" -mindepth 1 -maxdepth 1 -mtime +30 | while IFS= read -r old; do
  flock -s -n "$old/build.lock" true && rm -rf -- "$old"
done
find "$root/files" -type f -links 1 -mtime +30 -exec rm -f -- {} +
exec 9>"$run/build.lock" && flock 9 || exit
setsid sh -c '
  run=$1
  shift
  trap "" HUP
  echo $$ >"$run/group.part" && mv -- "$run/group.part" "$run/group"
  "$@"
  status=$?
  if [ $status = 0 ]; then
    (cd "$run/out" && find . -type f -exec sha256sum -- {} +) >"$run/sums" || status=1
  fi
  echo $status >"$run/status.part" && mv -- "$run/status.part" "$run/status"
' edgecnn-build "$run" "$@" </dev/null >"$run/log" 2>&1 8>&- &
exec 9>&-
until [ -f "$run/group" ] || flock -s -n "$run/build.lock" true; do sleep 0.05; done
echo started
"""
# Says what is new in the log, as a line with its length and then as it is, until the build has ended. The lines of
# no length show both ends that the other is there.
_FOLLOW = """
run=$1 at=$2
while [ -d "$run" ]; do
  going=yes
  { [ -f "$run/status" ] || flock -s -n "$run/build.lock" true; } && going=
  size=$(wc -c <"$run/log") || exit
  echo "log $((size - at))"
  tail -c "+$((at + 1))" "$run/log" | head -c "$((size - at))"
  at=$size
  [ "$going" ] || break
  sleep 0.5
done
echo "end $(cat "$run/status" 2>/dev/null)"
cat "$run/sums" 2>/dev/null
exit 0
"""
# Waits for a beginning that may be under way, so that nothing starts behind its back.
_STOP = """
run=$1
exec 8>"${run%/builds/*}/lock" && flock -w 10 8
[ -f "$run/group" ] && [ ! -f "$run/status" ] && ! flock -s -n "$run/build.lock" true || exit 0
group=$(cat "$run/group")
kill -s TERM -- "-$group"
tries=0
until flock -s -n "$run/build.lock" true; do
  tries=$((tries + 1))
  [ $tries = 50 ] && kill -s KILL -- "-$group"
  [ $tries = 100 ] && exit 1
  sleep 0.1
done
"""


@dataclass
class RemoteBuild:
    """A build on a device.

    Attributes:
        connection: To the device.
        root: The absolute path of the cache there.
        key: The build's name: the same bundle, command and device give the same.
        tail: The last lines of the log.
        results: SHA-256 of the files that it wrote, by path, once it has ended with status 0.
    """

    connection: Connection
    root: str
    key: str
    tail: list[str] = field(default_factory=list[str])
    results: dict[str, str] = field(default_factory=dict[str, str])
    _at: int = 0
    _rest: bytes = b""

    @property
    def folder(self) -> str:
        """Where it is on the device."""
        return f"{self.root}/builds/{self.key}"

    def begin(self, files: Mapping[str, str], command: Sequence[str], *, fresh: bool = False) -> Begun:
        """Begin it, or find it begun or finished.

        Args:
            files: The bundle's: SHA-256 by path; the device has them.
            command: With its arguments.
            fresh: Whether a finished one is made again rather than taken.

        Raises:
            ConnectionLost: See ``Connection``. Asking again is safe.
            EnvironmentMissing: It could not be begun.
        """
        named = [text for name, sha in files.items() for text in (sha, name)]
        head = (self.root, self.key, "fresh" if fresh else "", str(len(files)))
        reply = self.connection.script(_BEGIN, *head, *named, *command, timeout_s=120)
        first, _, rest = reply.out.partition("\n")
        for begun in ("started", "running", "finished"):
            if reply.status == 0 and first == begun:
                self.results = _sums(rest)
                return begun
        raise EnvironmentMissing(
            f"{self.connection.host}: the build cannot be begun in {self.folder}: {reply.last_words}",
            "is the disk full, or the folder not writable?",
        )

    def follow(self, say: Callable[[str], None]) -> int | None:
        """Hand on the lines of its log, from where the last call ended, until it has ended.

        Returns:
            Its exit status; None where it ended without one, being killed or the device switched off.

        Raises:
            ConnectionLost: See ``Connection``. Calling again goes on.
        """
        with self.connection.open(_FOLLOW, self.folder, str(self._at)) as channel:
            while (line := channel.line()) is not None:
                word, _, figure = line.partition(" ")
                if word == "log":
                    for block in channel.blocks(max(int(figure), 0)):
                        self._at += len(block)
                        self._take(block, say)
                elif word == "end":
                    self.results = _sums(channel.rest().decode("utf-8", "surrogateescape"))
                    self._take(b"\n" if self._rest else b"", say)
                    return int(figure) if figure else None
            raise EnvironmentMissing(f"{self.connection.host}: {self.folder}/log cannot be read: {channel.errors()}")

    def stop(self) -> bool:
        """Stop it and all that it started, if it runs; whether it does not run any more."""
        return self.connection.script(_STOP, self.folder, timeout_s=30).status == 0

    def _take(self, block: bytes, say: Callable[[str], None]) -> None:
        *lines, self._rest = (self._rest + block).split(b"\n")
        for line in lines:
            text = line.rsplit(b"\r", 1)[-1].decode("utf-8", "replace").rstrip()
            self.tail = [*self.tail, text][-8:] if text else self.tail
            say(text)


def _sums(text: str) -> dict[str, str]:
    """What ``sha256sum`` wrote; names with line feeds, which it marks with a backslash, are no results of ours."""
    pairs = (line.split("  ", 1) for line in text.split("\n") if "  " in line and not line.startswith("\\"))
    return {name.removeprefix("./"): sha for sha, name in pairs}
