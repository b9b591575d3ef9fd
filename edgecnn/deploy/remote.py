"""Build a bundle's engine on the device itself, over ssh: send what changed, build detached, bring the results."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgecnn.core.files import hash_file, install_directory, partial_name
from edgecnn.core.progress import Progress
from edgecnn.deploy.channel import ConnectionLost
from edgecnn.deploy.remote_build import Begun, RemoteBuild
from edgecnn.deploy.remote_device import RemoteDevice, inspect_device
from edgecnn.deploy.ssh import Connection
from edgecnn.deploy.transfer import Sent, fetch, send
from edgecnn.errors import EdgecnnError, EnvironmentMissing, GateMissed, InputError

_MANIFEST = "manifest.json"
# Beside the bundle, the device needs room for an engine of about the same size, and for the compiler's own files.
_MARGIN = 64 * 2**20
_ERRORS = {error.exit_code: error for error in (GateMissed, InputError, EnvironmentMissing)}


@dataclass(frozen=True)
class BuiltThere:
    """What a build on a device did.

    Attributes:
        device: Where.
        sent: What was sent of the bundle.
        begun: Whether the build was started, was running already, or had been finished before.
        files: The names of the results.
    """

    device: RemoteDevice
    sent: Sent
    begun: Begun
    files: tuple[str, ...]


def build_on(
    connection: Connection,
    bundle: Path,
    out: Path,
    *,
    command: Sequence[str] = ("edgecnn",),
    options: Sequence[str] = (),
    fresh: bool = False,
    progress: Progress,
) -> BuiltThere:
    """Run ``edgecnn build BUNDLE --out FOLDER`` on a device, and put what it wrote in ``out``, whole or not at all.

    The build survives a lost connection, and this function too: calling it again with the same bundle and options
    attaches to the build, or takes its results. Ctrl-C stops the build on the device.

    Args:
        connection: To the device.
        bundle: What ``edgecnn convert`` wrote; its manifest, and the files named in it, are sent.
        out: Where the results go. A folder that is there is replaced: the caller has seen to it that it may be.
        command: What runs edgecnn on the device.
        options: Further arguments of ``edgecnn build``, as they are.
        fresh: Whether to build again what was built before; a build that runs is attached to nonetheless.
        progress: Told of what is done, and of every line of the build's log.

    Raises:
        InputError: The bundle is damaged, ``out`` is a file, or the build ended with exit status 2.
        EnvironmentMissing: The device cannot be reached, is not fit, has no room, or the build ended with status 3.
        GateMissed: The build ended with exit status 1.
        EdgecnnError: The build ended in another way.
    """
    device = inspect_device(connection, command)
    device.require_jetson()
    device.require_edgecnn()

    def arguments(folder: str) -> list[str]:
        return [*command, "build", f"{folder}/bundle", "--out", f"{folder}/out", *options]

    return run_on(device, connection, bundle, out, [*command, *options], arguments, fresh=fresh, progress=progress)


def run_on(
    device: RemoteDevice,
    connection: Connection,
    bundle: Path,
    out: Path,
    identity: Sequence[str],
    arguments: Callable[[str], Sequence[str]],
    *,
    fresh: bool,
    progress: Progress,
    finish: Callable[[Path], None] = lambda _: None,
) -> BuiltThere:
    """Send a bundle, run something beside it on the device, and bring what that wrote.

    Args:
        device: As it was inspected.
        connection: To it.
        bundle: What ``edgecnn convert`` wrote.
        out: Where the results go.
        identity: All that the result depends on beside the bundle and the device.
        arguments: The command, by the folder that it runs beside: ``bundle`` is in there, and results go to ``out``.
        fresh: Whether to run again what was run before.
        progress: Who is told.
        finish: Is given the results before they have their place.

    Raises:
        EdgecnnError: See ``build_on``.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file", "choose a new or an empty folder")
    files = bundle_files(bundle)
    paths = {sha: bundle / name for name, sha in files.items()}
    size = sum(path.stat().st_size for path in paths.values())
    sent = send(connection, device.root, paths, progress, spare=size + _MARGIN)
    build = RemoteBuild(connection, device.root, _key(files, identity, device))
    begun = _run(build, files, arguments(build.folder), fresh, progress)
    names = _bring(build, out, progress, finish)
    return BuiltThere(device, sent, begun, names)


def bundle_files(bundle: Path) -> dict[str, str]:
    """SHA-256 of the manifest and of every file that it names, by path; each is what the manifest says.

    Raises:
        InputError: A file is missing or was changed, or there is no manifest.
    """
    try:
        manifest: Any = json.loads((bundle / _MANIFEST).read_text(encoding="utf-8"))
        named = {str(name): str(sha) for name, sha in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"bundle {bundle}: no {_MANIFEST} of a bundle there", "give the folder of a bundle") from None
    for name, sha in named.items():
        path = PurePosixPath(name)
        inside = not path.is_absolute() and ".." not in path.parts
        if not inside or not (bundle / name).is_file() or hash_file(bundle / name) != sha:
            raise InputError(
                f"bundle {bundle}: {name} is missing or was changed",
                "copy the bundle again, or convert the model again",
            )
    return {**named, _MANIFEST: hash_file(bundle / _MANIFEST)}


def _key(files: dict[str, str], identity: Sequence[str], device: RemoteDevice) -> str:
    """What a build is known by: all that its result depends on, the device's software with it."""
    parts = [sorted(files.items()), list(identity), list(device.state)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _run(build: RemoteBuild, files: dict[str, str], arguments: Sequence[str], fresh: bool, progress: Progress) -> Begun:
    """Begin the build or find it, and see it end well."""
    connection = build.connection
    try:
        begun: Begun = connection.persist(lambda: build.begin(files, arguments, fresh=fresh), progress)
        if begun == "finished":
            progress.note(f"{connection.host}: built before, from the same files with the same options")
            return begun
        progress.note(f"{connection.host}: {'builds already' if begun == 'running' else 'builds'} in {build.folder}")
        status = connection.persist(lambda: build.follow(progress.note), progress)
    except KeyboardInterrupt:
        try:
            stopped = build.stop()
        except EnvironmentMissing:
            stopped = False
        if not stopped:
            progress.note(f"{connection.host}: the build there goes on; the same command finds it again")
        raise
    except ConnectionLost as lost:
        raise EnvironmentMissing(
            lost.message, "a build that has begun goes on there; run the same command again and it finds it"
        ) from None
    if status == 0:
        return begun
    last = "\n  ".join(build.tail) or "its log is empty"
    if status is None:
        raise EdgecnnError(
            f"{connection.host}: the build was stopped, or the device restarted; its log ends with", last
        )
    killed = f" (killed by signal {status - 128}; 9 is what a lack of memory does)" if status > 128 else ""
    raise _ERRORS.get(status, EdgecnnError)(
        f"{connection.host}: the build ended with exit status {status}{killed}; its log ends with", last
    )


def _bring(build: RemoteBuild, out: Path, progress: Progress, finish: Callable[[Path], None]) -> tuple[str, ...]:
    """Fetch the results into a folder beside ``out``, and give it that name once they are whole."""
    connection = build.connection
    results = build.results
    if not results:
        raise EdgecnnError(f"{connection.host}: the build left no results in {build.folder}/out")
    out = out.resolve()  # of a symbolic link the folder is replaced, not the link
    out.parent.mkdir(parents=True, exist_ok=True)
    part = partial_name(out)
    part.mkdir()
    try:
        fetch(connection, f"{build.folder}/out", results, part, progress)
        finish(part)
        install_directory(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return tuple(sorted(results))
