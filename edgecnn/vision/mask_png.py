"""Index masks: PNG files, grey or with a palette, in which a pixel is a class number."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgecnn.errors import InputError

IGNORED = 255
"""In a labelled mask, a pixel that counts for nothing: an outline, or what nobody could tell."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
# By bits of a pixel, what a decoder multiplies numbers by so that the largest is white.
_SPREAD = {1: 255, 2: 85, 4: 17, 8: 1}


def read_mask(path: Path) -> npt.NDArray[np.uint8]:
    """Read the class numbers of a mask: uint8 (height, width).

    Of a palette its numbers count, not its colours.

    Raises:
        InputError: There is no such file, or it is no PNG of class numbers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"mask {path}: cannot be read: {error.strerror}", "copy the masks again") from None
    if content[:8] != _SIGNATURE or len(content) < 33:
        raise InputError(f"mask {path}: not a PNG file", "save masks as PNG: other formats change numbers")
    depth, kind = content[24], content[25]
    if kind not in (_GREY, _PALETTE) or depth not in _SPREAD:
        found = f"{depth} bits" if kind in (_GREY, _PALETTE) else "colours"
        raise InputError(
            f"mask {path}: a PNG with {found}; wanted are class numbers",
            "save it in grey or with a palette, 8 bits a pixel: the pixel is the class number",
        )
    mask = cv2.imdecode(np.frombuffer(_grey(content), dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:  # pyright: ignore[reportUnnecessaryComparison]
        raise InputError(f"mask {path}: damaged ({len(content)} bytes)", "copy it again")
    return (mask // _SPREAD[depth]).astype(np.uint8, copy=False)


def _grey(content: bytes) -> bytes:
    """The PNG as one of grey levels with the same numbers, and nothing beside them.

    OpenCV gives a palette's colours and has no way to ask for its numbers. In the file both kinds hold these alike:
    only the type in the header differs, with the header's checksum.
    """
    header = bytearray(content[12:29])
    header[13] = _GREY
    parts = [content[:12], bytes(header), zlib.crc32(header).to_bytes(4, "big")]
    place = 33
    while place + 12 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] in (b"IDAT", b"IEND"):
            parts.append(content[place:end])
        place = end
    return b"".join(parts)
