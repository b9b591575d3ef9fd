"""A picture's size on the command line."""

from __future__ import annotations

import re

from edgecnn.errors import InputError


def height_width(text: str, option: str) -> tuple[int, int]:
    """Rows and columns from WIDTHxHEIGHT.

    Raises:
        InputError: It is not of that form.
    """
    matched = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if matched is None:
        raise InputError(f"{option} {text}: not of the form WIDTHxHEIGHT", f"for example {option} 1280x720")
    return int(matched.group(2)), int(matched.group(1))
