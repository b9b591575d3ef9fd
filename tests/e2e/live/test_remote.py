"""Building on a device over ssh: a real sshd on this machine, a wire that can be cut, and a stand-in for edgecnn."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecnn import __version__
from edgecnn.backends.engines import read_record
from edgecnn.core.engine import BuildOptions
from edgecnn.core.progress import Silent
from edgecnn.deploy.remote import BuiltThere, build_on
from edgecnn.deploy.remote_build import RemoteBuild
from edgecnn.deploy.remote_trtexec import TimedThere, build_with_trtexec
from edgecnn.deploy.ssh import Connection
from edgecnn.deploy.transfer import send
from edgecnn.errors import EdgecnnError, EnvironmentMissing, GateMissed

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# Large beside what ssh itself exchanges, and beside the 2 MB that sshd can hold and drop when it is cut: so a count of
# bytes tells what was sent.
MODEL_BYTES = 8_000_000
LOGS = "engine for 8.7\nkernels: 12\n"

pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="sshd or ssh is missing: apt-get install openssh-server"
)

# In place of edgecnn on the device: it copies the model to an engine, and waits or fails when it is told to.
STAND_IN = """#!/bin/sh
device='{device}'
[ "$1" = --version ] && echo "edgecnn $(cat "$device/version")" && exit
echo begun >>"$device/begun"
printf '%s\\n' "$@" >"$device/arguments"
echo $$ >"$device/pid"
printf 'engine for 8.7\\nkernels: 12'
while [ -e "$device/hold" ]; do sleep 0.05; done
if [ -e "$device/fail" ]; then
  echo
  echo "error: layer conv1 does not fit" >&2
  exit "$(cat "$device/fail")"
