"""Messages on disk."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecnn.runtime.sinks.spool import Spool

LARGE = 10**9


def contents(spool: Spool) -> list[bytes]:
    return [payload for _, payload in spool.after(0, 10**6)]


def test_messages_stay_in_order_until_they_are_taken(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spool", LARGE)
    for index in range(10):
        spool.add(b"%d" % index, 0)
    first = spool.after(0, 3)
    assert [payload for _, payload in first] == [b"0", b"1", b"2"]
    assert [payload for _, payload in spool.after(first[-1][0], 2)] == [b"3", b"4"]
    spool.remove([first[0][0], first[2][0]])
    assert contents(spool) == [b"1", *(b"%d" % index for index in range(3, 10))]
    assert (spool.waiting, spool.dropped) == (8, 0)
    spool.remove([first[0][0]])
    assert spool.waiting == 8
    spool.close()
    again = Spool(tmp_path / "new" / "spool", LARGE)
    assert (again.waiting, contents(again)[0]) == (8, b"1")
    again.close()


def test_an_empty_one_leaves_nothing_but_its_lock(tmp_path: Path) -> None:
    spool = Spool(tmp_path, LARGE)
    spool.add(b"x", 0)
    spool.remove([number for number, _ in spool.after(0, 1)])
    spool.close()
    assert [found.name for found in tmp_path.iterdir()] == ["1.lock"]


def test_the_oldest_go_where_room_is_short_but_not_those_on_their_way(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    for index in range(5):
        spool.add(b"%100d" % index, 0)
    sent = spool.after(0, 2)[-1][0]
    for index in range(5, 100):
        spool.add(b"%100d" % index, sent)
    kept = [int(payload) for payload in contents(spool)]
    assert kept[:2] == [0, 1]
    assert kept[2:] == list(range(kept[2], 100))
    assert (spool.waiting, spool.dropped) == (len(kept), 100 - len(kept))
    assert spool.waiting <= 10
    spool.add(b"x" * 5000, sent)
    assert contents(spool)[-1] == b"x" * 5000
    spool.close()


def test_two_at_a_time_do_not_share_and_what_one_leaves_the_next_takes_over(tmp_path: Path) -> None:
    first, second = Spool(tmp_path, LARGE), Spool(tmp_path, LARGE)
    first.add(b"first", 0)
    second.add(b"second", 0)
    assert (contents(first), contents(second)) == ([b"first"], [b"second"])
    second.close()
    third = Spool(tmp_path, LARGE)
    assert contents(third) == [b"second"]
    third.close()
    first.close()
    last = Spool(tmp_path, LARGE)
    assert contents(last) == [b"first", b"second"]
    last.close()


ENDLESS = """
import itertools, sys
from pathlib import Path
from edgecnn.runtime.sinks.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**9)
for index in itertools.count():
    spool.add(b"%d" % index, 0)
    print(index, flush=True)
"""


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path], stdout=subprocess.PIPE)
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(300)]
    child.send_signal(signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
    child.wait()
    child.stdout.close()
    spool = Spool(tmp_path, LARGE)
    found = [int(payload) for payload in contents(spool)]
    assert found == list(range(len(found)))
    assert len(told) <= len(found) <= len(told) + 1
    spool.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "1.sqlite").write_bytes(b"no database at all" * 1000)
    spool = Spool(tmp_path, LARGE)
    spool.add(b"x", 0)
    assert spool.damaged == tmp_path / "1.damaged"
    assert contents(spool) == [b"x"]
    spool.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted: run the tests as root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_the_systems_error_and_what_is_there_stays(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool", LARGE)

    def fill() -> None:
        for _ in range(1000):
            spool.add(b"x" * 5000, 0)

    with pytest.raises(OSError, match="full") as error:
        fill()
    assert error.value.errno == errno.ENOSPC
    assert len(contents(spool)) == spool.waiting > 5
    spool.close()
