"""The power mode that a Jetson is in, and those that its nvpmodel knows."""

from __future__ import annotations

import re
from pathlib import Path

from edgecnn.core.device import PowerMode
from edgecnn.profiling.telemetry.reader import read_text

_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")
_DEFAULT = re.compile(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)\s*>")
_NO_CAP = 0


def modes_from_nvpmodel(text: str) -> tuple[PowerMode, ...]:
    """The modes in the text of ``/etc/nvpmodel.conf``, with the GPU's cap where one is stated.

    A cap of -1 stands for the highest clock there is, and becomes None.
    """
    default = _DEFAULT.search(text)
    starts = list(_MODE.finditer(text))
    modes: list[PowerMode] = []
    for start, end in zip(starts, [*(following.start() for following in starts[1:]), len(text)], strict=False):
        body = text[start.end() : end]
        cap = re.search(r"^\s*GPU\s+MAX_FREQ\s+(-?\d+)", body, re.MULTILINE)
        hertz = int(cap.group(1)) if cap else _NO_CAP
        modes.append(
            PowerMode(
                id=int(start.group(1)),
                name=start.group(2),
                gpu_mhz=hertz / 1e6 if hertz > _NO_CAP else None,
                default=default is not None and default.group(1) == start.group(1),
            )
        )
    return tuple(modes)


def read_power_mode(root: Path = Path("/")) -> PowerMode | None:
    """The mode that the board is in; None where the system does not say, as on everything that is no Jetson.

    Its file is read and the program ``nvpmodel -q`` is not asked, as that wants root on some systems.
    """
    found = re.match(r"pmode:0*(\d+)", read_text(root / "var/lib/nvpmodel/status"))
    if found is None:
        return None
    number = int(found.group(1))
    modes = modes_from_nvpmodel(read_text(root / "etc/nvpmodel.conf"))
    return next((mode for mode in modes if mode.id == number), PowerMode(id=number, name=f"mode {number}"))


def mode_from_query(text: str) -> PowerMode | None:
    """The mode in what ``nvpmodel -q`` prints: ``NV Power Mode: 15W``, then its id on a line of its own."""
    found = re.search(r"NV Power Mode:\s*(\S+)\s+(\d+)", text)
    return PowerMode(id=int(found.group(2)), name=found.group(1)) if found else None