fi
mkdir -p "$4/figures" && cat "$2/model.onnx" "$2/golden/it's 1.png" >"$4/engine.plan" || exit
echo '{{}}' >"$4/engine.json"
: >"$4/figures/empty one.txt"
"""


class Notes(Silent):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """See ``Progress.note``."""
        self.lines.append(text)


class Wire:
    """Passes bytes on to a port, counts them, and can be cut, after so many of one way, or frozen."""

    def __init__(self, port: int) -> None:
        self.to_device = self.to_us = 0
        self.cut_at: int | None = None  # of the two counts, whichever is there first
        self.cuts = 0
        self.flows = threading.Event()
        self.flows.set()
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Cut what is open, and take nothing more."""
        self.flows.set()
        # Only shutdown wakes a thread that waits in accept.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, to_device: bool) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 15):
                self.flows.wait()
                target.sendall(block)
                self.to_device += len(block) if to_device else 0
                self.to_us += 0 if to_device else len(block)
                if self.cut_at is not None and max(self.to_device, self.to_us) >= self.cut_at:
                    self.cut_at = None
                    self.cuts += 1
                    self._cut()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Device:
    """An sshd with a cache and programs of its own, in a folder of a test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache of 'mine'"
        self.bin = folder / "bin"
        for part in (self.bin, folder / "etc"):
            part.mkdir(parents=True)
        (folder / "etc" / "nv_tegra_release").write_text("# R36 (release), REVISION: 4.0, GCID: 1, BOARD: generic\n")
        (folder / "version").write_text(__version__)
        self.program("edgecnn", STAND_IN.format(device=folder))
        (folder / ".bashrc").write_text("echo a start-up file that talks\n")
        self.program("uname", "#!/bin/sh\necho aarch64\n")
        for name in ("host", "user", "stranger"):
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nAuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPrintMotd no\n"
            f"SetEnv PATH={self.bin}:/usr/bin:/bin HOME={folder}\n"
        )
        self.start()
        self.wire = Wire(self.port)
        known = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.wire.port} {known}")
        self.config = self.write_config("config")
        self.connection = Connection("jetson", self.config, str(self.cache), str(folder), 5, 2, 30.0)

    def write_config(self, name: str, **changes: str) -> Path:
        """An ssh configuration with a Host jetson."""
        settings = {
            "HostName": "127.0.0.1",
            "Port": str(self.wire.port),
            "User": getpass.getuser(),
            "IdentityFile": str(self.folder / "user"),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "KexAlgorithms": "curve25519-sha256",  # the newer ones double the time of a connection
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
        }
        lines = [f"  {key} {value}" for key, value in (settings | changes).items()]
        (self.folder / name).write_text("\n".join(["Host jetson", *lines]) + "\n")
        return self.folder / name

    def program(self, name: str, text: str) -> None:
        """Put a program on the device, before those that the system has."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start(self) -> None:
        """Start sshd."""
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # what sshd wants of a system that it runs on
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self.sshd = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
        until(self._answers)

    def cut_sessions(self) -> None:
        """Kill what sshd started for connections; the commands that they run are left."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, IndexError):
                state = (process / "stat").read_text().rpartition(")")[2].split()
                if int(state[1]) == self.sshd.pid:
                    os.kill(int(process.name), signal.SIGKILL)

    def stop(self) -> None:
        """Kill sshd and its connections."""
        self.cut_sessions()
        self.sshd.kill()
        self.sshd.wait()

    def begun(self) -> int:
        """How many builds have begun."""
        path = self.folder / "begun"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def hold(self) -> Path:
        """Let builds wait until the file is removed."""
        (self.folder / "hold").touch()
        return self.folder / "hold"

    def builds(self) -> bool:
        """Whether a build runs."""
        path = self.folder / "pid"
        return path.exists() and path.read_text().endswith("\n") and alive(int(path.read_text()))

    def _answers(self) -> bool:
        assert self.sshd.poll() is None, (self.folder / "sshd.log").read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as probe:
            return probe.recv(4) == b"SSH-"
        return False


def until(holds: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def alive(process: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    made = Device(tmp_path / "device")
    try:
        yield made
    finally:
        (made.folder / "hold").unlink(missing_ok=True)
        until(lambda: not made.builds())
        made.wire.close()
        made.stop()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle"
    (path / "golden").mkdir(parents=True)
    write(path, {"model.onnx": os.urandom(MODEL_BYTES), "golden/it's 1.png": b"picture", "golden/none.npz": b""})
    (path / "report.html").write_text("not sent")
    return path


_UNNAMED = ("manifest.json", "report.html")


def write(bundle: Path, changes: dict[str, bytes]) -> None:
    """Change files of a bundle, and its manifest with them."""
    for name, content in changes.items():
        (bundle / name).write_bytes(content)
    names = [str(path.relative_to(bundle)) for path in bundle.rglob("*.*") if path.name not in _UNNAMED]
    files = {name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in names}
    (bundle / "manifest.json").write_text(json.dumps({"kind": "bundle", "files": files}))


def engine_of(bundle: Path) -> bytes:
    return (bundle / "model.onnx").read_bytes() + b"picture"


def begin(device: Device, bundle: Path, out: Path, notes: Notes | None = None) -> Future[BuiltThere]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(build_on, device.connection, bundle, out, progress=notes or Notes())
    pool.shutdown(wait=False)
    return future


def test_the_whole_way_and_what_is_sent_again(device: Device, bundle: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "out", Notes()
    done = build_on(device.connection, bundle, out, progress=notes)
    assert (done.begun, done.sent.files) == ("started", 4)
    assert done.files == ("engine.json", "engine.plan", "figures/empty one.txt")
    assert (out / "engine.plan").read_bytes() == engine_of(bundle)
    assert (out / "figures" / "empty one.txt").read_bytes() == b""
    assert LOGS.splitlines() == notes.lines[-2:]
    assert "R36" in done.device.l4t
    # The same again: nothing is sent or built, and the same comes back.
    before = device.wire.to_device
    again = build_on(device.connection, bundle, tmp_path / "again", progress=notes)
    assert (again.begun, again.sent.files, again.sent.bytes, device.begun()) == ("finished", 0, 0, 1)
    assert device.wire.to_device - before < 200_000
    assert (tmp_path / "again" / "engine.plan").read_bytes() == engine_of(bundle)
    # Another picture: it goes alone, with the manifest, and there is a build of its own.
    write(bundle, {"golden/none.npz": b"not empty"})
    before = device.wire.to_device
    changed = build_on(device.connection, bundle, out, progress=notes)
    assert (changed.begun, changed.sent.files, device.begun()) == ("started", 2, 2)
    assert device.wire.to_device - before < 200_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "bundle", "device", "out"]
    assert not list((device.cache / "files").glob("*.part"))


def test_a_cut_upload_goes_on_where_it_was(device: Device, bundle: Path, tmp_path: Path) -> None:
    device.wire.cut_at = MODEL_BYTES * 3 // 4
    notes = Notes()
    done = build_on(device.connection, bundle, tmp_path / "out", progress=notes)
    assert device.wire.cuts == 1
    assert any("the connection was lost" in line for line in notes.lines)
    assert (tmp_path / "out" / "engine.plan").read_bytes() == engine_of(bundle)
    assert device.wire.to_device < 1.4 * MODEL_BYTES
    assert done.begun == "started"
    assert not list((device.cache / "files").glob("*.part"))


def test_cut_results_go_on_where_they_were(device: Device, bundle: Path, tmp_path: Path) -> None:
    build_on(device.connection, bundle, tmp_path / "out", progress=Notes())
    device.wire.to_device = device.wire.to_us = 0
    device.wire.cut_at = MODEL_BYTES * 3 // 4
    assert build_on(device.connection, bundle, tmp_path / "again", progress=Notes()).begun == "finished"
    assert device.wire.cuts == 1
    assert device.wire.to_us < 1.4 * MODEL_BYTES
    assert (tmp_path / "again" / "engine.plan").read_bytes() == engine_of(bundle)


def test_a_file_that_was_damaged_on_the_device_is_sent_again(device: Device, bundle: Path, tmp_path: Path) -> None:
    build_on(device.connection, bundle, tmp_path / "out", progress=Notes())
    sha = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    kept = device.cache / "files" / sha
    kept.chmod(0o600)
    with kept.open("r+b") as stream:
        stream.write(b"xx")
    # And of another one there is a part with other content.
    picture = hashlib.sha256(b"picture").hexdigest()
    (device.cache / "files" / picture).unlink()
    (device.cache / "files" / f"{picture}.0.part").write_bytes(b"pixx")
    done = build_on(device.connection, bundle, tmp_path / "out", progress=Notes())
    assert done.sent.files == 2
    assert kept.stat().st_size == MODEL_BYTES
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == sha


def test_a_build_survives_its_connection_and_sshd(device: Device, bundle: Path, tmp_path: Path) -> None:
    hold, notes = device.hold(), Notes()
    future = begin(device, bundle, tmp_path / "out", notes)
    until(lambda: LOGS.splitlines()[0] in notes.lines)
    device.stop()
    until(lambda: any("lost" in line for line in notes.lines))
    assert device.builds()
    device.start()
    hold.unlink()
    assert future.result(30).begun == "started"
    assert [line for line in notes.lines if line in LOGS.splitlines()] == LOGS.splitlines()
    assert (tmp_path / "out" / "engine.plan").read_bytes() == engine_of(bundle)
    assert device.begun() == 1


def test_a_wire_without_a_word_is_found_dead(device: Device, bundle: Path, tmp_path: Path) -> None:
    hold, notes = device.hold(), Notes()
    device.connection = replace(device.connection, alive_s=1)
    future = begin(device, bundle, tmp_path / "out", notes)
    until(lambda: LOGS.splitlines()[0] in notes.lines)
    device.wire.flows.clear()
    until(lambda: any("lost" in line for line in notes.lines))
    hold.unlink()
    device.wire.flows.set()
    assert future.result(30).files


def test_two_that_ask_for_the_same_share_one_build(device: Device, bundle: Path, tmp_path: Path) -> None:
    hold = device.hold()
    futures = [begin(device, bundle, tmp_path / name) for name in ("one", "two")]
    until(lambda: len(list((device.cache / "builds").glob("*/group"))) == 1)
    third = Notes()
    futures.append(begin(device, bundle, tmp_path / "three", third))
    until(lambda: LOGS.splitlines()[0] in third.lines)
    hold.unlink()
    begun = sorted(future.result(30).begun for future in futures)
    assert begun.count("started") == 1
    assert begun[1] == "running"
    assert device.begun() == 1
    for name in ("one", "two", "three"):
        assert (tmp_path / name / "engine.plan").read_bytes() == engine_of(bundle)


def test_many_that_send_the_same_at_once_take_nothing_from_each_other(
    device: Device, bundle: Path, tmp_path: Path
) -> None:
    paths = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in bundle.glob("*.*")}
    (device.cache / "files").mkdir(parents=True)
    for _ in range(3):
        with ThreadPoolExecutor(5) as pool:
            futures = [pool.submit(send, device.connection, str(device.cache), paths, Notes()) for _ in range(5)]
        assert all(future.result().files <= len(paths) for future in futures)
        for sha in paths:
            kept = device.cache / "files" / sha
            assert hashlib.sha256(kept.read_bytes()).hexdigest() == sha
            kept.unlink()
        assert not list((device.cache / "files").iterdir())


@pytest.mark.parametrize(("status", "error"), [(1, GateMissed), (3, EnvironmentMissing)])
def test_a_failed_build_says_its_last_lines(
    device: Device, bundle: Path, tmp_path: Path, status: int, error: type[EdgecnnError]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "engine.plan").write_text("the old one")
    (device.folder / "fail").write_text(str(status))
    with pytest.raises(error) as raised:
        build_on(device.connection, bundle, tmp_path / "out", progress=Notes())
    assert f"exit status {status}" in raised.value.message
    assert "layer conv1 does not fit" in raised.value.hint
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["the old one"]
    if status == 1:  # what failed is tried again, and what is there is replaced by the whole new one only
        (device.folder / "fail").unlink()
        assert build_on(device.connection, bundle, tmp_path / "out", progress=Notes()).begun == "started"
        assert (tmp_path / "out" / "engine.plan").read_bytes() == engine_of(bundle)


def test_a_killed_build_is_told_and_built_anew(device: Device, bundle: Path, tmp_path: Path) -> None:
    hold = device.hold()
    future = begin(device, bundle, tmp_path / "out")
    until(device.builds)
    group = next(device.cache.glob("builds/*/group"))
    until(lambda: group.read_text().endswith("\n"))
    os.killpg(int(group.read_text()), signal.SIGKILL)  # as when the device is switched off
    with pytest.raises(EdgecnnError, match="stopped, or the device restarted"):
        future.result(30)
    hold.unlink()
    assert not (tmp_path / "out").exists()
    # Nothing is left to be stopped, be there a trace of a build or none.
    assert all(RemoteBuild(device.connection, str(device.cache), key).stop() for key in (group.parent.name, "none"))
    assert build_on(device.connection, bundle, tmp_path / "out", progress=Notes()).begun == "started"


def test_results_are_whole_or_not_there(device: Device, bundle: Path, tmp_path: Path) -> None:
    """What changed on the device after the build is not taken; nor is anything where it is to be made afresh."""
    out = tmp_path / "out"
    build_on(device.connection, bundle, out, progress=Notes())
    plan = next(device.cache.glob("builds/*/out/engine.plan"))
    plan.write_bytes(b"half")
    assert build_on(device.connection, bundle, out, progress=Notes()).begun == "started"
    assert (out / "engine.plan").read_bytes() == engine_of(bundle)
    # A build and a file that nobody asked for in 40 days go with the next one.
    old = [device.cache / "files" / "old", device.cache / "builds" / "old"]
    old[0].write_text("")
    old[1].mkdir()
    for path in old:
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    assert build_on(device.connection, bundle, out, fresh=True, progress=Notes()).begun == "started"
    assert device.begun() == 3
    assert not any(path.exists() for path in old)
    assert len(list((device.cache / "builds").iterdir())) == 1


def test_arguments_arrive_as_they_are(device: Device, bundle: Path, tmp_path: Path) -> None:
    there = device.folder / 'it\'s "a" folder; $(touch oops)'
    there.mkdir()
    shutil.copy(device.bin / "edgecnn", there / "edge cnn")
    options = ("--name", "a b  c", "it's", '"$HOME" \\ `id` *', "", "größe!", "-n", "two\nlines")
    build_on(
        device.connection,
        bundle,
        tmp_path / "o'ut",
        command=[str(there / "edge cnn")],
        options=options,
        progress=Notes(),
    )
    said = (device.folder / "arguments").read_text()
    assert said.startswith(f"build\n{device.cache}/builds/")
    assert said.endswith("/out\n" + "".join(f"{option}\n" for option in options))
    reply = device.connection.run("sh", "-c", 'printf %s "$1" >&2; exit 255', "sh", "a 'b'\n")
    assert (reply.status, reply.err) == (255, "a 'b'\n")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"HostName": "no-such-host.invalid"}, "Could not resolve hostname", "user@address"),
        ({"Port": "1"}, "Connection refused", "sshd"),
        ({"IdentityFile": "{folder}/stranger"}, "Permission denied", "ssh-copy-id jetson"),
        ({"UserKnownHostsFile": "/dev/null"}, "Host key verification failed", "ssh jetson"),
    ],
)
def test_a_device_that_cannot_be_reached_is_one_sentence(
    device: Device, bundle: Path, tmp_path: Path, changes: dict[str, str], message: str, hint: str
) -> None:
    changes = {key: value.format(folder=device.folder) for key, value in changes.items()}
    connection = replace(device.connection, config=device.write_config("wrong", **changes))
    with pytest.raises(EnvironmentMissing) as raised:
        build_on(connection, bundle, tmp_path / "out", progress=Notes())
    assert message in raised.value.message
    assert "\n" not in raised.value.message
    assert hint in raised.value.hint


def test_an_account_without_a_shell_is_one_sentence(device: Device) -> None:
    key = (device.folder / "user.pub").read_text()
    (device.folder / "user.pub").write_text(f'command="echo not available >&2; exit 1" {key}')
    with pytest.raises(EnvironmentMissing, match="jetson does not give a shell for commands: not available"):
        device.connection.run("true")


def test_a_port_that_says_nothing_is_given_up(device: Device) -> None:
    device.wire.flows.clear()
    with pytest.raises(EnvironmentMissing, match="jetson: cannot be reached"):
        replace(device.connection, connect_s=1).run("true")


def test_a_device_that_is_not_fit_is_one_sentence(device: Device, bundle: Path, tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(EnvironmentMissing) as raised:
            build_on(device.connection, bundle, tmp_path / "out", progress=Notes())
        assert raised.value.hint
        return raised.value.message

    device.program("df", "#!/bin/sh\necho Avail\necho 1000\n")
    assert "1 MB are free" in refused()
    (device.folder / "version").write_text("0.0.9")
    assert "has edgecnn 0.0, and here is" in refused()
    (device.bin / "edgecnn").unlink()
    assert "edgecnn does not run there" in refused()
    (device.folder / "etc" / "nv_tegra_release").unlink()
    assert "nv_tegra_release" in refused()
    device.program("uname", "#!/bin/sh\necho riscv64\n")
    assert "architecture riscv64" in refused()
    device.connection = replace(device.connection, cache="/dev/null/cache")
    assert "cannot be made there" in refused()


def test_a_write_that_fails_on_the_device_is_one_sentence(device: Device, bundle: Path, tmp_path: Path) -> None:
    real = shutil.which("dd", path="/usr/bin:/bin")
    device.program(
        "dd",
        f'#!/bin/sh\ncase "$*" in *bs=1048576*) echo "dd: error writing: No space left on device" >&2; exit 1;; esac\n'
        f'exec {real} "$@"\n',
    )
    with pytest.raises(EnvironmentMissing, match="No space left on device"):
        build_on(device.connection, bundle, tmp_path / "out", progress=Notes())


PROGRAM = """
import sys
from pathlib import Path
from edgecnn.cli.console import TerminalProgress
from edgecnn.deploy.remote import build_on
from edgecnn.deploy.ssh import Connection
config, cache, system, bundle, out = sys.argv[1:]
try:
    build_on(Connection("jetson", Path(config), cache, system), Path(bundle), Path(out), progress=TerminalProgress())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_stops_the_build_and_a_kill_does_not(
    device: Device, bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    hold = device.hold()
    arguments = (device.config, device.cache, device.folder, bundle, tmp_path / "out")
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(b"engine for"):
            break
    os.killpg(running.pid, number)
    assert running.wait(20) == (130 if number is signal.SIGINT else -number)
    running.stderr.close()
    if number is signal.SIGINT:
        assert not device.builds()
        assert not (tmp_path / "out").exists()
    assert device.builds() == (number is signal.SIGKILL)
    notes = Notes()
    future = begin(device, bundle, tmp_path / "out", notes)
    until(lambda: LOGS.splitlines()[0] in notes.lines)
    hold.unlink()
    assert future.result(30).begun == ("started" if number is signal.SIGINT else "running")


# In place of trtexec: of a version that wants --workspace, with the words and files of the real one.
TRTEXEC = """#!/bin/sh
device='{device}'
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec $*"
if [ "$1" = --version ]; then
  echo "&&&& FAILED TensorRT.trtexec [TensorRT v8201] # trtexec --version"
  exit 1
fi
printf '%s\\n' "$@" >"$device/arguments"
echo '[09/23/2021-10:20:45] [I] Selected Device: NVIDIA Tegra X1'
echo '[09/23/2021-10:20:45] [I] Compute Capability: 5.3'
if [ -e "$device/fail" ]; then
  echo '[09/23/2021-10:20:45] [E] Error[2]: OutOfMemory'
  echo '&&&& FAILED TensorRT.trtexec'
  exit 1
fi
cp "${{1#--onnx=}}" engine.plan || exit
case "$1" in *control.onnx) ms=$(cat "$device/control_ms") ;; *) ms=3.5 ;; esac
[ "$ms" = none ] && exit 1
printf '[{{"computeMs": %s}}, {{"computeMs": 4.5}}]' "$ms" >times.json
echo '[{{"count": 2}}, {{"name": "conv1", "averageMs": 3.0}}]' >profile.json
echo '{{"Layers": ["conv1"]}}' >layers.json
echo '&&&& PASSED TensorRT.trtexec'
"""


@pytest.fixture
def nano(device: Device) -> Device:
    """A device whose JetPack has trtexec, and no Python that edgecnn runs on."""
    (device.bin / "edgecnn").unlink()
    device.program("trtexec", TRTEXEC.format(device=device.folder))
    (device.folder / "etc" / "nv_tegra_release").write_text("# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t210ref\n")
    return device


def with_trtexec(device: Device, bundle: Path, out: Path, **options: Any) -> TimedThere:
    return build_with_trtexec(
        device.connection, bundle, "fp16", out, BuildOptions(**options), program="trtexec", progress=Notes()
    )


def test_where_edgecnn_does_not_run_trtexec_builds(nano: Device, bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match=r"a Python that is too old\n.*--with-trtexec"):
        build_on(nano.connection, bundle, tmp_path / "out", progress=Notes())

    done = with_trtexec(nano, bundle, tmp_path / "out", workspace_bytes=256 << 20)

    assert (tmp_path / "out" / "engine.plan").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert read_record(tmp_path / "out") == done.record
    assert (done.record.version, done.record.gpu, done.record.compute_capability, done.record.l4t) == (
        "8.2.1", "NVIDIA Tegra X1", "5.3", "32.7.1"
    )  # fmt: skip
    assert done.record.plan_sha256 == done.record.model_sha256
    assert done.compute_ms == (3.5, 4.5)
    arguments = (nano.folder / "arguments").read_text().split("\n")
    assert {"--workspace=256", "--fp16", "--saveEngine=engine.plan"} <= set(arguments)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "engine.plan", "engine.json", "layers.json", "profile.json", "times.json", "trtexec.log"
    }  # fmt: skip
    # The same again is taken from there; other options are another build.
    assert with_trtexec(nano, bundle, tmp_path / "out", workspace_bytes=256 << 20).built.begun == "finished"
    assert with_trtexec(nano, bundle, tmp_path / "out").built.begun == "started"


