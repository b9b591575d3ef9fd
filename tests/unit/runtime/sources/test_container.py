"""What containers say about their own length."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecnn.runtime.sources.container import missing_bytes


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def long_box(kind: bytes, content: bytes) -> bytes:
    return (1).to_bytes(4, "big") + kind + (16 + len(content)).to_bytes(8, "big") + content


def riff(kind: bytes, content: bytes) -> bytes:
    return b"RIFF" + (4 + len(content)).to_bytes(4, "little") + kind + content


MP4 = box(b"ftyp", b"isom" * 3) + box(b"moov", bytes(40)) + long_box(b"mdat", bytes(100))
ENDLESS_MP4 = box(b"ftyp", b"isom" * 3) + (0).to_bytes(4, "big") + b"mdat" + bytes(100)
AVI = riff(b"AVI ", bytes(60)) + riff(b"AVIX", bytes(133)) + b"\0"
UNFINISHED_AVI = b"RIFF" + bytes(4) + b"AVI " + bytes(60)
EBML = b"\x1a\x45\xdf\xa3\x84" + b"webm"
MKV = EBML + b"\x18\x53\x80\x67" + b"\x40\x64" + bytes(100)
ENDLESS_MKV = EBML + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7 + bytes(100)


@pytest.mark.parametrize("content", [MP4, AVI, MKV])
@pytest.mark.parametrize("lacking", [0, 1, 50])
def test_a_cut_file_lacks_what_was_cut(tmp_path: Path, content: bytes, lacking: int) -> None:
    path = tmp_path / "video"
    path.write_bytes(content[: len(content) - lacking])
    assert missing_bytes(path) == lacking


@pytest.mark.parametrize("content", [MP4, AVI, MKV])
def test_more_than_was_promised_is_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video"
    path.write_bytes(content + b"\0" * 7)
    assert missing_bytes(path) == 0


@pytest.mark.parametrize(
    "content", [ENDLESS_MP4, UNFINISHED_AVI, ENDLESS_MKV, EBML, b"", b"\0", b"\0" * 64, b"G@\x11\x10" * 47]
)
def test_a_file_that_does_not_say_is_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video"
    path.write_bytes(content)
    assert missing_bytes(path) == 0
