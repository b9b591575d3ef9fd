"""The distance between a network and what it was made from, over the same frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecnn.core.artifact import Parity
from edgecnn.errors import GateMissed

Array = npt.NDArray[Any]
Network = Callable[[Array], Array]

# Equal outputs have no finite signal-to-noise ratio; float64 could show about 300 dB, float32 about 150.
SNR_CAP_DB = 200.0
# FP32 sums in another order differ by some 1e-6 of the output, 120 dB; deep networks lose 20 to 30 dB of that.
# A wrong weight or a missing layer is far below 60.
FP32_BAR_DB = 80.0
# FP16 has 11 bits: one rounding is 66 dB, and a hundred layers of them rarely cost more than 30.
FP16_BAR_DB = 30.0
# INT8 has 127 steps: one tensor is some 40 dB, and a network of fifty layers that classifies well was seen at 16.
# Below 10 more than a tenth of the output's power is noise.
INT8_BAR_DB = 10.0


def compare(
    reference: Network, candidate: Network, frames: Iterable[Array], inputs: Literal["images", "synthetic"]
) -> Parity:
    """Run both on every frame.

    Args:
        reference: Maps an input (1, C, H, W) to an output (1, classes).
        candidate: The same, of the network to judge.
        frames: Inputs.
        inputs: Where they came from, for the record.

    Raises:
        GateMissed: The outputs differ in shape.
    """
    count, agreeing = 0, 0
    largest, signal, noise = 0.0, 0.0, 0.0
    for frame in frames:
        expected = reference(frame).astype(np.float64)
        found = candidate(frame).astype(np.float64)
        if found.shape != expected.shape:
            raise GateMissed(f"the output has the shape {found.shape}, and its parent's {expected.shape}")
        difference = found - expected
        largest = float(np.maximum(largest, np.abs(difference).max()))  # which, unlike max, keeps a NaN
        signal += float((expected**2).sum())
        noise += float((difference**2).sum())
        agreeing += int(expected.argmax() == found.argmax())
        count += 1
    # A NaN anywhere makes the noise NaN, as does having compared nothing, and no bar holds against it.
    noise = noise if count else float("nan")
    ratio = SNR_CAP_DB if noise == 0 else 10 * float(np.log10(max(signal, np.finfo(float).tiny) / noise))
    return Parity(
        frames=count,
        inputs=inputs,
        max_abs=largest,
        snr_db=min(ratio, SNR_CAP_DB),
        top1_agreement=agreeing / count if count else 0.0,
    )


def require_snr(parity: Parity, bar_db: float, stage: str) -> None:
    """Refuse a stage whose output is too far from its parent's.

    Raises:
        GateMissed: The signal-to-noise ratio is below the bar, or not a number.
    """
    if not parity.snr_db >= bar_db:
        raise GateMissed(
            f"{stage}: the output is {parity.snr_db:.1f} dB from its parent's over {parity.frames} frames, "
            f"largest difference {parity.max_abs:.3g}; at least {bar_db:.0f} dB are wanted",
            "this graph computes something else than its parent: try a higher precision, to see whether that is why",
        )


def synthetic_frames(shape: tuple[int, ...], count: int = 8) -> Iterable[Array]:
    """Stand-ins where no pictures were given: smooth noise with the spread of a normalized picture.

    Only for comparing a network with its parent; nothing is calibrated on them.
    """
    generator = np.random.default_rng(0)
    for _ in range(count):
        noise = generator.standard_normal(shape).astype(np.float32)
        # Averaging neighbours gives the low frequencies that pictures have and white noise has not.
        for axis in (-2, -1):
            noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis) + np.roll(noise, 3, axis)) / 2
        yield noise
