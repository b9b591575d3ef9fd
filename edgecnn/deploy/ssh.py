"""A device reached over the system's ssh: scripts with their exit status, and streams that tell when they were cut.

Keys, jump hosts and names are the user's own, from ``~/.ssh/config``. On the device a plain ``sh`` is enough.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TypeVar

from edgecnn.core.progress import Progress
from edgecnn.deploy.channel import START, Channel, ConnectionLost
from edgecnn.errors import EnvironmentMissing, InputError

_T = TypeVar("_T")
_LONGEST_WAIT_S = 15.0


@dataclass(frozen=True)
class Reply:
    """What a command on the device left."""

    status: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line of its standard error."""
        return (self.err.strip().splitlines() or ["it says nothing more"])[-1]


@dataclass(frozen=True)
class Connection:
    """How a device is reached, and what is where on it.

    Attributes:
        host: ``user@address``, or the name of a Host in the ssh configuration.
        config: An ssh configuration in place of the user's.
        cache: The folder on the device for what is sent and made; relative to the user's home there.
        system: Where the device's own files are looked up; tests give a folder of theirs.
        connect_s: How long a connection may take to be made, seconds.
        alive_s: A connection that stays silent for three times this long, seconds, is lost.
        patience_s: How long a lost connection is tried again, seconds.
    """

    host: str
    config: Path | None = None
    cache: str = ".cache/edgecnn/remote"
    system: str = "/"
    connect_s: int = 10
    alive_s: int = 10
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if not self.host or self.host.startswith("-") or any(character.isspace() for character in self.host):
            raise InputError(f"--on {self.host!r}: not the name of a device", "give user@address, or a Host of ssh")

    def run(self, *arguments: str, timeout_s: float = 60.0) -> Reply:
        """Run a command with its arguments as they are, whatever characters they hold.

        Raises:
            ConnectionLost: ssh failed, or the command took longer.
        """
        return self.script('"$@"', *arguments, timeout_s=timeout_s)

    def script(self, text: str, *arguments: str, timeout_s: float = 60.0) -> Reply:
        """Run a script for ``sh`` with arguments, ``$1`` and on; it begins in the user's home.

        Raises:
            ConnectionLost: ssh failed, or the script took longer.
        """
        with self.open(text, *arguments, timeout_s=timeout_s) as channel:
            out = channel.rest().decode("utf-8", "surrogateescape")
            return Reply(channel.status, out, channel.errors())

    @contextmanager
    def open(
        self, text: str, *arguments: str, data: Iterable[bytes] = (), timeout_s: float | None = None
    ) -> Generator[Channel, None, None]:
        """Run a script and read what it says while it runs; ``data`` becomes its standard input.

        Raises:
            EnvironmentMissing: There is no ssh here.
            ConnectionLost: ssh failed; raised by whatever reads from the channel, too.
        """
        if shutil.which("ssh") is None:
            raise EnvironmentMissing("ssh is not installed here", "sudo apt-get install openssh-client")
        command = ["ssh", "-T", *(["-F", str(self.config)] if self.config else [])]
        settings = ("BatchMode=yes", f"ConnectTimeout={self.connect_s}", f"ServerAliveInterval={self.alive_s}")
        # The configuration may hold things for sessions by hand, which would fail or end this one.
        for setting in (*settings, "ServerAliveCountMax=3", "ClearAllForwardings=yes", "RemoteCommand=none"):
            command += ["-o", setting]
        # Where the connection is cut within a script, the brace is missing: then nothing of it is run.
        script = f"{{\nPATH=$PATH:$HOME/.local/bin\n{join(['set', '--', *arguments])}\n{text}\n}}"
        channel = Channel(self.host, [*command, "--", self.host, START], os.fsencode(script), data)
        try:
            channel.begin(3 * self.connect_s, timeout_s)
            yield channel
        finally:
            channel.close()

    def persist(self, work: Callable[[], _T], progress: Progress) -> _T:
        """Do work again when the connection is lost under it, for ``patience_s``.

        Raises:
            ConnectionLost: It did not come back.
        """
        lost_at, wait = None, 1.0
        while True:
            try:
                return work()
            except ConnectionLost as lost:
                now = time.monotonic()
                if lost_at is None or lost.steady:
                    progress.note(f"{lost.message}; trying again for {self.patience_s:g} s")
                    lost_at, wait = now, 1.0
                if now + wait > lost_at + self.patience_s:
                    raise
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
