"""Files and directories that are whole or absent."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn.core import files
from edgecnn.core.files import hash_file, install_directory, partial_name, write_atomically, write_text


def make_folder(path: Path, content: str) -> Path:
    """A folder with the same text in two files."""
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text(content)
    return path


def content_of(path: Path) -> set[str]:
    return {found.read_text() for found in path.iterdir()}


def test_hash_of_a_file_larger_than_a_block(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "x").write_bytes(data)
    assert hash_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_partial_names_are_hidden_beside_and_never_the_same(tmp_path: Path) -> None:
    names = {partial_name(tmp_path / "model.onnx") for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert name.parent == tmp_path
        assert name.name.startswith(f".model.onnx.{os.getpid()}-")
        assert name.suffix == ".part"


def test_written_files_appear_whole_and_under_their_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "clip.mp4"
    with write_atomically(path) as part:
        assert part.suffix == ".mp4"
        part.write_text("half")
        assert not path.exists()
        part.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("begun", [True, False])
def test_the_old_file_stays_if_the_block_raises(tmp_path: Path, begun: bool) -> None:
    def write(path: Path) -> None:
        with write_atomically(path) as part:
            if begun:
                part.write_text("new, but")
            raise KeyboardInterrupt

    path = tmp_path / "profile.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_if_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError("no room")

    write_text(tmp_path / "x", "old")
    monkeypatch.setattr(files, "sync", refuse)
    with pytest.raises(OSError, match="no room"):
        write_text(tmp_path / "x", "new")
    assert content_of(tmp_path) == {"old"}


def test_a_directory_is_installed_where_there_was_none(tmp_path: Path) -> None:
    install_directory(make_folder(tmp_path / "new", "1"), tmp_path / "target")
    assert content_of(tmp_path / "target") == {"1"}
    assert list(tmp_path.iterdir()) == [tmp_path / "target"]


@pytest.mark.parametrize("one_step", [True, False])
def test_a_directory_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_step: bool) -> None:
    if not one_step:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    make_folder(tmp_path / "target", "old")
    (tmp_path / "target" / "more").write_text("old")
    install_directory(make_folder(tmp_path / "new", "2"), tmp_path / "target")
    assert content_of(tmp_path / "target") == {"2"}
    assert list(tmp_path.iterdir()) == [tmp_path / "target"]


def test_a_kill_between_two_renames_leaves_both_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renames: list[Path] = []
    rename = Path.rename

    def rename_once(self: Path, target: Path) -> Path:
        if renames:
            raise KeyboardInterrupt
        renames.append(self)
        return rename(self, target)

    make_folder(tmp_path / "target", "old")
    make_folder(tmp_path / "new", "new")
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", rename_once)
    with pytest.raises(KeyboardInterrupt):
        install_directory(tmp_path / "new", tmp_path / "target")
    (hidden,) = tmp_path.glob(".target.*.part")
    assert content_of(hidden) == {"old"}
    assert content_of(tmp_path / "new") == {"new"}


def test_an_exchange_that_fails_is_raised_and_leaves_the_old(tmp_path: Path) -> None:
    make_folder(tmp_path / "target", "old")
    with pytest.raises(FileNotFoundError):
        files._exchange(tmp_path / "missing", tmp_path / "target")
    assert content_of(tmp_path / "target") == {"old"}


# Reads both files again and again. Where the directory is the same before and after, they must be of one installation.
_READER = """
import os, sys
target, end = sys.argv[1:]
seen, missing, mixed = set(), 0, 0
print("reading", flush=True)
while not os.path.exists(end):
    try:
        before = os.stat(target)
        texts = [open(os.path.join(target, name)).read() for name in ("a", "b")]
        after = os.stat(target)
    except FileNotFoundError:
        missing += 1
        continue
    if (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns):
        mixed += texts[0] != texts[1]
        seen.add(texts[0])
print(missing, mixed, len(seen))
"""


def test_a_reader_never_misses_the_directory_nor_sees_a_mixed_one(tmp_path: Path) -> None:
    target, end = make_folder(tmp_path / "target", "first"), tmp_path / "end"
    if not files._exchange(target, make_folder(tmp_path / "probe", "first")):
        pytest.skip("the file system of the temporary folder cannot exchange directories")
    command = [sys.executable, "-c", _READER, str(target), str(end)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        for number in range(200):
            install_directory(make_folder(tmp_path / "new", str(number)), target)
        end.touch()
        missing, mixed, seen = map(int, reader.stdout.readline().split())
    assert (missing, mixed) == (0, 0)
    assert seen > 10
