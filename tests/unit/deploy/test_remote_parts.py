"""The parts of building on a device that need no connection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgecnn import __version__
from edgecnn.core.files import hash_file
from edgecnn.core.progress import Silent
from edgecnn.deploy.remote import bundle_files
from edgecnn.deploy.remote_build import RemoteBuild
from edgecnn.deploy.remote_device import RemoteDevice
from edgecnn.deploy.ssh import Connection
from edgecnn.deploy.transfer import fetch, require_room
from edgecnn.errors import EnvironmentMissing, InputError


def device(**changes: object) -> RemoteDevice:
    facts = {
        "host": "nano",
        "root": "/home/me/.cache/edgecnn/remote",
        "architecture": "aarch64",
        "board": "NVIDIA Jetson Orin Nano",
        "l4t": "# R36 (release), REVISION: 4.0",
        "packages": "libnvinfer10 10.3.0.30-1+cuda12.5",
        "version": f"edgecnn {__version__}",
        "lacks": (),
    }
    return RemoteDevice(**{**facts, **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["", "-oProxyCommand=touch x", "me@nano -v", "nano\n"])
def test_names_that_ssh_would_take_for_something_else(name: str) -> None:
    with pytest.raises(InputError, match="not the name of a device"):
        Connection(name)


def require_fit(found: RemoteDevice) -> None:
    found.require_jetson()
    found.require_edgecnn()


def test_devices_of_another_patch_release_fit() -> None:
    minor = __version__.rpartition(".")[0]
    require_fit(device())
    require_fit(device(version=f"edgecnn {minor}.99"))
    require_fit(device(version=f"edgecnn {minor}.1.dev3+g12"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "x86_64"}, "architecture x86_64"),
        ({"l4t": ""}, "nv_tegra_release"),
        ({"lacks": ("flock", "setsid")}, "lacks flock, setsid"),
        ({"version": "edgecnn 99.1.0"}, "has edgecnn 99.1, and here is"),
        ({"version": "sh: 1: edgecnn: not found"}, "edgecnn does not run there: sh: 1: edgecnn: not found"),
        ({"version": ""}, "edgecnn does not run there: no answer"),
        ({"version": "", "l4t": "# R32 (release), REVISION: 7.1"}, "a Python that is too old\n.*--with-trtexec"),
        ({"version": "", "l4t": "# R35 (release), REVISION: 3.1"}, "a Python that is too old\n.*--with-trtexec"),
    ],
)
def test_devices_that_are_not_fit(changes: dict[str, object], message: str) -> None:
    with pytest.raises(EnvironmentMissing, match=message) as raised:
        require_fit(device(**changes))
    assert raised.value.hint


def test_room() -> None:
    require_room("nano", "/cache", 1000, 1000)
    with pytest.raises(EnvironmentMissing, match="nano: 1 MB are free in /cache, and 2,000 MB are needed"):
        require_room("nano", "/cache", 1_000_000, 2_000_000_000)


def test_the_files_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"network")
    (tmp_path / "engine.plan").write_bytes(b"of another device")
    files = {"model.onnx": hash_file(tmp_path / "model.onnx")}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    assert bundle_files(tmp_path) == {**files, "manifest.json": hash_file(tmp_path / "manifest.json")}
    (tmp_path / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputError, match=r"model\.onnx is missing or was changed"):
        bundle_files(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', '{"files": ["a"]}', "\x00"])
def test_folders_that_are_no_bundle(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"no manifest\.json of a bundle there"):
        bundle_files(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../b"])
def test_no_file_outside_of_a_bundle_or_of_the_results(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "outside").write_text("")
    sha = hash_file(tmp_path / "outside")
    (bundle / "manifest.json").write_text(json.dumps({"files": {name: sha}}))
    with pytest.raises(InputError):
        bundle_files(bundle)
    with pytest.raises(EnvironmentMissing, match="outside of the results"):
        fetch(Connection("nano"), "/there", {name: sha}, bundle, Silent())


def test_the_log_comes_as_lines_however_it_is_cut() -> None:
    build = RemoteBuild(Connection("nano"), "/cache", "key")
    said: list[str] = []
    for block in (b"on", b"e\ntw", b"o\n\n10 %\r99 %\r", b"100 %\nrest \xff"):
        build._take(block, said.append)
    assert said == ["one", "two", "", "100 %"]
    assert build.tail == ["one", "two", "100 %"]
