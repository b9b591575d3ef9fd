"""What a device is, asked over ssh, and whether a bundle can be built there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn import __version__
from edgecnn.deploy.ssh import Connection
from edgecnn.errors import EnvironmentMissing

_ARCHITECTURE = "aarch64"
# JetPack 4 and 5.
_OLD_L4T = re.compile(r"R3[25] \(release\)")
# Facts as lines of a word and a text. TensorRT's packages count with the rest: an engine is for one version of it.
_INSPECT = """
system=$1 cache=$2
shift 2
for program in dd find flock head setsid sha256sum tail; do
  command -v $program >/dev/null || echo "lacks $program"
done
echo "architecture $(uname -m)"
echo "board $(tr -d '\\0' <"$system/proc/device-tree/model" 2>/dev/null)"
echo "l4t $(head -n 1 "$system/etc/nv_tegra_release" 2>/dev/null)"
echo "packages $(dpkg-query -W -f '${Package} ${Version} ' '*nvinfer*' 2>/dev/null)"
echo "version $("$@" --version 2>&1 </dev/null | tail -n 1)"
mkdir -p "$cache/files" "$cache/builds" && chmod 700 "$cache" && cd "$cache" && echo "root $(pwd -P)"
"""


@dataclass(frozen=True)
class RemoteDevice:
    """A device as it describes itself.

    Attributes:
        host: How it was reached.
        root: The absolute path of the cache on it.
        architecture: As ``uname -m`` says.
        board: The device tree's model, or an empty string.
        l4t: The first line of nv_tegra_release, or an empty string.
        packages: TensorRT's Debian packages with their versions.
        version: What ``edgecnn --version`` printed.
        lacks: Programs that are needed and not there.
    """

    host: str
    root: str
    architecture: str
    board: str
    l4t: str
    packages: str
    version: str
    lacks: tuple[str, ...]

    @property
    def state(self) -> tuple[str, ...]:
        """What an engine that was built there depends on beside the bundle."""
        return (self.architecture, self.board, self.l4t, self.packages, self.version)

    def require_jetson(self) -> None:
        """Refuse what is no Jetson, or cannot be worked with.

        Raises:
            EnvironmentMissing: It is none, or lacks a program.
        """
        if self.lacks:
            raise EnvironmentMissing(
                f"{self.host}: lacks {', '.join(self.lacks)}",
                "on the device: sudo apt-get install coreutils util-linux",
            )
        if self.architecture != _ARCHITECTURE:
            raise EnvironmentMissing(
                f"{self.host}: is a machine of architecture {self.architecture}, where a Jetson is {_ARCHITECTURE}",
                "give the device that the engine is for: an engine runs only on the kind of GPU it was built on",
            )
        if not self.l4t:
            raise EnvironmentMissing(
                f"{self.host}: has no /etc/nv_tegra_release, so it is no Jetson, or runs no JetPack",
                "give a Jetson with JetPack; a container there needs that file, too: docker run --volume FILE:FILE",
            )

    def require_edgecnn(self) -> None:
        """Refuse a device whose edgecnn would not read the bundle.

        Raises:
            EnvironmentMissing: There is none of this minor version.
        """
        found, ours = _minor_version(self.version), _minor_version(__version__)
        install = f"on the device: pip install 'edgecnn=={ours}.*'"
        if found is None and _OLD_L4T.search(self.l4t):
            raise EnvironmentMissing(
                f"{self.host}: edgecnn does not run there: JetPack 4 and 5 come with a Python that is too old",
                "build with NVIDIA's command, which is there: --with-trtexec auto",
            )
        if found is None:
            raise EnvironmentMissing(
                f"{self.host}: edgecnn does not run there: {self.version or 'no answer'}",
                f"{install}; where it is in a virtual environment, give its path there: /home/me/venv/bin/edgecnn",
            )
        if found != ours:
            raise EnvironmentMissing(
                f"{self.host}: has edgecnn {found}, and here is {ours}: the two may read bundles in different ways",
                install,
            )


def inspect_device(connection: Connection, command: Sequence[str]) -> RemoteDevice:
    """Ask a device what it is, and make the cache on it.

    Args:
        connection: To the device.
        command: What runs edgecnn there.

    Raises:
        ConnectionLost: It cannot be reached.
        EnvironmentMissing: The cache cannot be made.
    """
    reply = connection.script(_INSPECT, connection.system.rstrip("/"), connection.cache, *command)
    if reply.status:
        raise EnvironmentMissing(
            f"{connection.host}: {connection.cache} cannot be made there: {reply.last_words}",
            "is the disk full or read-only?",
        )
    lines = [line.partition(" ")[::2] for line in reply.out.splitlines()]
    facts = {word: text.strip() for word, text in lines}
    return RemoteDevice(
        connection.host,
        facts.get("root", ""),
        facts.get("architecture", ""),
        facts.get("board", ""),
        facts.get("l4t", ""),
        facts.get("packages", ""),
        facts.get("version", ""),
        tuple(text for word, text in lines if word == "lacks"),
    )


def _minor_version(text: str) -> str | None:
    found = re.fullmatch(r"(?:edgecnn )?(\d+\.\d+)(?:\.\S*)?", text)
    return found[1] if found else None
