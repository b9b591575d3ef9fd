"""Sizes as people write them."""

from __future__ import annotations

import re

from edgecnn.errors import InputError

_UNITS = {"kb": 10**3, "mb": 10**6, "gb": 10**9}


def parse_size(text: str, option: str) -> int:
    """Bytes of ``100MB``, ``1.5GB`` or ``64kB``, with units of 1000.

    Raises:
        InputError: It is not of that form, or nothing.
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)(kb|mb|gb)", text.strip().lower())
    size = int(float(matched[1]) * _UNITS[matched[2]]) if matched else 0
    if not size:
        raise InputError(f"{option}: {text!r} is not a size", "for example 100MB; units are kB, MB and GB")
    return size
