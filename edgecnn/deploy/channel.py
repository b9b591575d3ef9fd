"""One running ssh: what a script on the device says while it runs, and whether the answer came whole."""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from typing import IO

from edgecnn.errors import EnvironmentMissing

# What ssh is told to run, always. The script follows on standard input with its length before it, so that no login
# shell has to understand quotes of ours, and no command line gets too long. The last line tells a command's own
# status from ssh's, and a complete answer from one that was cut.
START = (
    "exec sh -c 'echo @edgecnn begin; IFS= read -r size && "
    'script=$(dd bs="$size" count=1 iflag=fullblock status=none) && (eval "$script"); '
    'status=$?; echo; echo "@edgecnn end $status"\''
)
_BEGIN = b"@edgecnn begin\n"
_END = b"@edgecnn end "
_BLOCK = 1 << 18
_STEADY_S = 5.0
_HINTS = {
    "resolve hostname": "give user@address, or the name of a Host in ~/.ssh/config",
    "Permission denied": "let your key in with: ssh-copy-id {host}; a key with a passphrase needs ssh-add first",
    "Host key verification failed": "connect once by hand and compare the key: ssh {host}; "
    "a device that was flashed anew has another one, and ssh says how to remove the old",
    "Connection refused": "is the port right, and sshd running? on the device: sudo systemctl status ssh",
}


class ConnectionLost(EnvironmentMissing):
    """ssh itself failed, before a request was answered or while it was.

    Args:
        message: See ``EdgecnnError``.
        hint: See ``EdgecnnError``.
        steady: Whether the connection had held for a while, so that waiting for it begins anew.
    """

    def __init__(self, message: str, hint: str, *, steady: bool) -> None:
        super().__init__(message, hint)
        self.steady = steady


class Channel:
    """One running ssh: what the script at its other end says, and, at the end, its status."""

    def __init__(self, host: str, command: list[str], script: bytes, data: Iterable[bytes]) -> None:
        self.status = -1
        self._host = host
        self._begin: float | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as ssh
        # A session of its own: Ctrl-C is for us, who then still have things to say to the device.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
        )
        assert self._process.stdout is not None
        self._out: IO[bytes] = self._process.stdout
        self._failed: Exception | None = None
        self._feeder = threading.Thread(target=self._feed, args=(script, data), daemon=True)
        self._feeder.start()
        self._late = False
        self._timer: threading.Timer | None = None

    def begin(self, within_s: float, end_within_s: float | None) -> None:
        """Wait until the script begins; what a shell's start-up file prints before is dropped.

        Args:
            within_s: When to give up: ssh's own limit is for the connection, not for what answers it.
            end_within_s: When to give up the script, from its beginning.
        """
        self._limit(within_s)
        while (line := self._out.readline()) != _BEGIN:
            if not line:
                raise self._lost()
        self._begin = time.monotonic()
        self._limit(end_within_s)

    def line(self) -> str | None:
        """The next line that is not empty; None once the script has ended, and ``status`` is known."""
        while (line := self._out.readline()).endswith(b"\n"):
            if line.startswith(_END):
                self._end(line.removeprefix(_END))
                return None
            if line != b"\n":
                return line[:-1].decode("utf-8", "replace")
        raise self._lost()

    def blocks(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes, as they come."""
        while size:
            block = self._out.read(min(size, _BLOCK))
            if not block:
                raise self._lost()
            yield block
            size -= len(block)

    def rest(self) -> bytes:
        """All that the script still says."""
        out, mark, status = self._out.read().rpartition(b"\n" + _END)
        if not mark or not status.endswith(b"\n"):
            raise self._lost()
        self._end(status)
        return out

    def errors(self) -> str:
        """What came on standard error until now."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def close(self) -> None:
        """End ssh, if the script has not."""
        self._limit(None)
        if self.status < 0:
            self._process.kill()
        self._process.wait()
        self._feeder.join()
        self._out.close()
        self._errors.close()

    def _end(self, status: bytes) -> None:
        self._process.wait()
        self._feeder.join()
        if self._failed is not None:
            raise self._failed
        self.status = int(status)

    def _feed(self, script: bytes, data: Iterable[bytes]) -> None:
        assert self._process.stdin is not None
        try:
            with self._process.stdin as stream:
                stream.write(b"%d\n%s" % (len(script), script))
                stream.flush()
                for block in data:
                    stream.write(block)
        except BrokenPipeError:
            pass  # ssh has ended; whoever reads from it learns why
        except Exception as error:
            self._failed = error

    def _limit(self, seconds: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = threading.Timer(seconds, self._give_up) if seconds is not None else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _lost(self) -> Exception:
        """Why there is no more to read."""
        code = self._process.wait()
        self._feeder.join()
        if self._failed is not None:
            return self._failed
        said = (self.errors().strip().splitlines() or [f"ssh ended with status {code}"])[-1].strip()
        if self._begin is None and code not in (255, -9):
            message = f"{self._host} does not give a shell for commands: {said}"
            return EnvironmentMissing(message, f"this has to print ok: ssh {self._host} echo ok")
        hint = next((hint for part, hint in _HINTS.items() if part in said), "is it switched on? try: ssh {host}")
        said = "it does not answer in time" if self._late else said
        what = "cannot be reached" if self._begin is None else "the connection was lost"
        steady = self._begin is not None and time.monotonic() - self._begin > _STEADY_S
        return ConnectionLost(f"{self._host}: {what}: {said}", hint.format(host=self._host), steady=steady)