@pytest.mark.parametrize(("fp16", "kept"), [("9.5", "int8"), ("1.5", "fp16"), ("none", "int8")])
def test_trtexec_times_int8_against_its_control(
    nano: Device, bundle: Path, tmp_path: Path, fp16: str, kept: str
) -> None:
    write(bundle, {"control.onnx": b"stands for the same in FP16"})
    (nano.folder / "control_ms").write_text(fp16)
    notes = Notes()

    done = build_with_trtexec(
        nano.connection, bundle, "int8", tmp_path / "out", BuildOptions(), program="trtexec", progress=notes
    )

    name = "model.onnx" if kept == "int8" else "control.onnx"
    assert (tmp_path / "out" / "engine.plan").read_bytes() == (bundle / name).read_bytes()
    assert read_record(tmp_path / "out") == done.record
    assert done.record.control is not None
    assert done.record.control.kept == kept
    assert notes.lines[-1].endswith("is kept") != (fp16 == "none")
    assert {"--fp16"} <= set((nano.folder / "arguments").read_text().split("\n"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "device", "out"]


def test_what_trtexec_refuses_is_told_in_its_words(nano: Device, bundle: Path, tmp_path: Path) -> None:
    (nano.folder / "fail").touch()
    with pytest.raises(GateMissed, match=r"exit status 1.*(?s:.*)OutOfMemory"):
        with_trtexec(nano, bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_trtexec_its_package_is_named(nano: Device, bundle: Path, tmp_path: Path) -> None:
    (nano.bin / "trtexec").unlink()
    with pytest.raises(EnvironmentMissing, match=r"trtexec does not run there(?s:.*)libnvinfer-bin"):
        with_trtexec(nano, bundle, tmp_path / "out")
