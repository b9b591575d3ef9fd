"""The signal-to-noise ratio of noise whose power is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecnn.evaluate.parity import SNR_CAP_DB, compare

# The power of 4,096 normal samples is within a few percent of its mean: 0.1 dB a standard deviation.
SAMPLED_DB = 0.6


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), level=st.floats(-8, 2), signal=st.floats(-10, 10), frames=st.integers(1, 4))
def test_of_normal_noise(seed: int, level: float, signal: float, frames: int) -> None:
    """Whatever the output's unit."""
    random = np.random.default_rng(seed)
    inputs = [random.standard_normal((1, 4096)) * 10**signal for _ in range(frames)]

    parity = compare(
        lambda frame: {"output": frame},
        lambda frame: {"output": frame + random.standard_normal(frame.shape) * 10 ** (signal + level)},
        inputs,
        "synthetic",
    )

    assert parity.snr_db == pytest.approx(min(-20 * level, SNR_CAP_DB), abs=SAMPLED_DB)
