"""Energy of a picture, by a rule: too little is published to fit anything."""

from __future__ import annotations

import re

from edgecnn.core.device import PowerMode
from edgecnn.core.estimate import Range

# Of a power mode's budget, while the GPU works: a network that waits for memory draws far less than the cap, and
# nothing draws more for long. One published point, ResNet-50 on AGX Orin at 22.66 W and 3463 images a second
# (MLPerf 3.0, MaxQ), lies in it for every mode from 30 W to 50 W.
_OF_BUDGET = (0.4, 0.7, 1.0)
NO_BUDGET = "energy: the power mode's name states no budget in watts; choose one that does with --power-mode"


def budget_w(mode: PowerMode | None) -> float | None:
    """The watts in a mode's name, such as 25 of ``25W`` and 15 of ``MODE_15W_4CORE``."""
    found = re.search(r"(?:^|_)(\d+)W(?:_|$)", mode.name) if mode is not None else None
    return float(found.group(1)) if found is not None else None


def estimate_energy(mode: PowerMode | None, latency_ms: Range, batch: int) -> Range | None:
    """Millijoules of a picture, idle power included; None where the mode states no budget."""
    watts = budget_w(mode)
    if watts is None:
        return None
    times = (latency_ms.low, latency_ms.middle, latency_ms.high)
    low, middle, high = (watts * part * time / batch for part, time in zip(_OF_BUDGET, times, strict=True))
    return Range(low=low, middle=middle, high=high)
