"""A fixed piece of work that is timed beside the frames: how fast the processor itself was in a run.

Two runs that were taken at different times differ by what the machine did in each of them, too. A network says nothing
of that, work that is always the same does. It multiplies matrices that stay in the first caches and goes over some that
do not, as networks and their preprocessing do, in one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

# Small enough for every BLAS to stay in the thread that calls it.
_SIDE = 48
_PRODUCTS = 12
_VALUES = 1 << 16
_REPEATS = 25
# Of the repeats in one look: those that nothing held up.
_PERCENT = 10

_LEFT = np.random.default_rng(5).normal(0, 1, (_SIDE, _SIDE)).astype(np.float32)
_LONG = np.random.default_rng(6).normal(0, 1, _VALUES).astype(np.float32)


def time_yardstick(clock: Callable[[], int] = time.monotonic_ns) -> int:
    """Nanoseconds that the work takes now: the 10th percentile of 25 times, some 5 ms in all."""
    product, scaled = np.empty_like(_LEFT), np.empty_like(_LONG)
    spans: list[int] = []
    for _ in range(_REPEATS):
        begin = clock()
        for _ in range(_PRODUCTS):
            np.matmul(_LEFT, _LEFT, out=product)
        np.multiply(_LONG, 1.5, out=scaled)
        np.maximum(scaled, 0.0, out=scaled)
        spans.append(clock() - begin)
    return max(sorted(spans)[len(spans) * _PERCENT // 100], 1)
