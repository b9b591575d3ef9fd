"""Whether a video file is whole, by the sizes that its own container states."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

# The first box of an MP4 or QuickTime file.
_MP4_BEGINNINGS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML = b"\x1a\x45\xdf\xa3"


def missing_bytes(path: Path) -> int:
    """How many bytes a file lacks to be as long as it says; 0 where it is whole or does not say.

    Knows MP4 and QuickTime (boxes), AVI (RIFF chunks), Matroska and WebM (the segment).
    """
    with path.open("rb") as stream:
        head = stream.read(12)
        stream.seek(0)
        if head[4:8] in _MP4_BEGINNINGS:
            end = _end_of_boxes(stream)
        elif head[:4] == b"RIFF" and head[8:] == b"AVI ":
            end = _end_of_riff(stream)
        elif head[:4] == _EBML:
            end = _end_of_segment(stream)
        else:
            end = 0
    return max(end - path.stat().st_size, 0)


def _end_of_boxes(stream: BinaryIO) -> int:
    end = 0
    while len(header := stream.read(16)) >= 8:
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if size < 8:  # 0: up to the end of the file, whatever that is
            return 0
        end += size
        stream.seek(end)
    return end


def _end_of_riff(stream: BinaryIO) -> int:
    end = 0
    while len(header := stream.read(8)) == 8 and header[:4] == b"RIFF":
        size = int.from_bytes(header[4:], "little")
        if size in (0, 0xFFFFFFFF):  # never filled in
            return 0
        end += 8 + size + size % 2
        stream.seek(end)
    return end


def _end_of_segment(stream: BinaryIO) -> int:
    stream.seek(4)
    stream.seek(_element_size(stream) or 0, 1)
    stream.seek(4, 1)
    size = _element_size(stream)
    return stream.tell() + size if size is not None else 0


def _element_size(stream: BinaryIO) -> int | None:
    """An EBML size: a byte with as many leading zero bits as bytes follow; None where all other bits are ones."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    digits = bytes([first[0] ^ (1 << (8 - length))]) + stream.read(length - 1)
    size = int.from_bytes(digits, "big")
    return None if size == (1 << 7 * length) - 1 else size
