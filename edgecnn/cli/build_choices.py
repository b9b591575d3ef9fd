"""Choices of ``edgecnn build``: for the builder here, and for the same command on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecnn.errors import InputError

if TYPE_CHECKING:
    from edgecnn.core.engine import BuildOptions, ShapeProfile

# By the name of their option.
Choices = dict[str, Any]


def options_of(choices: Choices) -> BuildOptions:
    """As the builder takes them.

    Raises:
        InputError: A shape is not of the form.
    """
    from edgecnn.core.engine import BuildOptions

    workspace = choices["--workspace"]
    return BuildOptions(
        workspace_bytes=workspace * 2**20 if workspace else None,
        optimization_level=choices["--level"],
        version_compatible=bool(choices["--version-compatible"]),
        hardware_compatible=bool(choices["--hardware-compatible"]),
        sparse_weights=bool(choices["--sparse"]),
        dla_core=choices["--dla-core"],
        shapes=dict(_shape(text) for text in choices["--shape"] or ()),
    )


def _shape(text: str) -> tuple[str, ShapeProfile]:
    from edgecnn.core.engine import ShapeProfile

    name, _, sizes = text.rpartition("=")
    parts = [part.split("x") for part in sizes.split(":")]
    if not name or len(parts) != 3 or not all(size.isascii() and size.isdigit() for part in parts for size in part):
        raise InputError(f"--shape {text}: not of the form NAME=MIN:OPT:MAX", "for example --shape x=1x3:4x3:8x3")
    least, usual, most = (tuple(int(size) for size in part) for part in parts)
    return name, ShapeProfile(min=least, opt=usual, max=most)


def arguments_of(choices: Choices) -> list[str]:
    """The same choices for the command on the device."""
    found: list[str] = []
    for name, value in choices.items():
        if value is True:
            found.append(name)
        elif value is not None and value is not False:
            values = value if isinstance(value, list) else [str(value)]
            found += [part for each in values for part in (name, each)]
    return found
