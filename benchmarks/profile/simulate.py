"""What the rule for comparing in pairs says of made-up processes, whose true difference is known."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgecnn.profiling.differences import pair_ratio
from edgecnn.profiling.modes import COMPARED_PROCESSES, MOST_PROCESSES
from edgecnn.profiling.records import Round, round_of

_CASES = 500
_FRAME_NS = 5_000_000
# Standard deviation of a process's own ratio, percent; and of those that met something else in one of the two networks
# alone (one in five, by 20%).
_SCATTERS = (1.0, 2.0, 3.0)
_HELD_UP, _BY = 0.2, 0.2


def simulate() -> list[dict[str, Any]]:
    """Verdicts of many comparisons, for each scatter, without and with processes that were held up."""
    return [
        {
            "scatter_percent": scatter,
            "held_up": held_up,
            "slower_percent": slower,
            **_verdicts(scatter, held_up, slower),
        }
        for scatter in _SCATTERS
        for held_up in (0.0, _HELD_UP)
        for slower in (0.0, 5.0)
    ]


def _verdicts(scatter: float, held_up: float, slower: float) -> dict[str, Any]:
    draw = np.random.default_rng(4)
    found = Counter[str]()
    processes = 0
    for _ in range(_CASES):
        one: list[Round] = []
        two: list[Round] = []
        while len(one) < COMPARED_PROCESSES or (
            len(one) < MOST_PROCESSES and not pair_ratio(one, two, 10.0).tells_enough
        ):
            own = draw.normal(0, scatter / 100) + (draw.normal(0, _BY) if draw.random() < held_up else 0.0)
            ratio = (1 + slower / 100) * float(np.exp(own))
            one.append(round_of(len(one), 0, 0, [0], {"infer": [_FRAME_NS]}))
            two.append(round_of(len(two), 0, 0, [0], {"infer": [round(_FRAME_NS * ratio)]}))
        found[pair_ratio(one, two, 10.0).verdict] += 1
        processes += len(one)
    shares = {verdict: round(100 * count / _CASES, 1) for verdict, count in found.items()}
    return {"verdicts_percent": shares, "processes": round(processes / _CASES, 1)}
